"""What is annotated in one image."""

import gzip
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from rgbx.data.decoding.files import SampleError
from rgbx.errors import DataError
from rgbx.text import read_bounded, read_utf8

__all__ = ["Box", "Boxes", "number", "ordered", "read_text"]


class Box(NamedTuple):
    """One annotated object.

    Attributes:
        name: its class, as the file calls it.
        corners: x1, y1, x2, y2 in pixels of the image; a box over the columns 0 to 9 has x1 0 and
            x2 10.
        ignore: a region that is neither object nor background.
        occlusion: 0 for none (or unknown), 1 partly, 2 heavily hidden.
    """

    name: str
    corners: tuple[float, float, float, float]
    ignore: bool = False
    occlusion: int = 0


@dataclass(frozen=True)
class Boxes:
    """The objects of one image, as they are annotated: not clipped, no class left out.

    Attributes:
        corners: (n,4) float32 x1, y1, x2, y2 in pixels, see `Box`.
        names: n class names.
        ignore: (n,) bool.
        occlusion: (n,) int64.
        size: (h,w) of the image as the file states it; None if it does not.
    """

    corners: NDArray[np.float32]
    names: tuple[str, ...]
    ignore: NDArray[np.bool_]
    occlusion: NDArray[np.int64]
    size: tuple[int, int] | None = None

    @classmethod
    def of(cls, boxes: Iterable[Box], size: tuple[int, int] | None = None) -> Self:
        """From single boxes; none of them is an image without objects."""
        rows = list(boxes)
        return cls(
            np.array([box.corners for box in rows], np.float32).reshape(-1, 4),
            tuple(box.name for box in rows),
            np.array([box.ignore for box in rows], np.bool_),
            np.array([box.occlusion for box in rows], np.int64),
            size,
        )

    def __len__(self) -> int:
        return len(self.names)


def read_text(path: Path) -> str:
    """The text of an annotation file, UTF-8 with or without a byte-order mark; ``.gz`` too.

    Raises:
        SampleError: it cannot be read, or is no text.
    """
    what = "the box annotations"
    try:
        if path.suffix == ".gz":
            return gzip.decompress(read_bounded(path, what)).decode("utf-8-sig")
        return read_utf8(path, what)
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise SampleError(f"{path}: {what} cannot be read ({error})") from error
    except DataError as error:
        raise SampleError(str(error)) from error


def number(value: Any, path: Path, where: str) -> float:
    """A finite number of an annotation.

    Args:
        value: what the file holds; text is taken for a number where the file is one of text.
        path: of the file.
        where: which entry this is, for the message.

    Raises:
        SampleError: it is none.
    """
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise SampleError(f"{path}: {where} is {value!r}, where a finite number was expected")
    return found


def ordered(corners: Sequence[float], path: Path, where: str) -> tuple[float, float, float, float]:
    """Corners x1, y1, x2, y2 whose second is not before the first.

    Raises:
        SampleError: they are inverted.
    """
    x1, y1, x2, y2 = corners
    if x2 < x1 or y2 < y1:
        raise SampleError(
            f"{path}: {where} is inverted: its corners are ({x1:g}, {y1:g}) and ({x2:g}, {y2:g}), "
            "but the second must lie to the right of and below the first"
        )
    return x1, y1, x2, y2
