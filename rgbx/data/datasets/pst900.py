"""PST900: search in tunnels and mines, RGB and thermal, 5 classes."""

from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_info

from rgbx.data.base import RGBXDataModule
from rgbx.data.splits.folders import join_sets
from rgbx.data.splits.index import Index, all_stems, passed_over
from rgbx.data.splits.lists import is_there
from rgbx.data.splits.records import Scan, find_folder, index_images, pair, read_list, seeded_split
from rgbx.errors import DataError

__all__ = ["PST900"]

_RGB = ("rgb", "vi")
_THERMAL = ("thermal", "ir")
_LABELS = ("labels", "label", "Segmentation_labels")
_TREE = "{train,test}/{rgb,thermal,labels}, or rgb/, thermal/, labels/ with train.txt and test.txt"


class PST900(RGBXDataModule):
    """PST900 (Shivakumar et al., ICRA 2020): 894 pairs of 720 x 1280, underground.

    Layouts: ``{train,test}/{rgb,thermal,thermal_raw,depth,labels}/NAME.png`` (the original, and
    ``{vi,ir,Segmentation_labels}``), or the same folders without splits next to ``train.txt`` and
    ``test.txt`` (LASNet's). The folder ``PST900_RGBT_Dataset`` may lie below the root. There is no
    validation set: it is cut from train by seed, unless a ``val`` folder or list exists.

    Scores count all 5 ids at the original size; background alone is at 98 to 99 % IoU.

    ``thermal`` is the camera's 8-bit image. ``thermal_raw`` and ``depth`` are 16-bit; they are
    stretched between the smallest and largest valid value of each image (0 and 65535 are holes, see
    `x_invalid`), or between `x_range`.
    The mean and std of thermal are those of the one published sample (0.403, 0.091).

    Args:
        root: folder of the data set.
        x: which folder is the second modality.
        x_range: stored values that become 0 and 1 (fixed radiometric range) for 16-bit `x`.
        **kwargs: options of `RGBXDataModule`.
    """

    class_names = ("background", "fire_extinguisher", "backpack", "hand_drill", "survivor")
    # The toolkit's triples are written for OpenCV (blue first); these are red first.
    palette = ((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))
    x_mean = 0.403
    x_std = 0.091
    x_inputs = (*RGBXDataModule.x_inputs, "x")

    def __init__(
        self,
        root: str,
        x: Literal["thermal", "thermal_raw", "depth"] = "thermal",
        x_range: tuple[float, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if x != "thermal":
            # Stretched images fill [0, 1], whatever their unit.
            for name, value in (("x_mean", 0.5), ("x_std", 0.25)):
                kwargs[name] = value if kwargs.get(name) is None else kwargs[name]
        super().__init__(root, **kwargs)
        self.x = x
        self.x_range = x_range

    def scan(self, split: str) -> Scan:
        """Pair the files of a split; see `RGBXDataModule.scan`."""
        root = self._find_root()
        flat = find_folder(root, _RGB) is not None
        if split == "predict":
            folders = [root] if flat else [p for s in self.splits if (p := root / s).is_dir()]
            return join_sets({folder.name: self._listing(folder, False) for folder in folders})
        has_val = is_there(root / "val.txt") if flat else (root / "val").is_dir()
        source = split if has_val or split == "test" else "train"
        folder = root if flat else root / source
        if not flat and (source != "train" or has_val):
            return self._listing(folder)
        indices = self._indices(folder, True)
        names = all_stems(indices.values())
        if flat:
            names = self._listed(root / f"{source}.txt", names)
        if source == "train" and not has_val:
            names = self._hold_out(names, split)
        return pair(names, indices, where=f"{source}.txt" if flat else str(folder))

    @property
    def own_val(self) -> str:
        """Its validation list or folder, where there is one."""
        root = self._find_root()
        if is_there(root / "val.txt"):
            return "its val list"
        return "its val folder" if (root / "val").is_dir() else ""

    def _find_root(self) -> Path:
        for root in (self.root, self.root / "PST900_RGBT_Dataset"):
            if find_folder(root, _RGB) or any(
                find_folder(root / split, _RGB) for split in ("train", "test")
            ):
                return root
        state = "is no PST900 data set" if self.root.is_dir() else "does not exist"
        raise DataError(f"{self.root} {state}; set data.root to a folder with {_TREE}")

    def _folder(self, parent: Path, names: tuple[str, ...]) -> Path:
        folder = find_folder(parent, names)
        if folder is None:
            raise DataError(f"{parent} has no folder {' or '.join(names)}; PST900 needs it")
        return folder

    def _hold_out(self, names: list[str], split: str) -> list[str]:
        train, val = seeded_split(names, self.held_out_share, self.seed)
        rank_zero_info(
            f"PST900 has no validation set; {len(val)} of {len(names)} training samples are held "
            f"out by seed {self.seed}"
        )
        return train if split == "train" else val

    def _listed(self, path: Path, known: list[str]) -> list[str]:
        if not is_there(path):
            raise DataError(f"{path} is missing: it names the samples of its split")
        return read_list(path, known)

    def _indices(self, folder: Path, labelled: bool) -> dict[str, Index]:
        wanted: dict[str, tuple[str, ...]] = {
            "rgb": _RGB,
            "x": _THERMAL if self.x == "thermal" else (self.x,),
        }
        if labelled:
            wanted["mask"] = _LABELS
        places = {part: self._folder(folder, names) for part, names in wanted.items()}
        return {part: index_images(place, nested=True) for part, place in places.items()}

    def _listing(self, folder: Path, labelled: bool = True) -> Scan:
        """All pairs of a folder, also those that lack a file."""
        indices = self._indices(folder, labelled)
        names = all_stems(indices.values())
        scan = pair(names, indices, where=str(folder))
        return scan._replace(notes=tuple(passed_over(indices.values(), names)))
