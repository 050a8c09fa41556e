"""Masks drawn from polygons: LabelMe's file of an image, COCO's file of a split."""

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from rgbx.data.annotations.coco import read_json
from rgbx.data.decoding.decode import SampleError
from rgbx.data.decoding.label_map import LabelMap

__all__ = ["coco_stems", "draw_coco", "draw_labelme", "is_coco", "stated_size"]

Size = tuple[int, int]


def is_coco(path: Path) -> bool:
    """Whether a JSON file is one of many images.

    Raises:
        SampleError: it cannot be read, or is no JSON.
    """
    content = _content(path)
    return isinstance(content, dict) and {"images", "annotations"} <= content.keys()


def draw_labelme(path: Path, size: Size, labels: LabelMap) -> NDArray[np.int64]:
    """Class ids (H,W) of a LabelMe file; later shapes cover earlier ones, the rest is id 0.

    Polygons and rectangles are drawn as LabelMe draws them, borders included; other shapes have no
    area.

    Args:
        path: the file.
        size: (H,W).
        labels: what names mean.

    Raises:
        SampleError: names the file, the shape, and what is wrong.
    """
    content = _content(path)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list):
        raise SampleError(f"{path}: it has no list `shapes`, which a LabelMe file has")
    canvas = Image.new("L", (size[1], size[0]), 0)
    pen = ImageDraw.Draw(canvas)
    for number, shape in enumerate(shapes, 1):
        where = f"shape {number}"
        if not isinstance(shape, dict):
            raise SampleError(f"{path}: {where} is no object of JSON")
        kind = shape.get("shape_type", "polygon")
        if kind not in ("polygon", "rectangle"):
            continue
        label = _label(path, where, shape.get("label"), labels)
        points = _points(path, where, shape.get("points"), 2 if kind == "rectangle" else 3)
        if kind == "rectangle":
            (x0, y0), (x1, y1) = points[:2]
            pen.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), label, label)
        else:
            pen.polygon(points, label, label)
    return np.asarray(canvas, dtype=np.int64)


def draw_coco(path: Path, name: str, size: Size, labels: LabelMap) -> NDArray[np.int64]:
    """Class ids (H,W) of one image of a COCO file; small objects cover large ones, the rest is 0.

    Polygons and run lengths are drawn by pycocotools; crowds are not scored (255).

    Args:
        path: the file.
        name: stem of the image.
        size: (H,W).
        labels: what names of categories mean.

    Raises:
        SampleError: names the file, the annotation, and what is wrong.
    """
    images, annotations, categories = _coco(path, _changed(path))
    mask = np.zeros(size, dtype=np.int64)
    drawn = []
    for number, entry in annotations.get(images[name]["id"], ()):
        where = f"annotation {number}"
        label = _label(path, where, categories.get(entry.get("category_id")), labels)
        area = _coco_area(path, where, entry.get("segmentation"), size)
        drawn.append((int(area.sum()), number, 255 if entry.get("iscrowd") else label, area))
    for _, _, label, area in sorted(drawn, key=lambda one: (-one[0], one[1])):
        mask[area] = label
    return mask


def coco_stems(path: Path) -> list[str]:
    """Stems of the images of a COCO file.

    Raises:
        SampleError: it cannot be read.
    """
    return list(_coco(path, _changed(path))[0])


def stated_size(path: Path, name: str) -> Size | None:
    """(H,W) that a file states of an image; None if it does not."""
    content = _content(path)
    height, width = "imageHeight", "imageWidth"
    if is_coco(path):
        content = _coco(path, _changed(path))[0][name]
        height, width = "height", "width"
    found = (content.get(height), content.get(width)) if isinstance(content, dict) else (None, None)
    if all(isinstance(side, int) and side > 0 for side in found):
        return int(found[0]), int(found[1])  # type: ignore[arg-type]
    return None


def _changed(path: Path) -> int:
    """When a file was last changed: what was read of it holds as long as this stays."""
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise SampleError(f"{path}: it cannot be read ({error.strerror})") from error


def _content(path: Path) -> Any:
    """A parsed file; one of all images is asked for once per image, and read once."""
    return _parsed(path, _changed(path))


@lru_cache(maxsize=8)
def _parsed(path: Path, changed: int) -> Any:
    return read_json(path)


@lru_cache(maxsize=8)
def _coco(
    path: Path, changed: int
) -> tuple[dict[str, Any], Mapping[int, list[tuple[int, Any]]], dict[int, str]]:
    """Images by stem, annotations by image, names of categories."""
    content = _parsed(path, changed)
    try:
        images = {PurePosixPath(one["file_name"]).stem: one for one in content["images"]}
        if len(images) < len(content["images"]):
            raise SampleError(f"{path}: two images have the same name (without suffix)")
        categories = {one["id"]: str(one["name"]) for one in content.get("categories", ())}
        rows: defaultdict[int, list[tuple[int, Any]]] = defaultdict(list)
        for number, one in enumerate(content["annotations"], 1):
            rows[one["image_id"]].append((one.get("id", number), one))
    except (KeyError, TypeError, AttributeError) as error:
        raise SampleError(f"{path}: an entry of this COCO file lacks {error}") from error
    return images, dict(rows), categories


def _coco_area(path: Path, where: str, segmentation: Any, size: Size) -> NDArray[np.bool_]:
    try:
        if isinstance(segmentation, list):
            runs = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
        elif isinstance(segmentation.get("counts"), list):
            runs = coco_mask.frPyObjects(segmentation, *size)
        else:
            runs = segmentation
        area = np.asarray(coco_mask.decode(runs), dtype=bool)
    except Exception as error:  # pycocotools raises bare Exception, and others of its C code
        raise SampleError(f"{path}: {where} has no segmentation that can be drawn") from error
    if area.shape != size:
        raise SampleError(f"{path}: {where} is of an image of another size, {area.shape}", "size")
    return area


def _label(path: Path, where: str, name: object, labels: LabelMap) -> int:
    if not isinstance(name, str) or not name:
        raise SampleError(f"{path}: {where} has no label")
    found = labels.id_of(name)
    if found is None:
        raise SampleError(
            f"{path}: {where} is called {name!r}, which is no class; label_map can name it: "
            f"{{{name}: a class}} or {{{name}: ignore}}",
            "ids",
        )
    return found


def _points(path: Path, where: str, points: object, least: int) -> list[tuple[float, float]]:
    try:
        found = [(float(x), float(y)) for x, y in points]  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise SampleError(f"{path}: the points of {where} are no pairs of numbers") from error
    if len(found) < least or not np.isfinite(found).all():
        raise SampleError(f"{path}: {where} needs {least} points or more, all finite")
    return found
