"""Scribbles: masks in which most pixels carry no label.

Two codings are in use, and neither can be read as the other:

* two images: the strokes on objects (bright), and the pixels that carry any label (bright), as
  RGBT-S has them in its folders ``gt`` and ``mask``: a label is ``gt`` inside ``mask``;
* one image with 1 on objects, 2 on background and 0 elsewhere, which looks black in a viewer.

Inside rgbx both become 1, 0 and 255 (no label).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rgbx.data.decoding.files import SampleError, read_binary, read_ids
from rgbx.data.splits.records import find_folder, index_images
from rgbx.errors import DataError

__all__ = ["Coding", "find_scribbles", "read_scribble"]

Coding = Literal["strokes and labelled pixels", "one image of 0, 1, 2"]
_NO_LABEL = 255
_STROKES = ("gt", "fg", "foreground")
_LABELLED = ("mask", "masks", "labelled")
_ONE_IMAGE = ("scribble", "scribbles", "gt", "label", "labels")
_LOOKED_AT = 20


def read_scribble(mask: Path, labelled: Path) -> NDArray[np.uint8]:
    """Read the labels of one sample.

    Args:
        mask: strokes on objects, or the one image that tells both.
        labelled: pixels that carry any label; equal to `mask` for the one-image coding.

    Returns:
        (H, W) uint8: 1 object, 0 background, 255 no label.

    Raises:
        SampleError: a file cannot be read, the two differ in size, a value has no meaning in the
            coding, or no pixel carries a label.
    """
    if mask == labelled:
        labels = _read_one_image(mask)
    else:
        strokes, known = read_binary(mask), read_binary(labelled)
        if strokes.shape != known.shape:
            sizes = [" x ".join(map(str, part.shape)) for part in (known, strokes)]
            raise SampleError(
                f"{labelled}: it is {sizes[0]} (height x width), but {mask} is {sizes[1]}", "size"
            )
        labels = np.where(known == 1, strokes, _NO_LABEL).astype(np.uint8)
    if (labels == _NO_LABEL).all():
        raise SampleError(f"{labelled}: the scribble is empty: no pixel carries a label", "empty")
    return labels


def _read_one_image(path: Path) -> NDArray[np.uint8]:
    values = read_ids(path)
    foreign = np.setdiff1d(values, (0, 1, 2))
    if foreign.size:
        shown = ", ".join(str(v) for v in foreign[:8]) + (", ..." if foreign.size > 8 else "")
        raise SampleError(
            f"{path}: a scribble holds {shown}, but only 0 (no label), 1 (object) and 2 "
            "(background) have a meaning; it must not be rescaled or stored as JPEG",
            "ids",
        )
    return np.array([_NO_LABEL, 1, 0], dtype=np.uint8)[values]


def find_scribbles(folder: Path) -> tuple[Coding, dict[str, Path], dict[str, Path]]:
    """Find the scribbles of a folder and recognise their coding.

    ``gt`` next to ``mask`` is the two-image coding. Else images directly in the folder, or in
    one called scribble, gt or labels, must be of the one-image coding, and show it: no values
    but 0, 1 and 2, and some background (2) in the first twenty of them.

    Returns:
        The coding, the index of the masks and the index of the labelled pixels by stem (the same
        files for the one-image coding).

    Raises:
        DataError: there are none, or their coding cannot be told.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} does not exist; set data.scribbles to the folder of scribbles")
    strokes, labelled = find_folder(folder, _STROKES), find_folder(folder, _LABELLED)
    if strokes is not None and labelled is not None:
        return "strokes and labelled pixels", index_images(strokes), index_images(labelled)
    for place in (folder, find_folder(folder, _ONE_IMAGE)):
        index = index_images(place) if place is not None else {}
        if index:
            _require_one_image(index)
            return "one image of 0, 1, 2", index, index
    raise DataError(
        f"{folder} holds no scribbles: gt/ (strokes on objects) and mask/ (labelled pixels), or "
        "images with 1 on objects, 2 on background and 0 elsewhere"
    )


def _require_one_image(index: Mapping[str, Path]) -> None:
    """Refuse full masks and single strokes, which can look like scribbles of 0 and 1."""
    seen: set[int] = set()
    for path in sorted(index.values())[:_LOOKED_AT]:
        seen |= set(np.unique(read_ids(path)).tolist())
        if seen <= {0, 1, 2} and 2 in seen:
            return
    shown = ", ".join(map(str, sorted(seen)[:8])) + (", ..." if len(seen) > 8 else "")
    raise DataError(
        f"{next(iter(index.values())).parent}: the coding of these scribbles cannot be told: they "
        f"hold {shown}; either 1 (object), 2 (background) and 0 (no label) in one image, or "
        "strokes in gt/ next to labelled pixels in mask/ are understood"
    )
