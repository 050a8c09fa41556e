"""Which values of a data module's options cannot work."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast, get_args

import numpy as np

from rgbx.data.transforms.normalise import Triple
from rgbx.data.transforms.resizing import Resize

if TYPE_CHECKING:
    from rgbx.data.base import RGBXDataModule

__all__ = ["as_numbers", "as_triple", "bad_options"]


def as_numbers(value: float | Sequence[float]) -> float | Triple:
    """A mean or std as a plain number or tuple; how many numbers there are is not checked."""
    if np.ndim(value) == 0:
        return cast(float, value)
    return cast(Triple, tuple(float(v) for v in cast(Sequence[float], value)))


def as_triple(value: float | Sequence[float]) -> Triple:
    """The same, one number repeated for each channel."""
    numbers = as_numbers(value)
    return numbers if isinstance(numbers, tuple) else (numbers, numbers, numbers)


def bad_options(data: "RGBXDataModule") -> list[str]:
    """Name the options that have a value that cannot work, each with what to give instead."""
    wrong = {
        f"size {list(data.size)} (give height, width; above 0)": min(data.size) < 1,
        f"batch_size {data.batch_size} (give 1 or more)": data.batch_size < 1,
        f"eval_batch_size {data.eval_batch_size} (give 1 or more)": data.eval_batch_size < 1,
        f"num_workers {data.num_workers} (give 0 to {_most_workers()})": (
            not 0 <= data.num_workers <= _most_workers()
        ),
        f"size {list(data.size)} (one image of it needs {_needed(data.size) / 1e9:.0f} GB, this "
        f"machine has {_memory() / 1e9:.0f} GB)": _needed(data.size) > _memory(),
        f"seed {data.seed} (give 0 or more)": data.seed < 0,
        f"flip {data.flip} (a probability)": not 0 <= data.flip <= 1,
        f"scale {list(data.scale)} (give smallest, largest; above 0)": not (
            0 < data.scale[0] <= data.scale[1]
        ),
        f"jitter {data.jitter} (give 0 to 1)": not 0 <= data.jitter <= 1,
        f"val_share {data.val_share} (give 0 to below 1)": not 0 <= data.val_share < 1,
        f"x_channels {data.x_channels} (give 1 or 3)": data.x_channels not in (1, 3),
        f"blank {data.blank!r} with drop (a sample would lose both; leave one out)": bool(
            data.blank and (data.corruption.drop.rgb or data.corruption.drop.x)
        ),
        "blank 'x' with x_noise or x_shift (there is no x to disturb; leave them out)": bool(
            data.blank == "x" and (data.corruption.x_noise or data.corruption.x_shift)
        ),
        f"blank_with {data.blank_with!r} (give mean or noise)": (
            data.blank_with not in ("mean", "noise")
        ),
        f"resize {data.resize!r} (give opencv or pil)": data.resize not in get_args(Resize),
    }
    found = [text for text, is_wrong in wrong.items() if is_wrong]
    for name in ("rgb_mean", "rgb_std", "x_mean", "x_std"):
        found += _mistake(name, getattr(data, name))
    return found


def _most_workers() -> int:
    """A process for each core is usual; many more cannot be started, or wait for each other."""
    return max(64, 4 * (os.cpu_count() or 1))


def _needed(size: tuple[int, int]) -> int:
    """Bytes of rgb and x of one image at the network's size, float32."""
    return 2 * 3 * 4 * max(size[0], 0) * max(size[1], 0)


def _memory() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _mistake(name: str, value: float | Sequence[float]) -> list[str]:
    """What is wrong with a mean or std; they are for values in [0, 1]."""
    values = value if isinstance(value, Sequence) else (value,)
    shown = f"{name} {list(values) if isinstance(value, Sequence) else value}"
    if isinstance(value, Sequence) and len(value) != 3:
        return [f"{shown} (give one number or three)"]
    scale = "pixels count from 0 to 1; divide what is on the scale of 255"
    if name.endswith("_mean") and not all(0 <= v <= 1 for v in values):
        return [f"{shown} (give 0 to 1: {scale})"]
    if name.endswith("_std") and not all(0 < v <= 1 for v in values):
        return [f"{shown} (give more than 0, at most 1: {scale})"]
    return []
