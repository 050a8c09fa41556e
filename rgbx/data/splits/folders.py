"""The folders of a set of pairs, whatever they are called and however they are nested."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from rgbx.data.splits.index import Index, all_stems, passed_over, subfolders
from rgbx.data.splits.records import Scan, find_folder, index_images, join, pair

__all__ = ["MASK", "RGB", "Found", "Parts", "find_parts", "first_parts", "join_sets", "nested"]

RGB = ("RGB", "Image", "Images", "Imgs", "Img")
MASK = ("GT", "Mask", "Masks", "GTs", "GT_Object")


class Parts(NamedTuple):
    """The folders of one set of pairs; `x` and `mask` are None where it has none of them."""

    rgb: Path
    x: Path | None
    mask: Path | None

    def stems(self, labelled: bool = True) -> list[str]:
        """All names, also those that lack a file."""
        return all_stems(self._indices(labelled).values())

    def scan(self, labelled: bool = True, names: Iterable[str] | None = None) -> Scan:
        """Pair the files by stem.

        Args:
            labelled: ask for masks.
            names: stems wanted; all by default, also those that lack a file.
        """
        indices = self._indices(labelled)
        wanted = all_stems(indices.values()) if names is None else names
        scan = pair(wanted, indices, where=str(self.rgb.parent))
        notes = passed_over(indices.values(), wanted) if names is None else ()
        return scan._replace(notes=tuple(notes))

    def _indices(self, labelled: bool) -> dict[str, Index]:
        indices = {"rgb": index_images(self.rgb, nested=True)}
        if self.x is not None:
            indices["x"] = index_images(self.x, nested=True)
        if labelled and self.mask is not None:
            indices["mask"] = index_images(self.mask, nested=True)
        return indices


@dataclass(frozen=True)
class Found:
    """The folders of a set and the stems that belong to it (None for all)."""

    parts: Parts
    names: list[str] | None = None

    def scan(self, labelled: bool = True) -> Scan:
        """Pair the files by stem."""
        return self.parts.scan(labelled, self.names)


def nested(root: Path, names: Sequence[str], depth: int = 2) -> Iterator[Path]:
    """Yield `root`, the folders below it that have one of the names, and the same below these.

    Archives unpack to ``VT5000/VT5000_clear/...`` or ``VT1000/VT1000/...``, and people move them.
    """
    yield root
    if depth and root.is_dir():
        for name in names:
            folder = find_folder(root, (name,))
            if folder is not None:
                yield from nested(folder, names, depth - 1)


def find_parts(folder: Path | None, x_folders: Sequence[str]) -> Parts | None:
    """Find the folders of rgb, x and masks; None unless there are rgb and x.

    Args:
        folder: where to look; None for nowhere.
        x_folders: names of the folder of the second modality; none for sets of rgb only.
    """
    if folder is None:
        return None
    rgb, x = find_folder(folder, RGB), find_folder(folder, x_folders)
    if rgb is None or (x_folders and x is None):
        return None
    return Parts(rgb, x, find_folder(folder, MASK))


def half_parts(root: Path, x_folders: Sequence[str]) -> list[str]:
    """Name folders below a root that are half a set: masks or x without rgb, rgb without x.

    Folders that hold overlays are results of rgbx, not data.
    """
    lines: list[str] = []
    for folder, below in _folders_below(root, 3):
        names = {"visible images": RGB, "x": x_folders, "masks": MASK}
        places = {
            part: next((below[word.lower()] for word in words if word.lower() in below), None)
            for part, words in names.items()
        }
        there = [f"{place.name} ({part})" for part, place in places.items() if place]
        needed = ("visible images", *(("x",) if x_folders else ()))
        lacks = [f"{part} ({', '.join(names[part])})" for part in needed if not places[part]]
        if lacks and len(there) >= (2 if x_folders else 1) and "overlays" not in below:
            lines.append(
                f"{folder} has {' and '.join(there)}, but no folder of {' and '.join(lacks)}: it "
                "is not used"
            )
    return lines


def _folders_below(root: Path, depth: int) -> Iterator[tuple[Path, dict[str, Path]]]:
    """A folder and those below it, each with its own folders by their names in lower case."""
    below = {folder.name.lower(): folder for folder in reversed(subfolders(root))}
    yield root, below
    for folder in below.values() if depth else ():
        yield from _folders_below(folder, depth - 1)


def first_parts(folders: Iterable[Path | None], x_folders: Sequence[str]) -> Parts | None:
    """The first of some folders that holds pairs."""
    return next((parts for folder in folders if (parts := find_parts(folder, x_folders))), None)


def join_sets(scans: Mapping[str, Scan]) -> Scan:
    """Put several sets together; names become SET/STEM if a stem occurs twice.

    Stems that differ in letter case only count as one: not every disk can hold both.
    """
    whole = join(scans.values())
    if len({record.name.casefold() for record in whole.records}) == len(whole.records):
        return whole
    named = [replace(r, name=f"{name}/{r.name}") for name, s in scans.items() for r in s.records]
    return whole._replace(records=named)
