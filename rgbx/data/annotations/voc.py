"""Pascal VOC: one XML file for each image."""

from pathlib import Path
from xml.etree import ElementTree

from rgbx.data.annotations.boxes import Box, Boxes, number, ordered, read_text
from rgbx.data.decoding.files import SampleError

__all__ = ["read_voc"]

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(path: Path, one_based: bool = True) -> Boxes:
    """The objects of an annotation file; one without ``object`` is an image without boxes.

    Args:
        path: the file.
        one_based: pixels count from 1 and the last is part of the box, as in VOC itself: 1 is
            taken off xmin and ymin. (Everingham et al., IJCV 2010, development kit.)

    Raises:
        SampleError: names the file, the object, and what is wrong.
    """
    root = _parse(path)
    size = root.find("size")
    stated = None
    if size is not None:
        sides = [size.findtext(side) for side in ("height", "width")]
        if all(side is not None and side.strip() for side in sides):
            height, width = (
                round(number(side, path, f"the size's {name}"))
                for side, name in zip(sides, ("height", "width"), strict=True)
            )
            stated = (height, width) if height > 0 and width > 0 else None
    return Boxes.of(
        (_box(entry, path, i, one_based) for i, entry in enumerate(root.iter("object"), 1)), stated
    )


def _box(entry: ElementTree.Element, path: Path, index: int, one_based: bool) -> Box:
    name = (entry.findtext("name") or "").strip()
    if not name:
        raise SampleError(f"{path}: object {index} has no name")
    place = entry.find("bndbox")
    where = f"object {index} ({name})"
    if place is None:
        raise SampleError(f"{path}: {where} has no bndbox")
    values = []
    for corner in _CORNERS:
        text = place.findtext(corner)
        if text is None:
            raise SampleError(f"{path}: {where} has no {corner}")
        values.append(number(text, path, f"{corner} of {where}"))
    x1, y1, x2, y2 = ordered(values, path, where)
    shift = 1 if one_based else 0
    return Box(name, (x1 - shift, y1 - shift, x2, y2))


def _parse(path: Path) -> ElementTree.Element:
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise SampleError(f"{path}: it declares a document type, which no annotation needs")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise SampleError(f"{path}: it is no XML ({error})") from error
    if root.tag != "annotation":  # it would be taken for an image without objects
        raise SampleError(
            f"{path}: its root is <{root.tag}>, where <annotation> of Pascal VOC was expected"
        )
    return root
