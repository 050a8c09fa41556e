"""KAIST's own formats: a text file for each image, and the JSON of the test annotation."""

from pathlib import Path

from rgbx.data.annotations.boxes import Box, Boxes, number, read_text
from rgbx.data.annotations.coco import read_coco
from rgbx.data.decoding.files import SampleError

__all__ = ["PERSON", "read_kaist_json", "read_kaist_txt"]

PERSON = "person"
_OCCLUSION, _IGNORE = 5, 10  # columns of the toolbox's rows


def read_kaist_txt(path: Path) -> Boxes:
    """The objects of ``I00000.txt``: a header line, then rows ``class x y w h occlusion ...``.

    Persons count; ``people``, ``person?``, ``cyclist`` and rows with the toolbox's ignore flag are
    ignored regions. (Hwang et al., CVPR 2015; Piotr Dollar's ``bbGt version=3``.)

    Raises:
        SampleError: names the file, the line, and what is wrong.
    """
    boxes = []
    for line, text in enumerate(read_text(path).splitlines(), 1):
        words = text.split()
        if not words or words[0].startswith("%"):
            continue
        if len(words) < _OCCLUSION:
            raise SampleError(
                f"{path}: line {line} has {len(words)} words, where class, x, y, width and height "
                "were expected"
            )
        named = zip(words[1:], ("x", "y", "width", "height"), strict=False)
        x, y, width, height = (number(w, path, f"the {n} of line {line}") for w, n in named)
        if width < 0 or height < 0:
            raise SampleError(
                f"{path}: line {line} has a width of {width:g}, a height of {height:g}"
            )
        hidden = 0.0
        if len(words) > _OCCLUSION:
            hidden = number(words[_OCCLUSION], path, f"the occlusion of line {line}")
        flagged = len(words) > _IGNORE and words[_IGNORE] not in ("0", "0.0")
        ignore = words[0] != PERSON or flagged
        boxes.append(Box(words[0], (x, y, x + width, y + height), ignore, int(hidden)))
    return Boxes.of(boxes)


def read_kaist_json(path: Path) -> dict[str, Boxes]:
    """The test annotation: image name ``set06/V000/I00019`` -> its objects, in the file's order.

    Raises:
        SampleError: names the file, the entry, and what is wrong.
    """
    images = read_coco(path, name="im_name").images
    return {name: image.boxes for name, image in images.items()}
