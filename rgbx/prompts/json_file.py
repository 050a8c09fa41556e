"""Prompts from a mapping of names to lists."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rgbx.errors import DataError
from rgbx.prompts.entries import Entry, box_entry, points_entry

__all__ = ["read_json"]

_NEWLINE = "\n"
_SHAPE = '{"NAME": [{"box": [x_min, y_min, x_max, y_max]}, {"points": [[x, y]], "labels": [1]}]}'


def read_json(path: Path, text: str) -> dict[str, list[Entry]]:
    """Read the text of a JSON file; see `rgbx.prompts.files` for the format.

    Raises:
        DataError: it is no JSON, has another shape, or a prompt cannot work; the text names file
            and line (of the image's name).
    """
    try:
        content = json.loads(text, object_pairs_hook=partial(_unique, path, text))
    except json.JSONDecodeError as error:
        raise DataError(f"{path} line {error.lineno}: no JSON ({error.msg})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} line 1: the file must be {_SHAPE}")
    entries: dict[str, list[Entry]] = {}
    place = 0
    for name, prompts in content.items():
        place = _find(text, name, place)
        where = f"{path} line {text.count(_NEWLINE, 0, place) + 1} ({name}"
        if not isinstance(prompts, list):
            raise DataError(f"{where}): a list of prompts must follow the name, as in {_SHAPE}")
        entries[name] = [_entry(item, f"{where}, prompt {i})") for i, item in enumerate(prompts, 1)]
    return entries


def _unique(path: Path, text: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping without repeated keys, of which JSON would keep the last in silence."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            line = text.count(_NEWLINE, 0, _find(text, key, 0)) + 1
            raise DataError(f"{path} line {line}: {key!r} stands there twice; keep one list")
        found[key] = value
    return found


def _find(text: str, name: str, start: int) -> int:
    """Where a name stands after `start`; `start` if it is written with escapes of its own."""
    for quoted in (json.dumps(name), json.dumps(name, ensure_ascii=False)):
        place = text.find(quoted, start)
        if place >= 0:
            return place
    return start


def _entry(item: Any, where: str) -> Entry:
    if not isinstance(item, dict):
        raise DataError(f"{where}: a prompt is a mapping, as in {_SHAPE}")
    # "mask" is the file of its mask, as `rgbx predict` writes it next to every prompt
    foreign = [key for key in item if key not in ("box", "points", "labels", "mask")]
    if foreign:
        raise DataError(f"{where}: {foreign[0]!r} is not known; give box, or points and labels")
    if ("box" in item) == ("points" in item) or ("box" in item and "labels" in item):
        raise DataError(f"{where}: give either a box, or points and their labels")
    if "box" in item:
        return box_entry(_numbers(item["box"], "box", where), where)
    if not isinstance(item["points"], list):
        raise DataError(f"{where}: points must be a list of pairs [x, y]")
    points = [_numbers(point, "points", where) for point in item["points"]]
    labels = _numbers(item.get("labels", [1] * len(points)), "labels", where)
    return points_entry(points, labels, where)


def _numbers(value: Any, key: str, where: str) -> Sequence[float]:
    numeric = isinstance(value, list) and all(
        isinstance(entry, int | float) and not isinstance(entry, bool) for entry in value
    )
    if not numeric:
        raise DataError(f"{where}: {key} must hold lists of numbers, not {json.dumps(value)}")
    return [float(entry) for entry in value]
