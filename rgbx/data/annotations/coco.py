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
    except (ValueError, RecursionError) as error:  # ValueError: a number of thousands of digits
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
        if key in classes:
            raise SampleError(f"{path}: two categories have the id {key}; give each its own")
        classes[key] = _text(entry, "name", path, f"category {i}")
    images: dict[int, dict[str, Any]] = {}
    for i, entry in enumerate(entries["images"]):
        key = _whole(entry, "id", path, f"image {i}")
        if key in images:
            raise SampleError(f"{path}: two images have the id {key}")
        images[key] = entry
    rows: defaultdict[int, list[Box]] = defaultdict(list)
    for i, entry in enumerate(entries["annotations"]):
        where = f"annotation {_whole(entry, 'id', path, f'annotation number {i}')}"
        owner = _whole(entry, "image_id", path, where)
        if owner not in images:
            raise SampleError(f"{path}: {where} has image_id {owner}, and there is no such image")
        rows[owner].append(_box(entry, classes, path, where))
    found = {key: _image(key, entry, name, rows[key], path) for key, entry in images.items()}
    named = _by_name(path, list(found.values()), with_folders=name != "file_name")
    return CocoBoxes(tuple(classes.values()), tuple(classes), named)


def _by_name(path: Path, images: list[CocoImage], with_folders: bool) -> dict[str, CocoImage]:
    """Images by stem, or by path without suffix where asked for or where stems repeat."""
    stems = [PurePosixPath(image.file_name).stem for image in images]
    if with_folders or len(set(stems)) < len(stems):
        stems = [str(PurePosixPath(image.file_name).with_suffix("")) for image in images]
    named: dict[str, CocoImage] = {}
    for stem, image in zip(stems, images, strict=True):
        if stem in named:
            raise SampleError(
                f"{path}: the images {named[stem].id} and {image.id} are both called {stem!r} "
                "(without suffix); give each its own name"
            )
        named[stem] = image
    return named


def _image(
    key: int, entry: Mapping[str, Any], named: str, boxes: list[Box], path: Path
) -> CocoImage:
    where = f"image {key}"
    name = _text(entry, named, path, where)
    if not PurePosixPath(name).name:
        raise SampleError(f"{path}: {where} has the {named} {name!r}, which names no file")
    size = None
    if "height" in entry or "width" in entry:
        size = _whole(entry, "height", path, where), _whole(entry, "width", path, where)
        if min(size) < 1:
            raise SampleError(f"{path}: {where} is {size[0]} x {size[1]} pixels (height x width)")
    other = None
    if entry.get("file_name_lwir") is not None:
        other = _text(entry, "file_name_lwir", path, where)
    return CocoImage(key, name, other, Boxes.of(boxes, size))


def _box(entry: Mapping[str, Any], classes: Mapping[int, str], path: Path, where: str) -> Box:
    category = _whole(entry, "category_id", path, where)
    if category not in classes:
        raise SampleError(
            f"{path}: {where} has category_id {category}, and there is no such category"
        )
    if entry.get("bbox") is None:
        raise SampleError(f"{path}: {where} has no bbox")
    box = entry["bbox"]
    plain = isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))
    if not plain:
        raise SampleError(f"{path}: {where} has the bbox {box!r}, where four numbers were expected")
    assert isinstance(box, list)
    x, y, width, height = (float(value) for value in box)
    if width < 0 or height < 0:
        raise SampleError(f"{path}: {where} has a width of {width:g} and a height of {height:g}")
    crowd, ignored = (_flag(entry, key, path, where) for key in ("iscrowd", "ignore"))
    hidden = _whole(entry, "occlusion", path, where) if "occlusion" in entry else 0
    if hidden not in (0, 1, 2):
        raise SampleError(
            f"{path}: {where} has the occlusion {hidden}, where 0, 1 or 2 was expected"
        )
    return Box(classes[category], (x, y, x + width, y + height), crowd or ignored, hidden)


def _entries(path: Path, content: Any, key: str) -> list[dict[str, Any]]:
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise SampleError(f"{path}: it has no list `{key}`, which a COCO file of boxes has")
    return found


def _is_number(value: Any) -> bool:
    finite = isinstance(value, int | float) and not isinstance(value, bool)
    return finite and abs(value) < 1e9  # NaN compares false


def _flag(entry: Mapping[str, Any], key: str, path: Path, where: str) -> bool:
    value = entry.get(key)
    if value is None:
        return False
    if not isinstance(value, int | float) or value not in (0, 1):
        raise SampleError(f"{path}: {where} has the {key} {value!r}; it is 0 or 1")
    return bool(value)


def _whole(entry: Mapping[str, Any], key: str, path: Path, where: str) -> int:
    value = entry.get(key)
    if value is None:
        raise SampleError(f"{path}: {where} has no {key}")
    exact = isinstance(value, int) and not isinstance(value, bool)  # ids may be of many digits
    if not exact and (not _is_number(value) or value != int(value)):
        raise SampleError(
            f"{path}: {where} has the {key} {value!r}, where a whole number was expected"
        )
    return int(value)


def _text(entry: Mapping[str, Any], key: str, path: Path, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise SampleError(f"{path}: {where} has no {key}")
    return value
