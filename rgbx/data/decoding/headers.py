"""What an image's file tells before its pixels are decoded: size, type, orientation."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from rgbx.data.decoding.decode import (
    BITS_PER_SAMPLE,
    is_deep_png,
    is_deep_tiff,
    open_image,
    orientation_of_page,
    page_pixels,
)
from rgbx.data.decoding.orientation import orientation_of, turns_sideways

__all__ = ["Facts", "Header", "Stored", "look", "probe"]

Stored = Literal["1-bit", "8-bit", "16-bit", "32-bit", "float", "float in [0, 1]"]


class Header(NamedTuple):
    """What a file's first bytes tell: height and width in pixels (upright), number of channels."""

    height: int
    width: int
    channels: int


class Facts(NamedTuple):
    """What else a file tells before its pixels are decoded.

    Args:
        stored: type of the values; integers of more than 16 bits are "32-bit". Whether floats lie
            in [0, 1] is not told before they are decoded.
        orientation: 1 (as stored) to 8, of EXIF.
        images: how many images the file holds that a viewer would show.
    """

    stored: Stored
    orientation: int
    images: int


def probe(path: Path) -> Header:
    """Read size and channel count without decoding the pixels.

    Raises:
        SampleError: the file is missing, empty or no image.
    """

    def use(image: Image.Image) -> Header:
        size = (image.height, image.width)
        if not isinstance(image, TiffImageFile) and turns_sideways(orientation_of(image, path)):
            size = (image.width, image.height)  # of TIFFs, PIL gives the size upright
        return Header(*size, len(image.getbands()))

    def otherwise(page: tifffile.TiffPage) -> Header:
        array = page_pixels(path, page)
        return Header(array.shape[0], array.shape[1], 1 if array.ndim == 2 else array.shape[2])

    return open_image(path, use, otherwise)


def look(path: Path) -> Facts:
    """Read what a file tells of its values, orientation and further images, without decoding.

    Raises:
        SampleError: the file is missing, empty or no image.
    """

    def use(image: Image.Image) -> Facts:
        stored: Stored = "8-bit"
        if image.mode == "1":
            stored = "1-bit"
        elif image.mode.startswith("I;16") or is_deep_png(path) or is_deep_tiff(image):
            stored = "16-bit"
        elif image.mode == "I":
            bits = image.tag_v2[BITS_PER_SAMPLE] if isinstance(image, TiffImageFile) else (16,)
            stored = "16-bit" if max(bits) == 16 else "32-bit"
        elif image.mode == "F":
            stored = "float"
        # further images of an MPO are previews and depth maps of the camera; viewers hide them
        images = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        return Facts(stored, orientation_of(image, path), images)

    def otherwise(page: tifffile.TiffPage) -> Facts:
        dtype = np.dtype(page.dtype or np.uint8)
        bits: dict[int, Stored] = {1: "8-bit", 2: "16-bit"}
        stored = "float" if dtype.kind == "f" else bits.get(dtype.itemsize, "32-bit")
        return Facts(stored, orientation_of_page(page), len(page.parent.pages))

    return open_image(path, use, otherwise)
