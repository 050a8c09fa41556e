"""One function per kind of file: what the pictures and masks of every data set mean.

Public RGB-X sets mix 1-bit, palette, grey, RGB, RGBA, 16-bit and float files. They are opened by
`rgbx.data.decode`, whose names can be imported from here too.
"""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgbx.data.decode import (
    IMAGE_SUFFIXES,
    Header,
    Kind,
    SampleError,
    probe,
    read_pixels,
    read_raw,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "Header",
    "Kind",
    "SampleError",
    "probe",
    "read_binary",
    "read_grey",
    "read_ids",
    "read_pixels",
    "read_raw",
    "read_rgb",
    "read_soft",
    "to_unit",
    "warn_if_constant",
]


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read a visible picture; grey is repeated, alpha is dropped (never blended).

    Returns:
        (H, W, 3) uint8, 0 to 255.

    Raises:
        SampleError: the file is missing, truncated or no image.
    """
    array = read_pixels(path)
    if array.dtype == np.uint16:
        array = (array.astype(np.uint32) * 255 + 32767) // 65535
    elif array.dtype != np.uint8:
        array = np.rint(to_unit(array) * 255)
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    elif array.shape[2] < 3:
        array = np.repeat(array[..., :1], 3, axis=2)
    return np.ascontiguousarray(array[..., :3].astype(np.uint8))


def read_grey(path: Path, value_range: tuple[float, float] | None = None) -> NDArray[np.float32]:
    """Read the second modality (thermal, depth) as one channel.

    Three equal channels become one; three different ones (pseudo-colour) are averaged with a
    warning. Values are scaled as in `to_unit`.

    Returns:
        (H, W) float32 in [0, 1].

    Raises:
        SampleError: the file is missing, truncated or no image.
    """
    array = read_pixels(path)
    if array.ndim == 3:
        colour = array[..., :3] if array.shape[2] >= 3 else array[..., :1]
        if (colour == colour[..., :1]).all():
            array = colour[..., 0]
        else:
            # The text names the folder, not the file, so that Python prints it once per folder.
            warnings.warn(
                f"{path.parent}: X images have three different channels; their mean is used "
                "(x_channels: 3 reads them as colours)",
                stacklevel=2,
            )
            return np.mean([to_unit(c, value_range) for c in np.moveaxis(colour, 2, 0)], axis=0)
    scaled = to_unit(array, value_range)
    warn_if_constant(path, scaled)
    return scaled


def warn_if_constant(path: Path, scaled: NDArray[np.float32]) -> None:
    """Warn once per folder of pictures in which all values are the same."""
    if scaled.min() == scaled.max():
        warnings.warn(
            f"{path.parent}: some X images are constant or hold no finite value, and say nothing; "
            "`rgbx check-data` lists them",
            stacklevel=3,
        )


def to_unit(
    array: NDArray[np.generic], value_range: tuple[float, float] | None = None
) -> NDArray[np.float32]:
    """Scale stored values to [0, 1].

    With `value_range` (low, high) it is ``clip((v - low) / (high - low))`` for every type.
    Without it, uint8 is divided by 255 and booleans stay; floats that already lie in [0, 1] stay;
    all other types (uint16 radiometry, depth in millimetres) are stretched from the smallest to
    the largest finite value **of this image**. NaN and infinities become 0, constant images too.

    Args:
        array: any shape and numeric type.
        value_range: the values that become 0 and 1.

    Returns:
        float32 of the same shape.
    """
    if value_range is None and array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(255)
    values = array.astype(np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros_like(values)
    low, high = value_range or (float(values[finite].min()), float(values[finite].max()))
    if value_range is None and array.dtype.kind in "fb" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    if high <= low:
        return np.zeros_like(values)
    scaled = np.clip((values - low) / (high - low), 0, 1)
    return np.where(finite, scaled, np.float32(0)).astype(np.float32)


def read_ids(path: Path) -> NDArray[np.int64]:
    """Read a class-id map; ids are never scaled, a palette gives its indices.

    Returns:
        (H, W) int64, the ids as stored.

    Raises:
        SampleError: the file cannot be read, holds no integers, or has channels that differ (a
            coloured picture of the labels instead of their ids).
    """
    array = read_raw(path)
    if array.ndim == 3:
        colour = array[..., : 3 if array.shape[2] >= 3 else 1]
        if not (colour == colour[..., :1]).all():
            text = "the mask is a colour picture, not a map of class ids; give the folder of ids"
            raise SampleError(f"{path}: {text}", "channels")
        array = colour[..., 0]
    if array.dtype.kind == "f" and not (array == np.rint(array)).all():
        raise SampleError(f"{path}: the mask holds fractions, not class ids", "channels")
    return array.astype(np.int64)


def read_binary(path: Path) -> NDArray[np.int64]:
    """Read a two-class mask: foreground is bright in the first channel.

    The threshold follows the type: booleans as they are, ``> 0`` if nothing exceeds 1, else above
    half of the type's range (``> 127`` for 8 bits, so that JPEG ringing around the object stays
    background and anti-aliased borders are cut in the middle).

    Returns:
        (H, W) int64, 0 or 1.

    Raises:
        SampleError: the file is missing, truncated or no image.
    """
    array = np.asarray(read_raw(path))
    if array.ndim == 3:
        array = array[..., 0]
    if array.dtype.kind == "f":
        return (to_unit(array) > 0.5).astype(np.int64)
    middle = 32767 if array.dtype == np.uint16 else 127
    threshold = middle if (array.astype(np.int64) > 1).any() else 0
    return (array.astype(np.int64) > threshold).astype(np.int64)


def read_soft(path: Path) -> NDArray[np.float32]:
    """Read a two-class mask with its grey borders: the share of foreground in each pixel.

    Values are divided by the full scale of their type (255, or 65535 for 16 bits); masks in which
    nothing exceeds 1 are taken as they are. Only the first channel counts.

    Returns:
        (H, W) float32 in [0, 1].

    Raises:
        SampleError: the file is missing, truncated or no image.
    """
    array = np.asarray(read_raw(path))
    if array.ndim == 3:
        array = array[..., 0]
    if array.dtype.kind == "f":
        return to_unit(array)
    values = array.astype(np.float32)
    if (values > 1).any():
        values /= np.float32(65535 if array.dtype.itemsize > 1 else 255)
    return np.clip(values, 0, 1)
