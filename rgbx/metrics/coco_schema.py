"""The structure and the types of a COCO annotation file, checked whole before anything is drawn."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from rgbx.errors import DataError

__all__ = ["read_annotations"]

_LONGEST = 2**15  # pixels of a side; a run-length code of more would not be an image's
_FAR = 10  # sides of the image by which a corner may lie outside of it
_LARGEST_AREA = 1e10  # pixels; that of COCO's evaluation
_LARGEST_NUMBER = 32  # bits of a run in a compressed code


def read_annotations(path: Path) -> dict[str, Any]:
    """The images, categories and annotations of a file, ready for pycocotools.

    pycocotools takes an annotation id of 0 for "no match", keeps one of two annotations of the same
    id, and reads junk without end. Annotations are therefore numbered from 1 on, in the order of
    the file, their own id under ``"own_id"``; polygons of fewer than three corners, which have no
    area, are left out; everything else that it could not take is refused.

    Args:
        path: The JSON file.

    Returns:
        ``images``, ``categories``, ``annotations``: lists of dictionaries. Every annotation has
        ``iscrowd`` and a segmentation that can be drawn (a run-length code without a pixel if
        nothing is left).

    Raises:
        DataError: The file is missing or no JSON, a list or a value is missing or of another type,
            an id of an image or a category is there twice, an annotation names an unknown one, or
            nothing but crowds is annotated. Names the file and the first entry.
    """
    content = _load(path)
    lists = {key: _entries(path, content, key) for key in ("images", "categories", "annotations")}
    images = _by_id(path, lists["images"], "image")
    categories = _by_id(path, lists["categories"], "category")
    for image in lists["images"]:
        _check_image(path, image)
    found = [
        _annotation(f"{path}: annotation {entry.get('id')!r}", number, entry, images, categories)
        for number, entry in enumerate(lists["annotations"], 1)
    ]
    if all(annotation["iscrowd"] for annotation in found):
        what = "nothing but crowds" if found else "no annotation"
        raise DataError(f"{path} has {what}, so there is nothing to ask for; give another file")
    return {**lists, "annotations": found}


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"The annotations {path} are no regular file")
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise DataError(f"Cannot read the annotations {path}: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path} is no readable JSON ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is no COCO annotation file: it holds a {_type(content)}")
    return content


def _entries(path: Path, content: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    value = content.get(key)
    if not isinstance(value, list):
        state = f"{key!r} is {_type(value)}" if key in content else f"it has no list {key!r}"
        raise DataError(f"{path} is no COCO annotation file: {state}")
    for place, entry in enumerate(value):
        if not isinstance(entry, dict):
            raise DataError(f"{path}: entry {place} of {key!r} is {_type(entry)}, no object")
    return value


def _by_id(path: Path, entries: Iterable[dict[str, Any]], what: str) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for place, entry in enumerate(entries):
        key = entry.get("id")
        if not _is_whole(key):
            raise DataError(f"{path}: the id of {what} number {place} is {key!r}, no whole number")
        if key in found:
            raise DataError(f"{path}: two entries share the {what} id {key}; give each its own")
        found[key] = entry
    return found


def _check_image(path: Path, image: Mapping[str, Any]) -> None:
    for key in ("height", "width"):
        side = image.get(key)
        if not _is_whole(side) or not 1 <= side <= _LONGEST:
            raise DataError(
                f"{path}: the {key} of image {image['id']} is {side!r}; give its pixels, a whole "
                f"number from 1 to {_LONGEST}"
            )
    if not isinstance(image.get("file_name"), str) or not image["file_name"]:
        raise DataError(f"{path}: image {image['id']} has no file_name")


def _annotation(
    where: str,
    number: int,
    entry: dict[str, Any],
    images: Mapping[int, dict[str, Any]],
    categories: Mapping[int, dict[str, Any]],
) -> dict[str, Any]:
    """A checked copy of one annotation, with a number of its own."""
    for key, known in (("id", None), ("image_id", images), ("category_id", categories)):
        value = entry.get(key)
        if not _is_whole(value):
            raise DataError(f"{where}: its {key} is {value!r}, no whole number")
        if known is not None and value not in known:
            raise DataError(f"{where}: its {key} is {value}, which the file does not list")
    crowd = entry.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise DataError(f"{where}: its iscrowd is {crowd!r}; it is 0 or 1")
    box = entry.get("bbox")
    if box is not None and not (_are_numbers(box) and len(box) == 4):
        raise DataError(f"{where}: its bbox is {_short(box)}; it is four numbers x, y, w, h")
    area = entry.get("area")
    if area is not None and not _are_numbers([area]):
        raise DataError(f"{where}: its area is {_short(area)}, no number")
    image = images[entry["image_id"]]
    code = _segmentation(where, entry.get("segmentation"), image["height"], image["width"])
    # outside of the range in which COCO counts, an object is passed over as a crowd is: shoelace
    # formulas give negative areas of polygons that go round the other way
    known_area = area is not None and 0 <= area <= _LARGEST_AREA
    kept = {key: value for key, value in entry.items() if key != "area" or known_area}
    return {**kept, "id": number, "own_id": entry["id"], "iscrowd": int(crowd)} | {
        "segmentation": code
    }


def _segmentation(where: str, given: Any, height: int, width: int) -> Any:
    """Polygons with an area, or a run-length code of the whole image."""
    size = [height, width]
    if isinstance(given, dict):
        counts = given.get("counts")
        runs = _runs(counts) if isinstance(counts, str) else counts
        whole = isinstance(runs, list) and all(_is_whole(run) and run >= 0 for run in runs)
        if whole and given.get("size") == size and sum(runs or ()) == height * width:
            return {"counts": counts, "size": size}
    elif isinstance(given, list) and given and all(_is_polygon(one, size) for one in given):
        kept = [[float(value) for value in corners] for corners in given if len(corners) >= 6]
        return kept or {"counts": [height * width], "size": size}
    raise DataError(
        f"{where}: its segmentation is neither polygons [[x, y, x, y, ...], ...] in or near the "
        f"image nor a run-length code of {height} x {width} pixels; correct it or leave it out"
    )


def _is_polygon(corners: Any, size: list[int]) -> bool:
    limit = (_FAR + 1) * max(size)  # beyond it pycocotools takes for ever, and all memory
    return (
        _are_numbers(corners)
        and len(corners) >= 2
        and len(corners) % 2 == 0
        and all(-limit <= value <= limit for value in corners)
    )


def _runs(text: str) -> list[int] | None:
    """The runs of COCO's compressed code; None if it is none.

    Six bits a character from "0" on: five of the number, lowest first, and whether more follow; a
    number from the third on is the difference to the one two before it. pycocotools' own decoder
    reads behind the end of junk.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - ord("0")
        if not 0 <= bits < 64 or shift > _LARGEST_NUMBER:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return None if shift else runs


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        for value in values
    )


def _type(value: Any) -> str:
    return "null" if value is None else type(value).__name__


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
