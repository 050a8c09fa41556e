"""The toy data set: bright discs, warm where they are bright. One class, one method."""

from rgbx.data import RGBXDataModule, Scan
from rgbx.data.splits.index import index_images
from rgbx.data.splits.records import pair, seeded_split
from rgbx.errors import DataError

__all__ = ["BrightSpots"]


class BrightSpots(RGBXDataModule):
    """``{train,test}/{visible,infrared,labels}/NAME.png``; validation is held out of train."""

    class_names = ("ground", "object")
    palette = ((0, 0, 0), (255, 200, 0))

    def scan(self, split: str) -> Scan:
        """Pair the files of a split; see `RGBXDataModule.scan`."""
        folder = self.root / ("test" if split in ("test", "predict") else "train")
        if not folder.is_dir():
            raise DataError(
                f"{folder} does not exist; set data.root to a folder with train/, test/"
            )
        parts = {"rgb": "visible", "x": "infrared", "mask": "labels"}
        if split == "predict":
            del parts["mask"]
        indices = {part: index_images(folder / name) for part, name in parts.items()}
        names = sorted(indices["rgb"])
        if split in ("train", "val"):
            names = seeded_split(names, self.held_out_share, self.seed)[split == "val"]
        return pair(names, indices, where=str(folder))
