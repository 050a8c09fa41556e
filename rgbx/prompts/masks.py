"""Masks as prompts are drawn from them, and the coarse mask prompt."""

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rgbx.errors import DataError

__all__ = ["Mask", "MaskScale", "as_share", "coarse_mask", "foreground", "object_pixels"]

Mask = NDArray[np.generic] | Tensor
MaskScale = Literal["hq", "logits"]
_SCALES: dict[MaskScale, tuple[float, float]] = {"hq": (0.0, 255.0), "logits": (-10.0, 10.0)}
_SHRINK = 8
_RESIDUE = 0.01


def as_share(mask: Mask) -> NDArray[np.float32]:
    """The share of foreground in each pixel.

    The type decides the scale: uint8 is divided by 255, booleans and other integers (class ids)
    are 0 or 1, floats are taken as they are.

    Args:
        mask: (H, W) array or tensor.

    Returns:
        (H, W) float32 in [0, 1].
    """
    array = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(255)
    if array.dtype.kind in "biu":
        return (array.astype(np.int64) > 0).astype(np.float32)
    return np.asarray(array, dtype=np.float32)


def foreground(mask: Mask) -> NDArray[np.bool_]:
    """The pixels of the object: more than 128 of 255 (HQ-SAM's rule).

    Args:
        mask: (H, W), scaled as in `as_share`.

    Returns:
        (H, W) bool.
    """
    return as_share(mask) > np.float32(128 / 255)


def object_pixels(mask: Mask, name: str = "The mask") -> NDArray[np.int64]:
    """Positions of the object's pixels.

    Args:
        mask: (H, W), scaled as in `as_share`.
        name: what it is called in the error.

    Returns:
        (n, 2) x and y, row by row; n is at least 1.

    Raises:
        DataError: the mask is empty, so that there is nothing to prompt for.
    """
    inside = foreground(mask)
    places = np.flatnonzero(inside)
    if not places.size:
        height, width = inside.shape
        raise DataError(
            f"{name} ({height} x {width}) is empty: no pixel exceeds 128 of 255, so no prompt can "
            "be drawn from it; leave the sample out"
        )
    y, x = np.divmod(places, inside.shape[1])
    return np.stack([x, y], axis=1).astype(np.int64)


def coarse_mask(
    mask: Mask,
    rng: np.random.Generator,
    size: tuple[int, int] | None = None,
    scale: MaskScale = "hq",
) -> Tensor:
    """Spoil a mask at its border, as HQ-SAM does.

    The mask is resized to `size`; pixels that a detour through an eighth of that size (bilinear,
    down and up) changes by 0.01 or more count as border; there, normal noise of std 1 is
    added before the mask is cut at 0.5.

    Args:
        mask: (H, W), scaled as in `as_share`.
        rng: source of the noise.
        size: (h, w) of the prompt; a quarter of the mask's by default, which is what SAM expects
            of a mask at the network's size.
        scale: values of background and object: "hq" gives 0 and 255 as HQ-SAM, "logits" -10 and
            10, which is nearer to what SAM was trained with.

    Returns:
        (1, h, w) float32.
    """
    share = torch.from_numpy(np.ascontiguousarray(as_share(mask)))[None, None]
    height, width = size or (max(1, share.shape[-2] // 4), max(1, share.shape[-1] // 4))
    small = _bilinear(share, (height, width))
    detour = _bilinear(small, (max(1, height // _SHRINK), max(1, width // _SHRINK)))
    border = (_bilinear(detour, (height, width)) - small).abs() >= _RESIDUE
    noise = torch.from_numpy(rng.standard_normal((height, width), dtype=np.float32))
    low, high = _SCALES[scale]
    return torch.where(small[0] + noise * border[0] > 0.5, high, low)


def _bilinear(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(image, size, mode="bilinear", align_corners=False)
