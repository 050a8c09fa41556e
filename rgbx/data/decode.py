"""From a picture's file to an array, losing nothing: the one place where image files are opened.

Opening a file with a reader for another kind loses data without an error: a palette's brightness
instead of its ids, a 16-bit picture cut to 8, a thermal channel dropped as alpha. So nothing else
opens them; `rgbx.data.files` says what the arrays mean.
"""

import struct
import zlib
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from rgbx.errors import DataError

__all__ = [
    "IMAGE_SUFFIXES",
    "Header",
    "Kind",
    "SampleError",
    "probe",
    "read_pixels",
    "read_raw",
]

IMAGE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm", ".pnm")
)
Kind = Literal[
    "missing",
    "list",
    "unreadable",
    "channels",
    "size",
    "swapped",
    "ids",
    "empty",
    "constant",
    "nan",
    "black",
    "leak",
]

_BITS_PER_SAMPLE = 258  # number of the tag

# What PIL and tifffile raise on damaged files; anything else is a bug and keeps its traceback.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    tifffile.TiffFileError,
)


class SampleError(DataError):
    """One file that cannot be used; the text starts with its path.

    Args:
        text: ``<path>: <what is wrong>``.
        kind: the category under which ``rgbx check-data`` counts it.
    """

    def __init__(self, text: str, kind: Kind = "unreadable") -> None:
        # A loader's worker process hands an error over as one string with its traceback in front;
        # the person at the keyboard needs only the sentence at its end.
        super().__init__(text.rsplit(f"{type(self).__name__}: ", maxsplit=1)[-1].strip())
        self.kind = kind


class Header(NamedTuple):
    """What a file's first bytes tell: height and width in pixels, number of channels."""

    height: int
    width: int
    channels: int


def _unreadable(path: Path, error: Exception | str) -> SampleError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return SampleError(f"{path}: the image cannot be read ({reason}); replace or remove the file")


def _is_deep_colour_png(path: Path) -> bool:
    """True for PNGs of 16 bits per channel with 3 or 4 channels, which PIL cuts to 8 bits."""
    with path.open("rb") as file:
        head = file.read(26)
    return head[:8] == b"\x89PNG\r\n\x1a\n" and head[24:26] in (b"\x10\x02", b"\x10\x06")


def _is_deep_colour_tiff(image: Image.Image) -> bool:
    """True for TIFFs of 16 bits per channel with 3 or 4 channels, which PIL cuts to 8 bits too."""
    if not isinstance(image, TiffImageFile) or image.mode not in {"RGB", "RGBA", "RGBX"}:
        return False
    return max(image.tag_v2.get(_BITS_PER_SAMPLE, (8,))) > 8


def probe(path: Path) -> Header:
    """Read size and channel count without decoding the pixels.

    Raises:
        SampleError: the file is missing, empty or no image.
    """
    try:
        with Image.open(path) as image:
            return Header(image.height, image.width, len(image.getbands()))
    except _DECODE_ERRORS as error:
        if path.suffix.lower() not in {".tif", ".tiff"} or not path.is_file():
            raise _unreadable(path, error) from error
    array = _read_tiff(path)
    return Header(array.shape[0], array.shape[1], 1 if array.ndim == 2 else array.shape[2])


def _read_tiff(path: Path) -> NDArray[np.generic]:
    try:
        array = np.asarray(tifffile.imread(path))
    except _DECODE_ERRORS as error:
        raise _unreadable(path, error) from error
    if array.ndim not in (2, 3):
        raise _unreadable(path, f"it has {array.ndim} dimensions, not 2 or 3")
    if array.ndim == 3 and array.shape[0] in (3, 4) and array.shape[2] > 4:
        return np.moveaxis(array, 0, 2)  # one plane after the other
    return array


def read_raw(path: Path) -> NDArray[np.generic]:
    """Decode a file exactly as it is stored.

    Palette files give their indices, 1-bit files booleans, 16-bit files uint16.

    Returns:
        (H, W) or (H, W, C), in the file's own type.

    Raises:
        SampleError: the file is missing, truncated or no image.
    """
    try:
        if _is_deep_colour_png(path):
            array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            if array is None:
                raise _unreadable(path, "damaged 16-bit PNG")
            return np.asarray(array[..., [2, 1, 0, *range(3, array.shape[2])]])
        with Image.open(path) as image:
            if not _is_deep_colour_tiff(image):
                return np.asarray(image)
    except _DECODE_ERRORS as error:
        if path.suffix.lower() not in {".tif", ".tiff"} or not path.is_file():
            raise _unreadable(path, error) from error
    return _read_tiff(path)


def read_pixels(path: Path) -> NDArray[np.generic]:
    """Decode a picture; palette and printing colours become RGB, the rest is as in `read_raw`.

    Returns:
        (H, W) or (H, W, C), in the file's own type.

    Raises:
        SampleError: the file is missing, truncated or no image.
    """
    try:
        with Image.open(path) as image:
            if image.mode in {"P", "PA", "CMYK", "YCbCr", "LAB", "HSV"}:
                return np.asarray(image.convert("RGB"))
    except _DECODE_ERRORS as error:
        if path.suffix.lower() not in {".tif", ".tiff"} or not path.is_file():
            raise _unreadable(path, error) from error
    return read_raw(path)
