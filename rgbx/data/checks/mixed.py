"""Images of one modality whose files are of several types, and would be scaled by several rules."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rgbx.data.checks.hints import takes
from rgbx.data.decoding.decode import read_raw
from rgbx.data.decoding.headers import Stored, look
from rgbx.data.splits.records import Record

if TYPE_CHECKING:
    from rgbx.data.source import Source

__all__ = ["Mixtures", "mixed_types", "mixed_x", "type_of_floats"]

# Types whose values keep their meaning from image to image; all others are stretched one by one.
_FIXED: dict[Literal["rgb", "x"], set[Stored]] = {
    "rgb": {"1-bit", "8-bit", "16-bit", "float in [0, 1]"},
    "x": {"1-bit", "8-bit", "float in [0, 1]"},
}


class Mixtures(NamedTuple):
    """Sentences about types that do not go together: in one folder, and between folders."""

    in_folders: list[str]
    between: list[str]


def mixed_types(
    data: "Source", types: Mapping[Path, Stored], part: Literal["rgb", "x"]
) -> Mixtures:
    """Find types of files that are scaled by different rules.

    The rules are those of `rgbx.data.decoding.files.to_unit`.

    Args:
        data: says how x is scaled; with `x_range` there is one rule for all types.
        types: of the files of one modality.
        part: the modality.
    """
    if part == "x" and data.x_range is not None:
        return Mixtures([], [])
    advice = "store all in one type"
    if part == "x" and takes(data, "x_range"):
        advice += ", or set x_range to the stored values that become 0 and 1"
    if "float" in types.values() and _FIXED[part] & set(types.values()):
        types = {path: _told(path, stored) for path, stored in types.items()}
    folders: dict[Path, dict[Path, Stored]] = {}
    for path, stored in types.items():
        folders.setdefault(path.parent, {})[path] = stored
    inside = [text for found in folders.values() if (text := _describe(found, part, advice))]
    between = [] if inside else [text for text in [_describe(types, part, advice)] if text]
    return Mixtures(inside, between)


def mixed_x(data: "Source", records: Iterable[Record]) -> list[str]:
    """Say which types of the second modality of some samples do not go together."""
    files = [r.x for r in records if r.x is not None and r.x != r.rgb]
    found = mixed_types(data, {path: look(path).stored for path in files}, "x")
    return [f"{data.root}: {text}" for text in (*found.in_folders, *found.between)]


def type_of_floats(stored: NDArray[np.generic]) -> Stored:
    """Tell whether floats count as a share of the whole already, as `to_unit` decides it."""
    values = stored.astype(np.float32)
    known = values[np.isfinite(values)]
    is_unit = known.size > 0 and known.min() >= 0 and known.max() <= 1
    return "float in [0, 1]" if is_unit else "float"


def _told(path: Path, stored: Stored) -> Stored:
    return type_of_floats(read_raw(path)) if stored == "float" else stored


def _describe(types: Mapping[Path, Stored], part: Literal["rgb", "x"], advice: str) -> str:
    groups: dict[Stored, list[Path]] = {}
    for path, stored in types.items():
        groups.setdefault(stored, []).append(path)
    if len({stored in _FIXED[part] for stored in groups}) < 2:
        return ""
    rules = {True: "on the scale of the type", False: "stretched image by image"}
    shown = ", ".join(
        f"{len(paths)} are {stored}, {rules[stored in _FIXED[part]]} (such as {paths[0]})"
        for stored, paths in groups.items()
    )
    return f"{part} images are not scaled alike: {shown}: {advice}"
