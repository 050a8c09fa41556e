"""EXIF orientation: how an image must be turned to look as every viewer shows it."""

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

__all__ = ["orientation_of", "turned", "turns_sideways"]

# Where PNG files hold EXIF data, by the names that PIL gives to these places.
_PNG_PLACES = ("exif", "Raw profile type exif", "XML:com.adobe.xmp")


def orientation_of(image: Image.Image, path: Path) -> int:
    """The orientation that an opened file asks for; its pixels need not be decoded.

    Returns:
        1 (upright) to 8, as in the EXIF standard; 1 where the entry is absent or damaged.

    Raises:
        OSError: the pixels of a PNG stand before its orientation, and cannot be decoded.
    """
    if isinstance(image, TiffImageFile):
        found = image.tag_v2.get(ExifTags.Base.Orientation, 1)
        return found if found in range(1, 9) else 1
    if isinstance(image, PngImageFile) and not any(key in image.info for key in _PNG_PLACES):
        if not _has_late_exif(path):  # asking PIL would decode the pixels
            return 1
        image.load()
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (SyntaxError, ValueError, struct.error, OSError):  # viewers pass over damaged entries
        return 1
    return found if found in range(1, 9) else 1


def _has_late_exif(path: Path) -> bool:
    """Tell whether a PNG has an eXIf chunk, which may stand behind the pixels."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            if name == b"eXIf":
                return True
            file.seek(length + 4, 1)
    return False


def turns_sideways(orientation: int) -> bool:
    """Tell whether height and width change places."""
    return orientation >= 5


def turned(array: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Turn stored pixels (H, W) or (H, W, C) upright."""
    if orientation in (5, 7):  # mirrored at a diagonal
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7):
        array = array[::-1]
    if orientation in (6, 8):
        array = np.rot90(array, -1 if orientation == 6 else 1)
    return np.ascontiguousarray(array)
