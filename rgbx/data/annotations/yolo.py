"""YOLO: one text file for each image, sides over those of the image."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rgbx.data.annotations.boxes import Box, Boxes, number, read_text
from rgbx.data.decoding.files import SampleError
from rgbx.errors import DataError
from rgbx.yaml_file import read_yaml

__all__ = ["read_class_list", "read_yolo"]

_WORDS = ("class", "centre x", "centre y", "width", "height")
_NUMBERED = re.compile(r"(\d+)\s*[:,.)]?\s+(\S.*)")
_SLACK = 1e-3  # of numbers that were rounded when they were written


def read_yolo(path: Path, class_names: Sequence[str], size: tuple[int, int]) -> Boxes:
    """The objects of an annotation file; an empty one is an image without boxes.

    A row is ``class centre_x centre_y width height``, the last four over the image's sides.

    Args:
        path: the file.
        class_names: name of index 0, 1, ...; rows may also hold a name.
        size: (h,w) of the image.

    Raises:
        SampleError: names the file, the line, and what is wrong.
    """
    rows = enumerate(read_text(path).splitlines(), 1)
    return Boxes.of(
        _box(line.split(), path, i, class_names, size) for i, line in rows if line.strip()
    )


def _box(
    words: Sequence[str], path: Path, line: int, names: Sequence[str], size: tuple[int, int]
) -> Box:
    where = f"line {line}"
    if len(words) == 6:
        raise SampleError(
            f"{path}: {where} has 6 words, the last a confidence: this is a file of predictions, "
            "where annotations were expected"
        )
    if len(words) > 6:
        raise SampleError(
            f"{path}: {where} has {len(words)} words: this looks like a polygon of a segmentation "
            f"file, where a box of {len(_WORDS)} words was expected ({', '.join(_WORDS)})"
        )
    if len(words) < 5:
        raise SampleError(
            f"{path}: {where} has {len(words)} words, where {len(_WORDS)} were expected "
            f"({', '.join(_WORDS)})"
        )
    values = [
        number(word, path, f"the {what} of {where}")
        for word, what in zip(words[1:], _WORDS[1:], strict=True)
    ]
    for value, what in zip(values, _WORDS[1:], strict=True):
        if not -_SLACK <= value <= 1 + _SLACK:
            raise SampleError(
                f"{path}: the {what} of {where} is {value:g}, but is a part of the image's side, "
                "from 0 to 1"
            )
    height, width = size
    x, y, w, h = values
    half = w * width / 2, h * height / 2
    corners = (x * width - half[0], y * height - half[1], x * width + half[0], y * height + half[1])
    return Box(_name(words[0], path, where, names), corners)


def _name(word: str, path: Path, where: str, names: Sequence[str]) -> str:
    if word in names:
        return word
    if not names:
        raise SampleError(f"{path}: {where} has the class {word}, but no class names were given")
    try:
        index = float(word)
    except ValueError:
        index = -1.0
    if not 0 <= index < len(names) or index != int(index):  # NaN compares false
        raise SampleError(
            f"{path}: the class of {where} is {word}, but there are {len(names)} classes, 0 to "
            f"{len(names) - 1} ({', '.join(names)})"
        )
    return names[int(index)]


def read_class_list(path: Path) -> tuple[str, ...]:
    """Class names of ``classes.txt`` (one on a line), or of ``names`` in a ``data.yaml``.

    Lines that are numbered from 0 on (``0 person``, ``1: bicycle``) lose their numbers.

    Raises:
        DataError: the file holds none.
    """
    if path.suffix in (".yaml", ".yml"):
        found: Any = read_yaml(path, "class names file")
        names = found.get("names") if isinstance(found, dict) else None
        if isinstance(names, dict):
            names = _numbered(names, path)
        if not isinstance(names, list) or not names:
            raise DataError(f"{path} has no list `names` of class names")
        for i, name in enumerate(names):
            if isinstance(name, dict | list) or name is None:
                raise DataError(f"{path}: class {i} of `names` is {name!r}, where a name belongs")
        return tuple(str(name) for name in names)
    names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise DataError(f"{path} holds no class names: write one on each line")
    numbered = [_NUMBERED.fullmatch(name) for name in names]
    if all(match and int(match[1]) == i for i, match in enumerate(numbered)):
        names = [match[2] for match in numbered if match]
    return tuple(names)


def _numbered(names: dict[Any, Any], path: Path) -> list[Any]:
    """The values of a dictionary whose keys are 0, 1, 2, ..., in this order."""
    try:
        found = {int(str(key)): name for key, name in names.items()}
    except ValueError:
        found = {}
    if len(found) != len(names) or sorted(found) != list(range(len(names))):
        raise DataError(
            f"{path}: the keys of `names` are {', '.join(map(str, names))}, where each class "
            f"number from 0 to {len(names) - 1} belongs once"
        )
    return [found[i] for i in range(len(names))]
