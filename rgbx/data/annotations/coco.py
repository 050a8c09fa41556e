"""COCO: one JSON file for all images of a split."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from rgbx.data.annotations.boxes import Box, Boxes, read_text
from rgbx.data.decoding.files import SampleError

__all__ = ["CocoBoxes", "CocoImage", "read_coco", "read_json"]


@dataclass(frozen=True)
class CocoImage:
    """An image as a COCO file names it.

    Attributes:
        id: as in the file.
        file_name: of the visible image, as in the file.
        other: ``file_name_lwir`` of UniRGB-IR's files: the second modality; None without.
        boxes: its objects.
    """

    id: int
    file_name: str
    other: str | None
    boxes: Boxes


@dataclass(frozen=True)
class CocoBoxes:
    """The content of a COCO file.

    Attributes:
        class_names: of its categories, in the order of the file.
        category_ids: of them, in the same order.
        images: by stem of ``file_name``, folders left off unless stems repeat.
    """

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    images: Mapping[str, CocoImage]


def read_json(path: Path) -> Any:
    """A JSON file, ``.gz`` too.

    Raises:
        SampleError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise SampleError(f"{path}: it is no JSON ({error})") from error


def read_coco(path: Path, name: str = "file_name") -> CocoBoxes:
    """The images and boxes of a file, read once as long as it does not change.

    Crowds (``iscrowd``) and boxes with ``ignore`` are ignored regions.

    Args:
        path: the file.
        name: key of an image's name; names under another key than COCO's keep their folders.

    Raises:
        SampleError: names the file, the image or annotation, and what is wrong.
    """
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise SampleError(f"{path}: the box annotations cannot be read ({error.strerror})") from (
            error
        )
    return _read(path, changed, name)


@lru_cache(maxsize=8)
def _read(path: Path, changed: int, name: str) -> CocoBoxes:
    content = read_json(path)
    entries = {key: _entries(path, content, key) for key in ("images", "annotations", "categories")}
    classes: dict[int, str] = {}
    for i, entry in enumerate(entries["categories"]):
        key = _whole(entry, "id", path, f"category {i}")
        classes[key] = _text(entry, "name", path, f"category {i}")
    images: dict[int, dict[str, Any]] = {}
    for i, entry in enumerate(entries["images"]):
        key = _whole(entry, "id", path, f"image {i}")
        if key in images:
            raise SampleError(f"{path}: two images have the id {key}")
        images[key] = entry
    rows: defaultdict[int, list[Box]] = defaultdict(list)
    for i, entry in enumerate(entries["annotations"]):
        where = f"annotation {entry.get('id', f'number {i}')}"
        owner = _whole(entry, "image_id", path, where)
        if owner not in images:
            raise SampleError(f"{path}: {where} has image_id {owner}, and there is no such image")
        rows[owner].append(_box(entry, classes, path, where))
    found = {key: _image(key, entry, name, rows[key], path) for key, entry in images.items()}
    stems = [PurePosixPath(image.file_name).stem for image in found.values()]
    if name != "file_name" or len(set(stems)) < len(stems):
        stems = [str(PurePosixPath(image.file_name).with_suffix("")) for image in found.values()]
    named = dict(zip(stems, found.values(), strict=True))
    return CocoBoxes(tuple(classes.values()), tuple(classes), named)


def _image(
    key: int, entry: Mapping[str, Any], named: str, boxes: list[Box], path: Path
) -> CocoImage:
    where = f"image {key}"
    name = _text(entry, named, path, where)
    size = None
    if "height" in entry or "width" in entry:
        size = _whole(entry, "height", path, where), _whole(entry, "width", path, where)
    other = entry.get("file_name_lwir")
    return CocoImage(key, name, None if other is None else str(other), Boxes.of(boxes, size))


def _box(entry: Mapping[str, Any], classes: Mapping[int, str], path: Path, where: str) -> Box:
    category = _whole(entry, "category_id", path, where)
    if category not in classes:
        raise SampleError(
            f"{path}: {where} has category_id {category}, and there is no such category"
        )
    box = entry.get("bbox")
    plain = isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))
    if not plain:
        raise SampleError(f"{path}: {where} has the bbox {box!r}, where four numbers were expected")
    assert isinstance(box, list)
    x, y, width, height = (float(value) for value in box)
    if width < 0 or height < 0:
        raise SampleError(f"{path}: {where} has a width of {width:g} and a height of {height:g}")
    ignore = bool(entry.get("iscrowd", 0)) or bool(entry.get("ignore", 0))
    occlusion = entry.get("occlusion", 0)
    hidden = int(occlusion) if _is_number(occlusion) else 0
    return Box(classes[category], (x, y, x + width, y + height), ignore, hidden)


def _entries(path: Path, content: Any, key: str) -> list[dict[str, Any]]:
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise SampleError(f"{path}: it has no list `{key}`, which a COCO file of boxes has")
    return found


def _is_number(value: Any) -> bool:
    finite = isinstance(value, int | float) and not isinstance(value, bool)
    return finite and abs(value) < 1e9  # NaN compares false


def _whole(entry: Mapping[str, Any], key: str, path: Path, where: str) -> int:
    value = entry.get(key)
    if value is None:
        raise SampleError(f"{path}: {where} has no {key}")
    if not _is_number(value) or value != int(value):
        raise SampleError(f"{path}: {where} has the {key} {value!r}, where a number was expected")
    return int(value)


def _text(entry: Mapping[str, Any], key: str, path: Path, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise SampleError(f"{path}: {where} has no {key}")
    return value
