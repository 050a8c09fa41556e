"""One function per kind of file: what the images and masks of every data set mean.

Public RGB-X sets mix 1-bit, palette, grey, RGB, RGBA, 16-bit and float files. They are opened by
`rgbx.data.decoding.decode`, two-class masks are understood by `rgbx.data.decoding.mask_files`; the
names of both can be imported from here too.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgbx.data.decoding.decode import IMAGE_SUFFIXES, Kind, SampleError, read_pixels, read_raw
from rgbx.data.decoding.headers import Header, Stored, look, probe
from rgbx.data.decoding.mask_files import read_binary, read_soft

__all__ = [
    "IMAGE_SUFFIXES",
    "Header",
    "Kind",
    "SampleError",
    "Stored",
    "look",
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
    """Read a visible image; grey is repeated, alpha is dropped (never blended).

    16 bits are divided by 257, whatever part of them is used. Floats are scaled as in `to_unit`.

    Returns:
        (H, W, 3) uint8, 0 to 255, upright.

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


def read_grey(
    path: Path,
    value_range: tuple[float, float] | None = None,
    invalid: Sequence[float] | None = None,
) -> NDArray[np.float32]:
    """Read the second modality (thermal, depth) as one channel.

    Three equal channels become one; three different ones (pseudo-colour) are averaged with a
    warning. Values are scaled as in `to_unit`.

    Returns:
        (H, W) float32 in [0, 1], upright.

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
            return to_unit(colour, value_range, invalid).mean(axis=2)
    scaled = to_unit(array, value_range, invalid)
    warn_if_constant(path, scaled)
    return scaled


def warn_if_constant(path: Path, scaled: NDArray[np.float32]) -> None:
    """Warn once per folder of images in which all values are the same."""
    if scaled.min() == scaled.max():
        warnings.warn(
            f"{path.parent}: some X images are constant or hold no finite value, and say nothing; "
            "`rgbx check-data` lists them",
            stacklevel=3,
        )


def to_unit(
    array: NDArray[np.generic],
    value_range: tuple[float, float] | None = None,
    invalid: Sequence[float] | None = None,
) -> NDArray[np.float32]:
    """Scale stored values to [0, 1].

    With `value_range` (low, high) it is ``clip((v - low) / (high - low))`` for every type.
    Without it, uint8 is divided by 255 and booleans stay; floats that already lie in [0, 1] stay;
    all other types (uint16 radiometry, depth in millimetres) are stretched from the smallest to
    the largest valid value **of this image**. Invalid values do not set the scale: NaN, infinities
    and those of `invalid` (unless nothing else differs). NaN and infinities become 0, the other
    invalid values what the scale makes of them: 0 below the smallest valid value, 1 above the
    largest. Constant images become 0.

    Args:
        array: any shape and numeric type.
        value_range: the values that become 0 and 1.
        invalid: stored values that mean "no measurement", in colours where all channels hold one.
            None stands for 0 and the largest value
            of the type (65535) of integers without negative values, the two ends of the type of
            integers with them, and no value of floats.

    Returns:
        float32 of the same shape.
    """
    if value_range is None and array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(255)
    is_wide = array.dtype.kind in "iu" and array.dtype.itemsize > 2  # float32 would round them
    values = array.astype(np.float64 if is_wide else np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.float32)
    low, high = value_range or _limits(array, values[finite & ~_is_invalid(array, invalid)])
    if not low < high and value_range is None:  # nothing but invalid values differs
        low, high = _limits(array, values[finite])
    if high <= low:
        return np.zeros(values.shape, np.float32)
    scaled = np.clip((values - low) / (high - low), 0, 1)
    return np.where(finite, scaled, np.float32(0)).astype(np.float32)


def _limits(array: NDArray[np.generic], valid: NDArray[np.floating]) -> tuple[float, float]:
    """The values that become 0 and 1; equal where there is nothing to scale."""
    low, high = (float(valid.min()), float(valid.max())) if valid.size else (0.0, 0.0)
    if array.dtype.kind in "fb" and low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high


def _is_invalid(array: NDArray[np.generic], invalid: Sequence[float] | None) -> NDArray[np.bool_]:
    """Where an image holds one of the values that mean "no measurement"."""
    if invalid is None:
        if array.dtype.kind not in "iu":
            return np.zeros(array.shape, np.bool_)
        ends = np.iinfo(array.dtype.name)
        invalid = (ends.min if array.min() < 0 else 0, ends.max)
    found = np.isin(array, np.asarray(invalid, dtype=np.float64))
    if array.ndim == 3:  # black and white are no measurement, but pure red is a colour
        found[:] = found.all(axis=2, keepdims=True)
    return found


def read_ids(path: Path) -> NDArray[np.int64]:
    """Read a class-id map; ids are never scaled, a palette gives its indices.

    Returns:
        (H, W) int64, the ids as stored.

    Raises:
        SampleError: the file cannot be read, holds no integers, or has channels that differ (a
            coloured image of the labels instead of their ids).
    """
    array = read_raw(path)
    if array.ndim == 3:
        colour = array[..., : 3 if array.shape[2] >= 3 else 1]
        if not (colour == colour[..., :1]).all():
            text = "the mask is a colour image, not a map of class ids; give the folder of ids"
            raise SampleError(f"{path}: {text}", "channels")
        array = colour[..., 0]
    if array.dtype.kind == "f" and not (array == np.rint(array)).all():
        raise SampleError(f"{path}: the mask holds fractions, not class ids", "channels")
    return array.astype(np.int64)
