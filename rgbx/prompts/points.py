"""Clicks on an object."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rgbx.prompts.masks import Mask, object_pixels

__all__ = ["random_points"]


def random_points(mask: Mask, k: int, rng: np.random.Generator) -> Tensor:
    """Draw k different pixels of the object, uniformly.

    Args:
        mask: (H, W), scaled as in `rgbx.prompts.as_share`.
        k: number of points, 1 or more. If the object has fewer pixels, pixels repeat.
        rng: source of the draws.

    Returns:
        (k, 2) float32 x, y; all of them are positive clicks.

    Raises:
        DataError: the mask is empty.
    """
    return choose_points(object_pixels(mask), k, rng)


def choose_points(pixels: NDArray[np.int64], k: int, rng: np.random.Generator) -> Tensor:
    """As `random_points`, from positions (n, 2)."""
    chosen = rng.choice(len(pixels), size=k, replace=len(pixels) < k)
    return torch.from_numpy(pixels[chosen].astype(np.float32))
