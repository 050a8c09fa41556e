"""What to do about a file that cannot be used; a hint is tried on the data before it is given."""

import inspect
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgbx.data.decoding.decode import SampleError
from rgbx.data.decoding.headers import look
from rgbx.data.decoding.mask_files import read_binary
from rgbx.data.decoding.orientation import turns_sideways
from rgbx.data.splits.records import Record

__all__ = ["mask_hint", "size_error", "takes"]

_MANY = 64  # more values than a map of class ids is likely to have


def takes(data: object, option: str) -> bool:
    """Tell whether the class of a data module has an option of its own."""
    return option in inspect.signature(type(data)).parameters


def mask_hint(data: object, path: Path, ids: NDArray[np.int64] | None, num_classes: int) -> str:
    """How a mask could be read that is no map of ids from 0 to `num_classes` - 1.

    Args:
        data: the data module; only options that it has are named.
        path: of the mask.
        ids: its values; None where it holds no ids.
        num_classes: how many are named.

    Returns:
        Words to be put behind a sentence, beginning with a semicolon; empty if there is no advice.
    """
    if num_classes == 2 and takes(data, "binary") and _has_two_parts(path):
        return "; for black-and-white masks set binary: true"
    if ids is None or not takes(data, "class_names"):
        return ""
    values = np.unique(ids[ids != 255])
    if values[0] < 0 or values[-1] >= _MANY:
        return ""
    needed = f"; the ids 0 to {values[-1]} need {values[-1] + 1} class_names, that of id 0 first"
    if values[0] == 0 and takes(data, "ignore_ids"):
        needed += ", and ignore_ids: [0] leaves id 0 out where it means void"
    return needed


def _has_two_parts(path: Path) -> bool:
    """A mask is black and white, and shows an object and a background."""
    try:
        mask = read_binary(path)
    except SampleError:
        return False
    return bool(mask.any() and not mask.all())


def size_error(
    path: Path, size: tuple[int, ...], record: Record, rgb_size: tuple[int, ...], hint: str
) -> SampleError:
    """The error for a file whose size is not that of the visible image.

    Args:
        path: of the file.
        size: its height and width.
        record: its sample.
        rgb_size: height and width of the visible image.
        hint: what to do if the two are not just turned, after a semicolon.
    """
    (height, width), (rgb_height, rgb_width) = size, rgb_size
    shapes = f"{height} x {width} (height x width), but {record.rgb} is {rgb_height} x {rgb_width}"
    if (height, width) != (rgb_width, rgb_height):
        return SampleError(f"{path}: it is {shapes}{hint}", "size")
    text = f"{path}: height and width are swapped: it is {shapes}; "
    entries = {file: look(file).orientation for file in (path, record.rgb)}
    lying = [file for file, entry in entries.items() if turns_sideways(entry)]
    if len(lying) == 1:
        (other,) = entries.keys() - lying
        text += (
            f"{lying[0]} is turned by its EXIF orientation ({entries[lying[0]]}) as viewers show "
            f"it: turn {other} as well, or remove that entry if both fit as they are stored"
        )
    else:
        known = path.stem == "1913"
        text += "turn it"
        text += " (early copies of VT5000 have this fault in Test/GT/1913.png)" if known else ""
    return SampleError(text, "swapped")
