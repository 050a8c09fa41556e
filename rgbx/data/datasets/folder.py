"""Any folder of aligned pairs: rgb/, x/, mask/."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from rgbx.data.base import RGBXDataModule
from rgbx.data.datasets.folder_parts import aliases, find_indices, unused_folders
from rgbx.data.splits.folders import join_sets
from rgbx.data.splits.index import all_stems, passed_over, subfolders
from rgbx.data.splits.lists import is_there
from rgbx.data.splits.records import Scan, find_folder, pair, read_list, seeded_split
from rgbx.data.transforms.augment import IGNORE
from rgbx.errors import DataError, RGBXError
from rgbx.text import printable
from rgbx.visualization.drawing import generate_palette

__all__ = ["FolderRGBX"]

_NAMES = {
    "rgb": ("rgb", "visible", "vi", "vis", "image", "images", "imgs", "img", "color"),
    "x": ("x", "thermal", "t", "th", "ther", "infrared", "ir", "lwir", "depth", "d"),
    "mask": ("mask", "masks", "gt", "label", "labels", "annotations", "Segmentation_labels"),
}
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
    ``x`` folder; folders of images that are not used are named in a warning. Prediction needs no
    masks and no class names.

    Where ``rgb/`` holds no image but folders (a folder for each sequence), names are
    ``SEQUENCE/STEM``, and what is cut by seed are whole sequences as long as there are enough.
    ``NAME_rgb``, ``NAME_th`` and ``NAME_mask`` (and similar endings) pair as NAME, in folders of
    their own or in one.

    8-bit `x` is divided by 255; 16-bit and float `x` is stretched per image, from its smallest to
    its largest valid value (0 and 65535 are none, see `x_invalid`), unless `x_range` is given (see
    `rgbx.data.decoding.files.to_unit`). Both kinds in one folder are a problem without `x_range`.
    All files are read upright, as their EXIF orientation says. A palette counts by its indices in
    class-id masks, and by its colours in binary ones.

    Args:
        root: folder of the data set.
        class_names: name of id 0, 1, ...; needed unless only predicting.
        palette: colour of each id, 0 to 255; distinct colours are made if it is not given.
        binary: masks are black-and-white images, bright = id 1 (above 128 of 255), not class ids;
            class names are then ["background", "foreground"] unless given.
        soft_masks: keep the grey borders of binary masks in training.
        resize_x: accept an `x` of another size and resize it to the visible image.
        x_range: stored values of `x` that become 0 and 1.
        invert_depth: turn `x` round (1 - x), where near is dark and a model was trained on bright.
        folders: names of the folders of rgb, x and mask where they have others, for instance
            ``{x: thermal16}``; below train, val and test if there are such.
        ignore_ids: ids in the masks that are not scored, as 255 is not ("void").
        **kwargs: options of `RGBXDataModule`.

    Raises:
        RGBXError: palette and class names differ in number, two classes are wanted and others are
            named, or `folders` or `ignore_ids` cannot be.
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
        folders: dict[str, str] | None = None,
        ignore_ids: list[int] | None = None,
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
        if foreign := [part for part in folders or {} if part not in _NAMES]:
            raise RGBXError(f"folders names {foreign[0]!r}; its keys are {', '.join(_NAMES)}")
        own = {part: (name,) for part, name in (folders or {}).items()}
        self._names: dict[str, tuple[str, ...]] = {**_NAMES, **own}
        if binary and ignore_ids:
            raise RGBXError("ignore_ids are ids of classes, but binary masks are black and white")
        if bad := [i for i in ignore_ids or () if i < 0]:
            raise RGBXError(f"ignore_ids {bad[0]} cannot be in a mask; give 0 or more")
        self.ignore_ids = tuple(ignore_ids or ())

    def scan(self, split: str) -> Scan:
        """Pair the files of a split; see `RGBXDataModule.scan`."""
        flat = find_folder(self.root, self._names["rgb"]) is not None
        folders = {s: f for s, names in _SPLITS.items() if (f := find_folder(self.root, names))}
        if not flat and not any(find_folder(f, self._names["rgb"]) for f in folders.values()):
            raise self._no_pairs()
        if split == "predict":
            parts = [self.root] if flat else list(folders.values())
            return join_sets({part.name: self._listing(part, labelled=False) for part in parts})
        if not self.class_names:
            raise RGBXError("FolderRGBX needs data.class_names for everything but prediction")
        return self._scan_flat(split) if flat else self._scan_split(folders, split)

    def _no_pairs(self) -> DataError:
        state = "is no folder of pairs" if self.root.is_dir() else "does not exist"
        there = ", ".join(printable(path.name) for path in subfolders(self.root)[:8])
        found = f" (there are the folders {there})" if there else ""
        return DataError(f"{self.root} {state}; set data.root to a folder with {_TREE}{found}")

    @property
    def own_val(self) -> str:
        """Its validation list or folder, where there is one."""
        if find_folder(self.root, self._names["rgb"]) is None:
            has_val, words = find_folder(self.root, _SPLITS["val"]) is not None, "its val folder"
        else:
            has_val, words = is_there(self.root / "val.txt"), "its val list"
        return words if has_val else ""

    def _scan_split(self, folders: dict[str, Path], split: str) -> Scan:
        source = "train" if split == "val" and "val" not in folders else split
        if source not in folders:
            raise DataError(f"{self.root} has no folder {source} next to its other splits")
        scan = self._listing(folders[source], split=split if "val" not in folders else "")
        others = unused_folders(self.root, folders.values())
        if not others:
            return scan
        said = ", ".join(f"{printable(path.name)} ({n} images)" for path, n in others.items())
        note = f"{self.root}: folders that are passed over, as they are no split: {said}"
        return scan._replace(notes=(*scan.notes, note))

    def _scan_flat(self, split: str) -> Scan:
        lists = {s: p for s in _SPLITS if is_there(p := self.root / f"{s}.txt")}
        indices, notes = find_indices(self.root, self._names, labelled=True)
        if not lists:
            names = all_stems(indices.values())
            chosen, remark = self._cut_in_three(names, split)
            scan = pair(chosen, indices, where=str(self.root))
            return scan._replace(notes=(*notes, *remark, *passed_over(indices.values(), names)))
        source = "train" if split == "val" and "val" not in lists else split
        if source not in lists:
            raise DataError(f"{self.root} has no {source}.txt next to its other lists")
        names = read_list(lists[source], all_stems(indices.values()), aliases(indices))
        if source == "train" and "val" not in lists:
            names, remark = self._hold_out(names, split)
            notes += remark
        scan = pair(names, indices, where=lists[source].name)
        return scan._replace(notes=tuple(notes))

    def _cut_in_three(self, names: list[str], split: str) -> tuple[list[str], list[str]]:
        family, remark = _families(names, parts=3)
        rest, val = seeded_split(names, self.val_share, self.seed, family)
        train, test = seeded_split(rest, len(val) / max(len(rest), 1), self.seed, family)
        if self.chooses_on_test:
            train, val = sorted(train + val), []
        rank_zero_info(
            f"{self.root} has no split lists: by seed {self.seed}, {len(train)} train, "
            f"{len(val)} val, {len(test)} test"
        )
        return {"train": train, "val": val, "test": test}[split], remark

    def _hold_out(self, names: list[str], split: str) -> tuple[list[str], list[str]]:
        family, remark = _families(names, parts=2)
        train, val = seeded_split(names, self.held_out_share, self.seed, family)
        rank_zero_info(
            f"{self.root} has no validation set; {len(val)} of {len(names)} training samples are "
            f"held out by seed {self.seed}"
        )
        return (train if split == "train" else val), (remark if val else [])

    def _listing(self, folder: Path, labelled: bool = True, split: str = "") -> Scan:
        """All pairs of a folder, also those that lack a file, or what a split takes of them."""
        indices, notes = find_indices(folder, self._names, labelled)
        names = all_stems(indices.values())
        notes += passed_over(indices.values(), names)
        if split in ("train", "val"):
            names, remark = self._hold_out(names, split)
            notes += remark
        return pair(names, indices, where=str(folder))._replace(notes=tuple(notes))


def _families(names: list[str], parts: int) -> tuple[Callable[[str], str], list[str]]:
    """What must stay together when names are cut into parts: the frames of one sequence.

    Returns:
        The family of a name, and a remark if there are too few sequences to part.
    """
    sequences = {name.rpartition("/")[0] for name in names}
    if sequences <= {""}:
        return str, []
    if len(sequences) >= parts:
        return (lambda name: name.rpartition("/")[0] or name), []
    return str, [
        f"{len(sequences)} folders of images cannot be parted into {parts} splits, so images of "
        "one folder are in several; if they are frames of a video, scores will be too good: give "
        "split folders or lists"
    ]
