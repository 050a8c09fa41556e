"""Folders of one's own: which files are a sample, and which samples are train, val and test."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from lightning.pytorch.utilities import rank_zero_info

from rgbx.data.base import RGBXDataModule
from rgbx.data.datasets.folder_parts import aliases, find_indices, unused_folders
from rgbx.data.decoding.files import IMAGE_SUFFIXES
from rgbx.data.splits.folders import join_sets
from rgbx.data.splits.index import Index, all_stems, index_images, passed_over, subfolders
from rgbx.data.splits.lists import is_there
from rgbx.data.splits.records import Record, Scan, find_folder, pair, read_list, seeded_split
from rgbx.errors import DataError, RGBXError
from rgbx.text import printable

__all__ = ["FolderSplits"]

_SPLITS = {"train": ("train",), "val": ("val", "valid", "validation", "value"), "test": ("test",)}


class FolderSplits(RGBXDataModule):
    """Files joined by stem, in split folders or with split lists; the part that finds them.

    Attributes:
        label: name of the part that holds labels.
        label_suffixes: of its files, in lower case with the dot.
        tree: the folders that are expected, as words for a message.
    """

    label: ClassVar[str] = "mask"
    label_suffixes: ClassVar[tuple[str, ...]] = tuple(IMAGE_SUFFIXES)
    tree: ClassVar[str] = ""
    _names: dict[str, tuple[str, ...]]

    def name_folders(
        self, known: Mapping[str, Sequence[str]], own: Mapping[str, str] | None
    ) -> None:
        """Set what the folders may be called.

        Args:
            known: part -> usual names.
            own: part -> the user's name, which replaces them.

        Raises:
            RGBXError: the user names a part that does not exist.
        """
        if foreign := [part for part in own or {} if part not in known]:
            raise RGBXError(f"folders names {foreign[0]!r}; its keys are {', '.join(known)}")
        self._names = {part: tuple(names) for part, names in known.items()}
        self._names |= {part: (name,) for part, name in (own or {}).items()}

    def _indices(self, folder: Path, labelled: bool) -> tuple[dict[str, Index], list[str]]:
        """The files of one folder's parts; see `find_indices`."""
        return find_indices(folder, self._names, labelled, self.label, self.label_suffixes)

    def scan(self, split: str) -> Scan:
        """Pair the files of a split; see `RGBXDataModule.scan`."""
        flat = find_folder(self.root, self._names["rgb"]) is not None
        folders = {s: f for s, names in _SPLITS.items() if (f := find_folder(self.root, names))}
        if split == "predict" and self.fills_x and (alone := self._x_alone()):
            return alone
        if not flat and not any(find_folder(f, self._names["rgb"]) for f in folders.values()):
            raise self._no_pairs()
        if split == "predict":
            parts = [self.root] if flat else list(folders.values())
            return join_sets({part.name: self._listing(part, labelled=False) for part in parts})
        if not self.class_names:
            name = type(self).__name__
            raise RGBXError(f"{name} needs data.class_names for everything but prediction")
        return self._scan_flat(split) if flat else self._scan_split(folders, split)

    def _x_alone(self) -> Scan | None:
        """To predict: the images of a folder of X that has no visible images next to it."""
        if not self.root.is_dir():
            return None
        below = [f for names in _SPLITS.values() if (f := find_folder(self.root, names))]
        if any(find_folder(folder, self._names["rgb"]) for folder in (self.root, *below)):
            return None
        folder = find_folder(self.root, self._names["x"])
        if folder is None:
            return None
        index = index_images(folder, nested=True)
        note = (
            f"{self.root} has no visible images: their mean stands in for them, so expect worse "
            "predictions than with both"
        )
        records = [Record(name, path, path, absent="rgb") for name, path in sorted(index.items())]
        return Scan(records, [], (note,))

    def _no_pairs(self) -> DataError:
        state = "is no folder of pairs" if self.root.is_dir() else "does not exist"
        there = ", ".join(printable(path.name) for path in subfolders(self.root)[:8])
        found = f" (there are the folders {there})" if there else ""
        return DataError(f"{self.root} {state}; set data.root to a folder with {self.tree}{found}")

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
        indices, notes = self._indices(self.root, labelled=True)
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
            names, remark = self.hold_out(names, split)
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

    def hold_out(self, names: list[str], split: str) -> tuple[list[str], list[str]]:
        """The part of the training names that train or val takes, and a remark on how."""
        family, remark = _families(names, parts=2)
        train, val = seeded_split(names, self.held_out_share, self.seed, family)
        rank_zero_info(
            f"{self.root} has no validation set; {len(val)} of {len(names)} training samples are "
            f"held out by seed {self.seed}"
        )
        return (train if split == "train" else val), (remark if val else [])

    def _listing(self, folder: Path, labelled: bool = True, split: str = "") -> Scan:
        """All pairs of a folder, also those that lack a file, or what a split takes of them."""
        indices, notes = self._indices(folder, labelled)
        names = all_stems(indices.values())
        notes += passed_over(indices.values(), names)
        if split in ("train", "val"):
            names, remark = self.hold_out(names, split)
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
