"""From an image's file to an array, losing nothing: the one place where image files are opened.

Opening a file with a reader for another kind loses data without an error: a palette's brightness
instead of its ids, a 16-bit image cut to 8, a thermal channel dropped as alpha. So nothing else
opens them; `rgbx.data.decoding.files` and `rgbx.data.decoding.mask_files` say what the arrays mean.

All readers give the pixels as viewers show them: turned by the file's EXIF orientation (JPEG, PNG,
WebP, TIFF). Of a file with several images (TIFF pages, animations) the first is read. Colour
profiles and gamma entries are not applied.
"""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from rgbx.data.decoding.orientation import orientation_of, turned
from rgbx.errors import DataError

__all__ = [
    "BITS_PER_SAMPLE",
    "IMAGE_SUFFIXES",
    "Kind",
    "SampleError",
    "is_deep_png",
    "is_deep_tiff",
    "open_image",
    "orientation_of_page",
    "page_pixels",
    "read_colours",
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
    "values",
    "size",
    "swapped",
    "ids",
    "empty",
    "constant",
    "nan",
    "black",
    "white",
    "dark",
    "turned",
    "several",
    "inverted",
    "jpeg",
    "leak",
    "outside",
    "over",
    "hollow",
    "tiny",
    "double",
    "unboxed",
]
T = TypeVar("T")

# numbers of TIFF tags
BITS_PER_SAMPLE = 258
_ORIENTATION = 274
_SAMPLE_FORMAT = 339

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


def _unreadable(path: Path, error: Exception | str) -> SampleError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    advice = "replace or remove the file"
    if isinstance(error, OSError) and error.errno is not None:  # the content is not at fault
        return SampleError(f"{path}: the image cannot be read ({error.strerror})")
    if isinstance(error, Image.UnidentifiedImageError):
        reason = "it is no image of a known kind"
        if _first_bytes(path, 23) == b"version https://git-lfs":
            reason, advice = "it is a pointer of Git LFS", "fetch the file itself with git lfs pull"
    elif isinstance(error, Image.DecompressionBombError):
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        reason, advice = f"it has more than {limit} pixels", "make it smaller"
    elif "imagecodecs" in reason:
        advice = "install the package imagecodecs, or store the file without compression"
    return SampleError(f"{path}: the image cannot be read ({reason}); {advice}")


def _first_bytes(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def is_deep_png(path: Path) -> bool:
    """True for PNGs of 16 bits per channel with 2 to 4 channels, which PIL cuts to 8 bits."""
    head = _first_bytes(path, 26)
    deep = (b"\x10\x02", b"\x10\x04", b"\x10\x06")
    return head[:8] == b"\x89PNG\r\n\x1a\n" and head[24:26] in deep


def is_deep_tiff(image: Image.Image) -> bool:
    """True for TIFFs of 16 bits per channel with several channels, which PIL cuts to 8 bits too."""
    if not isinstance(image, TiffImageFile) or image.mode in {"I", "F"}:
        return False
    bits = image.tag_v2.get(BITS_PER_SAMPLE, (8,))
    return len(bits) > 1 and max(bits) > 8


def open_image(
    path: Path, use: Callable[[Image.Image], T | None], otherwise: Callable[[tifffile.TiffPage], T]
) -> T:
    """Use a file as PIL opens it, or as tifffile does where PIL cannot or `use` gives None.

    PIL gets an open file, not a path: of a path it maps raw TIFFs into memory, and mixes up their
    rows if their orientation exchanges height and width (Pillow 13).

    Raises:
        SampleError: the file is missing, truncated or no image.
    """
    try:
        with path.open("rb") as file, Image.open(file) as image:
            found = use(image)
        if found is not None:
            return found
    except _DECODE_ERRORS as error:
        if path.suffix.lower() not in {".tif", ".tiff"} or not path.is_file():
            raise _unreadable(path, error) from error
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            assert isinstance(page, tifffile.TiffPage), "the first page is never abridged"
            return otherwise(page)
    except _DECODE_ERRORS as error:
        raise _unreadable(path, error) from error


def orientation_of_page(page: tifffile.TiffPage) -> int:
    """As `rgbx.data.decoding.orientation.orientation_of`, of a file that tifffile opened."""
    found = page.tags.valueof(_ORIENTATION, 1)
    return int(found) if found in range(1, 9) else 1


def page_pixels(path: Path, page: tifffile.TiffPage) -> NDArray[np.generic]:
    """Decode what tifffile opened: (H, W) or (H, W, C), upright."""
    array = np.asarray(page.asarray())
    if array.ndim not in (2, 3):
        raise _unreadable(path, f"it has {array.ndim} dimensions, not 2 or 3")
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and array.ndim == 3:
        array = np.moveaxis(array, 0, 2)  # one plane after the other
    return turned(array, orientation_of_page(page))


def _decode(
    path: Path, convert: Callable[[Image.Image], Image.Image] = lambda image: image
) -> NDArray[np.generic]:
    """The upright pixels in the machine's byte order; `convert` may change what PIL opened."""

    def use(image: Image.Image) -> NDArray[np.generic] | None:
        if is_deep_tiff(image):
            return None
        if isinstance(image, TiffImageFile):  # PIL turns it
            is_unsigned = _is_unsigned(image)
            array = np.asarray(convert(image))
            return array.view(np.uint32) if is_unsigned else array
        array = np.asarray(convert(image))  # for deep PNGs it only tells whether the file is whole
        if image.format == "PPM" and image.mode == "I":  # has 16 bits at most
            array = array.astype(np.uint16)
        return turned(_deep_png(path) if is_deep_png(path) else array, orientation_of(image, path))

    array = open_image(path, use, lambda page: page_pixels(path, page))
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _is_unsigned(image: TiffImageFile) -> bool:
    """True for unsigned integers of 32 bits, which PIL takes for signed ones."""
    bits, kind = image.tag_v2.get(BITS_PER_SAMPLE), image.tag_v2.get(_SAMPLE_FORMAT, (1,))
    return bool(image.mode == "I" and bits == (32,) and kind == (1,))


def _deep_png(path: Path) -> NDArray[np.generic]:
    array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise OSError("damaged 16-bit PNG")
    return np.asarray(array[..., [2, 1, 0, *range(3, array.shape[2])]])


def read_raw(path: Path) -> NDArray[np.generic]:
    """Decode a file's values as they are stored.

    Palette files give their indices, 1-bit files booleans, 16-bit files uint16.

    Returns:
        (H, W) or (H, W, C), in the file's own type.

    Raises:
        SampleError: the file is missing, truncated or no image.
    """
    return _decode(path)


def read_pixels(path: Path) -> NDArray[np.generic]:
    """Decode an image; palette and printing colours become RGB, the rest is as in `read_raw`.

    Returns:
        (H, W) or (H, W, C), in the file's own type.

    Raises:
        SampleError: the file is missing, truncated or no image.
    """
    modes = {"P", "PA", "CMYK", "YCbCr", "LAB", "HSV"}
    return _decode(path, lambda image: image.convert("RGB") if image.mode in modes else image)


def read_colours(path: Path) -> NDArray[np.generic]:
    """Decode an image as `read_pixels`; a palette's transparency becomes a fourth channel.

    Returns:
        (H, W) or (H, W, C), in the file's own type.

    Raises:
        SampleError: the file is missing, truncated or no image.
    """

    def convert(image: Image.Image) -> Image.Image:
        if image.mode in {"CMYK", "YCbCr", "LAB", "HSV"}:
            return image.convert("RGB")
        if image.mode not in {"P", "PA"}:
            return image
        return image.convert("RGBA" if image.has_transparency_data else "RGB")

    return _decode(path, convert)
