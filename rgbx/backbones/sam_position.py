"""SAM's position encoding of places in an image, at any image size."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["encode_places", "grid_position"]


def encode_places(places: Tensor, matrix: Tensor) -> Tensor:
    """Sines and cosines of places (..., 2) in [0, 1], x first, as (..., C).

    Kept out of autocast: the sine of a coordinate rounded to 8 bits is noise.

    Args:
        places: (..., 2).
        matrix: (2, C/2), SAM's random frequencies.
    """
    with torch.autocast(matrix.device.type, enabled=False):
        angles = 2 * math.pi * ((2 * places - 1) @ matrix)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


def grid_position(matrix: Tensor, grid: Sequence[int]) -> Tensor:
    """Encoding (1,C,h,w) of the centres of a grid's h x w cells."""
    ys, xs = ((torch.arange(n, device=matrix.device, dtype=matrix.dtype) + 0.5) / n for n in grid)
    centres = torch.stack(torch.meshgrid(ys, xs, indexing="ij")[::-1], dim=-1)
    return encode_places(centres, matrix).permute(2, 0, 1)[None]
