"""The weighted F-measure: errors are blurred inside the object and cost less near it outside."""

import math

import cv2
import numpy as np
import torch
from torch import Tensor

__all__ = ["weighted_f"]

_RADIUS = 3
_SIGMA = 5.0
_EPS = 2.0**-52
# Pixels within the 7 x 7 window of an object pixel are at most 3 * sqrt(2) from the object; the
# next larger distance on the grid is sqrt(20).
_NEAR_SQUARED = 18
_REACH = 4


def weighted_f(value: Tensor, target: Tensor, beta2: float = 1.0) -> Tensor:
    r"""Weighted F-measure of one map, (1 + beta^2) R P / (R + beta^2 P).

    The error of an object pixel, 1 - value, is replaced by its 7 x 7 Gaussian mean (sigma 5, 0
    beyond the image) where that is smaller; a background pixel within the window counts with
    the error of its nearest object pixel. The error of a background pixel at distance d from the
    object is weighted by 2 - 0.5^(d/5).

    Of several nearest object pixels the one furthest left is taken, then the topmost: the order
    in which SciPy's Euclidean feature transform finds them.

    Source: Margolin, Zelnik-Manor, Tal, "How to Evaluate Foreground Maps?", CVPR 2014.

    Args:
        value: (H, W) float64 in [0, 1].
        target: (H, W) bool, the object, on the same device.
        beta2: beta^2, above 0. 1 in the COD and SOD literature, 0.3 in SAM-Adapter's code.

    Returns:
        Scalar of the type of ``value``, in [0, 1]; 0 where there is no object.
    """
    pixels = target.sum()
    if not bool(pixels):
        return value.new_zeros(())
    distance = _distances(target)
    blurred, box = _blurred_error(value, target, distance)
    inside = target[box]
    miss = (torch.minimum(blurred, 1 - value[box]) * inside).sum()
    # Of all pixels, then without the object's: their distance is 0, their weight 1.
    discount = torch.exp(distance * (math.log(0.5) / 5)).to(value.dtype)
    outside = 2 * value.sum() - torch.dot(value.flatten(), discount.flatten())
    outside = outside - (value[box] * inside).sum()
    recall = 1 - miss / pixels
    hit = pixels - miss
    precision = hit / (hit + outside + _EPS)
    return (1 + beta2) * recall * precision / (recall + beta2 * precision + _EPS)


def _distances(target: Tensor) -> Tensor:
    """Euclidean distance to the nearest object pixel, 0 inside: (H, W) float32."""
    background = np.logical_not(target.cpu().numpy()).view(np.uint8)
    distance = cv2.distanceTransform(background, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return torch.from_numpy(distance).to(target.device)


def _blurred_error(
    value: Tensor, target: Tensor, distance: Tensor
) -> tuple[Tensor, tuple[slice, slice]]:
    """Gaussian mean of the errors over the object's bounding box, and that box."""
    height, width = target.shape
    spans = []
    for axis in (1, 0):
        found = target.any(dim=axis).nonzero()
        spans.append((int(found[0]), int(found[-1]) + 1))
    (y0, y1), (x0, x1) = spans
    margin = _RADIUS + _REACH
    # A frame around the box so that neither window nor nearest pixel needs a border case.
    error = value.new_zeros(y1 - y0 + 2 * margin, x1 - x0 + 2 * margin)
    inner = (slice(margin, margin + y1 - y0), slice(margin, margin + x1 - x0))
    box = (slice(y0, y1), slice(x0, x1))
    error[inner] = (1 - value[box]) * target[box]
    mask = torch.zeros(error.shape, dtype=torch.bool, device=error.device)
    mask[inner] = target[box]
    around = torch.zeros(error.shape, dtype=distance.dtype, device=error.device)
    rows = slice(max(y0 - _RADIUS, 0), min(y1 + _RADIUS, height))
    columns = slice(max(x0 - _RADIUS, 0), min(x1 + _RADIUS, width))
    shift_y, shift_x = margin - y0, margin - x0
    around[
        rows.start + shift_y : rows.stop + shift_y,
        columns.start + shift_x : columns.stop + shift_x,
    ] = distance[rows, columns]
    _distribute(error, mask, around)
    return _blur(error)[_REACH:-_REACH, _REACH:-_REACH], box


def _distribute(error: Tensor, mask: Tensor, distance: Tensor) -> None:
    """Write the error of the nearest object pixel into the background near the object."""
    near = (distance > 0) & (distance < math.sqrt(_NEAR_SQUARED + 1))
    position = near.flatten().nonzero()[:, 0].int()
    squared = distance.flatten()[position].square().round().int()
    inside, errors = mask.flatten(), error.view(-1)
    nearest = position
    # The first offset in the list has the last word.
    for offsets in _nearest_offsets(error.shape[1]).to(error.device).T.flip(0):
        candidate = position + offsets.index_select(0, squared)
        hit = inside.index_select(0, candidate)
        nearest = nearest + (candidate - nearest).mul_(hit)  # several times as fast as a where
    errors.index_copy_(0, position.long(), errors.index_select(0, nearest))


def _nearest_offsets(stride: int) -> Tensor:
    """Flat offsets to all pixels at a squared distance, leftmost then topmost first.

    Returns:
        (19, 8) int32: row = squared distance; short rows repeat their first offset, rows of
        distances that do not occur hold 0.
    """
    reach = range(-_REACH, _REACH + 1)
    rows = []
    for squared in range(_NEAR_SQUARED + 1):
        found = [dy * stride + dx for dx in reach for dy in reach if dx * dx + dy * dy == squared]
        found = found or [0]
        rows.append(found + found[:1] * (8 - len(found)))
    return torch.tensor(rows, dtype=torch.int32)


def _blur(image: Tensor) -> Tensor:
    """7 x 7 Gaussian mean without a border: (h, w) -> (h - 6, w - 6), one axis after the other."""
    weights = [math.exp(-(step**2) / (2 * _SIGMA**2)) for step in range(-_RADIUS, _RADIUS + 1)]
    weights = [weight / sum(weights) for weight in weights]
    for axis in (0, 1):
        length = image.shape[axis] - 2 * _RADIUS
        total = torch.zeros_like(image.narrow(axis, 0, length))
        for step, weight in enumerate(weights):
            total.add_(image.narrow(axis, step, length), alpha=weight)
        image = total
    return image
