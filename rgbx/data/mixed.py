"""Images of one modality whose files are of several types, and would be scaled by several rules."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from rgbx.data.decode import Stored
from rgbx.data.hints import takes

if TYPE_CHECKING:
    from rgbx.data.source import Source

__all__ = ["Mixtures", "mixed_types"]

_DIVIDED = "divided by the largest value of their type"
_STRETCHED = "stretched image by image"
_RULES: dict[Literal["rgb", "x"], dict[Stored, str]] = {
    "rgb": {"1-bit": _DIVIDED, "8-bit": _DIVIDED, "16-bit": _DIVIDED},
    "x": {"1-bit": _DIVIDED, "8-bit": _DIVIDED, "float in [0, 1]": "taken as they are"},
}


class Mixtures(NamedTuple):
    """Sentences about types that do not go together: in one folder, and between folders."""

    in_folders: list[str]
    between: list[str]


def mixed_types(
    data: "Source", types: Mapping[Path, Stored], part: Literal["rgb", "x"]
) -> Mixtures:
    """Find types of files that are scaled by different rules (see `rgbx.data.files.to_unit`).

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
    folders: dict[Path, dict[Path, Stored]] = {}
    for path, stored in types.items():
        folders.setdefault(path.parent, {})[path] = stored
    inside = [text for found in folders.values() if (text := _describe(found, part, advice))]
    between = [] if inside else [text for text in [_describe(types, part, advice)] if text]
    return Mixtures(inside, between)


def _describe(types: Mapping[Path, Stored], part: Literal["rgb", "x"], advice: str) -> str:
    groups: dict[Stored, list[Path]] = {}
    for path, stored in types.items():
        groups.setdefault(stored, []).append(path)
    rules = {stored: _RULES[part].get(stored, _STRETCHED) for stored in groups}
    # integers and floats are both stretched, but hardly in one unit
    kinds = {(rule, stored == "float") for stored, rule in rules.items()}
    if len(kinds) < 2:
        return ""
    shown = "; ".join(
        f"{len(paths)} {'are' if len(paths) > 1 else 'is'} {stored} ({paths[0]}), {rules[stored]}"
        for stored, paths in groups.items()
    )
    return f"{part} images are not scaled alike: {shown}: {advice}"
