"""LabelMe: one JSON file for each image."""

from pathlib import Path
from typing import Any

from rgbx.data.annotations.boxes import Box, Boxes, number
from rgbx.data.annotations.coco import read_json
from rgbx.data.decoding.files import SampleError

__all__ = ["read_labelme"]

_DRAWN = ("rectangle", "polygon")


def read_labelme(path: Path) -> Boxes:
    """The rectangles of a file, and what is around its polygons; points and lines are no objects.

    Raises:
        SampleError: names the file, the shape, and what is wrong.
    """
    content, shapes = _shapes(path)
    boxes = [_box(shape, path, i) for i, shape in enumerate(shapes, 1) if _is_drawn(shape)]
    height, width = content.get("imageHeight"), content.get("imageWidth")
    stated = isinstance(height, int) and isinstance(width, int) and min(height, width) > 0
    return Boxes.of(boxes, (height, width) if stated else None)


def _shapes(path: Path) -> tuple[Any, list[dict[str, Any]]]:
    """The whole content and its shapes."""
    content: Any = read_json(path)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list):
        raise SampleError(f"{path}: it has no list `shapes`, which a LabelMe file has")
    for i, shape in enumerate(shapes, 1):
        if not isinstance(shape, dict):
            raise SampleError(f"{path}: shape {i} is no object of JSON")
    return content, shapes


def _is_drawn(shape: dict[str, Any]) -> bool:
    return shape.get("shape_type", "polygon") in _DRAWN


def _box(shape: dict[str, Any], path: Path, index: int) -> Box:
    name = shape.get("label")
    if not isinstance(name, str) or not name:
        raise SampleError(f"{path}: shape {index} has no label")
    where = f"shape {index} ({name})"
    points = shape.get("points")
    if not isinstance(points, list) or len(points) < 2 or not all(map(_is_point, points)):
        raise SampleError(f"{path}: {where} needs two points or more, each of x and y")
    for value in (value for point in points for value in point):
        if isinstance(value, str | bool):
            raise SampleError(f"{path}: a point of {where} holds {value!r}, which is no number")
    x, y = ([number(p[axis], path, f"a point of {where}") for p in points] for axis in (0, 1))
    return Box(name, (min(x), min(y), max(x), max(y)))


def _is_point(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2
