"""Any folder of aligned pairs: rgb/, x/, mask/."""

from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from rgbx.data.base import RGBXDataModule
from rgbx.data.records import (
    Scan,
    find_folder,
    index_images,
    join,
    pair,
    read_list,
    seeded_split,
)
from rgbx.data.transforms import IGNORE
from rgbx.errors import DataError, RGBXError
from rgbx.pictures import generate_palette

__all__ = ["FolderRGBX"]

_RGB = ("rgb", "visible", "vi", "vis", "image", "images", "imgs", "img", "color")
_X = ("x", "thermal", "t", "th", "ther", "infrared", "ir", "lwir", "depth", "d")
_MASK = ("mask", "masks", "gt", "label", "labels", "annotations", "Segmentation_labels")
_SPLITS = {"train": ("train",), "val": ("val", "valid", "validation", "value"), "test": ("test",)}
_TREE = (
    "rgb/, x/ and mask/ (also called visible, vi, images; thermal, ir, infrared, depth; gt, "
    "labels), or train/, val/, test/ with these inside"
)


class FolderRGBX(RGBXDataModule):
    """Pairs of one's own, files joined by stem, any image suffix.

    Either ``{train,val,test}/{rgb,x,mask}`` or ``rgb/ x/ mask/`` with ``train.txt``, ``val.txt``,
    ``test.txt``. Without lists, train, val and test are cut from all names by seed: `val_share` of
    them to val, as many to test, and the rest to train. With split folders or lists but none for
    val, val is cut from train. Folder names are matched whatever their letter case; ``visible``,
    ``thermal``, ``depth``, ``gt``, ``labels`` and some more are accepted. RGB-only data has no
    ``x`` folder. Prediction needs no masks and no class names.

    8-bit `x` is divided by 255; 16-bit and float `x` is stretched per image, from its smallest to
    its largest valid value (0 and 65535 are none, see `x_invalid`), unless `x_range` is given (see
    `rgbx.data.files.to_unit`). Both kinds in one folder are a problem without `x_range`. All files
    are read upright, as their EXIF orientation says. A palette counts by its indices in class-id
    masks, and by its colours in binary ones.

    Args:
        root: folder of the data set.
        class_names: name of id 0, 1, ...; needed unless only predicting.
        palette: colour of each id, 0 to 255; distinct colours are made if it is not given.
        binary: masks are black-and-white pictures, bright = id 1 (above 128 of 255), not class ids;
            class names are then ["background", "foreground"] unless given.
        soft_masks: keep the grey borders of binary masks in training.
        resize_x: accept an `x` of another size and resize it to the visible picture.
        x_range: stored values of `x` that become 0 and 1.
        invert_depth: turn `x` round (1 - x), where near is dark and a model was trained on bright.
        **kwargs: options of `RGBXDataModule`.

    Raises:
        RGBXError: palette and class names differ in number, or two classes are wanted and others
            are named.
    """

    size_hint = "; resize_x: true accepts and resizes it"

    def __init__(
        self,
        root: str,
        class_names: list[str] | None = None,
        palette: list[tuple[int, int, int]] | None = None,
        binary: bool = False,
        soft_masks: bool = False,
        resize_x: bool = False,
        x_range: tuple[float, float] | None = None,
        invert_depth: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        if binary and class_names is None:
            class_names = ["background", "foreground"]
        self.class_names = tuple(class_names or ())
        if self.num_classes > IGNORE:
            raise RGBXError(
                f"data.class_names has {self.num_classes} names, {IGNORE} are the most: ids are "
                f"bytes, and {IGNORE} means that a pixel is not labelled."
            )
        if binary and len(self.class_names) != 2:
            raise RGBXError(f"binary masks have 2 classes, but {len(self.class_names)} are named")
        self.palette = generate_palette(self.num_classes)
        if palette is not None:
            if len(palette) != self.num_classes:
                raise RGBXError(
                    f"palette has {len(palette)} colours for {self.num_classes} class names"
                )
            self.palette = tuple((c[0], c[1], c[2]) for c in palette)
        if soft_masks and not binary:
            raise RGBXError("soft_masks needs binary: true; class ids have no grey between them")
        self.binary = binary
        self.soft_masks = soft_masks
        self.resize_x = resize_x
        self.x_range = x_range
        self.invert_depth = invert_depth

    def scan(self, split: str) -> Scan:
        """Pair the files of a split; see `RGBXDataModule.scan`."""
        flat = find_folder(self.root, _RGB) is not None
        folders = {s: f for s, names in _SPLITS.items() if (f := find_folder(self.root, names))}
        if not flat and not any(find_folder(f, _RGB) for f in folders.values()):
            state = "is no folder of pairs" if self.root.is_dir() else "does not exist"
            raise DataError(f"{self.root} {state}; set data.root to a folder with {_TREE}")
        if split == "predict":
            parts = [self.root] if flat else list(folders.values())
            scans = [self._pair(part, self._stems(part, False), False) for part in parts]
            return join(scans)
        if not self.class_names:
            raise RGBXError("FolderRGBX needs data.class_names for everything but prediction")
        return self._scan_flat(split) if flat else self._scan_split(folders, split)

    @property
    def own_val(self) -> str:
        """Its validation list or folder, where there is one."""
        if find_folder(self.root, _RGB) is None:
            has_val, words = find_folder(self.root, _SPLITS["val"]) is not None, "its val folder"
        else:
            has_val, words = (self.root / "val.txt").is_file(), "its val list"
        return words if has_val else ""

    def _scan_split(self, folders: dict[str, Path], split: str) -> Scan:
        source = "train" if split == "val" and "val" not in folders else split
        if source not in folders:
            raise DataError(f"{self.root} has no folder {source} beside its other splits")
        names = self._stems(folders[source])
        if source == "train" and "val" not in folders:
            names = self._cut(names, split)
        return self._pair(folders[source], names)

    def _scan_flat(self, split: str) -> Scan:
        lists = {s: p for s in _SPLITS if (p := self.root / f"{s}.txt").is_file()}
        if not lists:
            names = self._stems(self.root)
            rest, val = seeded_split(names, self.val_share, self.seed)
            train, test = seeded_split(rest, len(val) / max(len(rest), 1), self.seed)
            if self.chooses_on_test:
                train, val = sorted(train + val), []
            rank_zero_info(
                f"{self.root} has no split lists: by seed {self.seed}, {len(train)} train, "
                f"{len(val)} val, {len(test)} test"
            )
            return self._pair(self.root, {"train": train, "val": val, "test": test}[split])
        source = "train" if split == "val" and "val" not in lists else split
        if source not in lists:
            raise DataError(f"{self.root} has no {source}.txt beside its other lists")
        names = read_list(lists[source])
        if source == "train" and "val" not in lists:
            names = self._cut(names, split)
        return self._pair(self.root, names, where=lists[source].name)

    def _cut(self, names: list[str], split: str) -> list[str]:
        train, val = seeded_split(names, self.cut_share, self.seed)
        rank_zero_info(
            f"{self.root} has no validation set; {len(val)} of {len(names)} training samples are "
            f"held out by seed {self.seed}"
        )
        return train if split == "train" else val

    def _indices(self, folder: Path, labelled: bool) -> dict[str, dict[str, Path]]:
        found = {"rgb": find_folder(folder, _RGB), "x": find_folder(folder, _X)}
        if labelled:
            found["mask"] = find_folder(folder, _MASK)
            if found["mask"] is None:
                raise DataError(f"{folder} has no folder of masks (mask, gt or labels)")
        if found["rgb"] is None:
            raise DataError(f"{folder} has no folder of visible pictures (rgb, visible or images)")
        return {part: index_images(path) for part, path in found.items() if path is not None}

    def _stems(self, folder: Path, labelled: bool = True) -> list[str]:
        """All names of a folder, also those that lack a file."""
        return sorted(set().union(*self._indices(folder, labelled).values()))

    def _pair(self, folder: Path, names: list[str], labelled: bool = True, where: str = "") -> Scan:
        indices = self._indices(folder, labelled)
        return pair(names, indices, where=where or str(folder))
