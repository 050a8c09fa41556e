"""Which folders of one's own hold rgb, x and masks, and how their files pair."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from rgbx.data.decoding.files import IMAGE_SUFFIXES
from rgbx.data.splits.index import (
    Index,
    count_images,
    find_folder,
    index_images,
    normal,
    subfolders,
)
from rgbx.errors import DataError
from rgbx.text import printable

__all__ = ["Names", "aliases", "find_indices", "unused_folders"]

Names = Mapping[str, Sequence[str]]  # part -> names that its folder may have

_LABELS = {"mask": "masks", "boxes": "box annotations"}
_ENDINGS = {
    "rgb": "rgb vis visible vi color colour image img im",
    "x": "x th thermal t tir ir lwir nir infrared depth d",
    "mask": "mask masks gt label labels seg segmentation annotation ann labelids",
}
_ENDING = {
    part: re.compile(rf"[_.-](?:{words.replace(' ', '|')})$", re.IGNORECASE)
    for part, words in _ENDINGS.items()
}


def find_indices(
    folder: Path,
    names: Names,
    labelled: bool,
    label: str = "mask",
    suffixes: Collection[str] = IMAGE_SUFFIXES,
) -> tuple[dict[str, Index], list[str]]:
    """The files of one folder's rgb, x and labels, by stem.

    Files called ``NAME_rgb``, ``NAME_th``, ``NAME_mask`` and the like pair as NAME, in folders of
    their own or in the one folder of rgb, unless they pair as they are.

    Args:
        folder: where to look.
        names: of the folders; `x` and the labels may be absent on disk.
        labelled: ask for labels.
        label: the part that holds them, "mask" or "boxes".
        suffixes: of their files.

    Returns:
        The indices of the parts that are there, and what was passed over.

    Raises:
        DataError: there is no folder of rgb, or of labels where they are asked for.
    """
    places = {part: find_folder(folder, words) for part, words in names.items()}
    if places["rgb"] is None:
        what = f"visible images ({', '.join(names['rgb'])})"
        raise DataError(f"{folder} has no folder of {what}{_instead(folder, ())}")
    _refuse_absent(folder, names, places, labelled, label)
    indices = {
        p: index_images(f, "", suffixes if p == label else IMAGE_SUFFIXES, nested=True)
        for p, f in places.items()
        if f is not None
    }
    if not labelled:
        indices.pop(label, None)
    indices = _by_endings(_parted(indices, labelled and label == "mask"))
    used = [place for place in places.values() if place is not None]
    if labelled and label not in indices:
        what = f"{_LABELS[label]} ({', '.join(names[label])})"
        raise DataError(f"{folder} has no folder of {what}{_instead(folder, used)}")
    return indices, _notes(folder, names, indices, used)


def _refuse_absent(
    folder: Path,
    names: Names,
    places: Mapping[str, Path | None],
    labelled: bool,
    label: str,
) -> None:
    """Refuse a folder that the user named and that is not there."""
    for part, words in names.items():
        own = len(words) == 1 and (labelled or part != label)  # named by the user, not a default
        if own and places[part] is None:
            there = ", ".join(printable(path.name) for path in subfolders(folder))
            raise DataError(
                f"{folder} has no folder {words[0]}, which data.folders names as {part}; there are "
                f"{there or 'none'}"
            )


def _notes(
    folder: Path, names: Names, indices: Mapping[str, Index], used: Sequence[Path]
) -> list[str]:
    """Folders of images that are passed over, and whether x is missing for that."""
    others = unused_folders(folder, used)
    if not others:
        return []
    said = ", ".join(f"{printable(p.name)} ({n} images)" for p, n in others.items())
    if "x" in indices:
        return [f"{folder}: folders that are passed over: {said}"]
    note = (
        f"{folder} has no folder of x ({', '.join(names['x'])}), so its samples are RGB alone; "
        f"folders that are passed over: {said}"
    )
    fitting = [p for p in others if indices["rgb"].keys() & {normal(f.stem) for f in p.iterdir()}]
    if fitting:
        note += f"; data.folders {{x: {fitting[0].name}}} takes {fitting[0].name} as x"
    return [note]


def unused_folders(folder: Path, used: Iterable[Path]) -> dict[Path, int]:
    """Folders that hold images and are not used, with their number of images."""
    known = {path.name for path in used}
    counts = {path: count_images(path) for path in subfolders(folder) if path.name not in known}
    return {path: count for path, count in counts.items() if count}


def _instead(folder: Path, used: Iterable[Path]) -> str:
    others = ", ".join(printable(path.name) for path in unused_folders(folder, used))
    return f"; there are {others}, which data.folders can name" if others else ""


def aliases(indices: Mapping[str, Index]) -> dict[str, str]:
    """What files are called whose name is shorter than their stem (``NAME_rgb``): stem -> name."""
    found: dict[str, str] = {}
    for index in indices.values():
        for name, path in index.items():
            above = name.rpartition("/")[0]
            found[f"{above}/{normal(path.stem)}" if above else normal(path.stem)] = name
    return {stem: name for stem, name in found.items() if stem != name}


def _parted(indices: dict[str, Index], labelled: bool) -> dict[str, Index]:
    """Where rgb's folder holds x or masks too, told by their endings, part it."""
    wanted = [p for p in ("x", *(("mask",) if labelled else ())) if p not in indices]
    rgb = indices["rgb"]
    groups = {part: rgb.renamed(partial(_shortened, _ENDING[part])) for part in wanted}
    taken = {path for index in groups.values() for path in index.values()}
    plain = rgb.renamed(lambda stem: None if rgb.get(stem) in taken else stem)
    ended = plain.renamed(partial(_shortened, _ENDING["rgb"]))
    left = ended if len(ended) == len(plain) else plain
    # by chance a few names may end so; a folder that holds two kinds has as many of each
    groups = {p: g for p, g in groups.items() if len(g.keys() & left.keys()) * 2 > len(left)}
    kept = {path for index in groups.values() for path in index.values()}
    return {**indices, "rgb": left, **groups} if kept and kept == taken else indices


def _shortened(ending: re.Pattern[str], stem: str) -> str | None:
    match = ending.search(stem)
    return stem[: match.start()] if match and match.start() else None


def _by_endings(indices: dict[str, Index]) -> dict[str, Index]:
    """Cut the endings off that all files of a folder share, where nothing pairs without."""
    if _common(indices):
        return indices
    cut = {part: _without_shared(index) for part, index in indices.items()}
    return cut if _common(cut) else indices


def _common(indices: Mapping[str, Index]) -> set[str]:
    return set.intersection(*(set(index) for index in indices.values()))


def _without_shared(index: Index) -> Index:
    for pattern in _ENDING.values():
        shorter = index.renamed(partial(_shortened, pattern))
        if len(shorter) == len(index):
            return shorter
    return index
