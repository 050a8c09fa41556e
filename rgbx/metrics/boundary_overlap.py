"""Boundary IoU: the overlap of two masks' outlines, for objects with thin parts."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rgbx.metrics.pixels import count, overlap, portions, ratio

__all__ = ["boundary", "boundary_iou", "boundary_width", "edge_iou", "erode"]


def boundary_width(size: Sequence[int], share: float = 0.02) -> int:
    """Width of the outline in pixels: that share of the image's diagonal, rounded, at least 1.

    Args:
        size: Height and width of the image.
        share: Share of the diagonal, above 0.
    """
    height, width = size
    return max(1, round(share * math.hypot(height, width)))


def erode(masks: Tensor, steps: int) -> Tensor:
    """Erosion by a square of side 2 * steps + 1 (= so many 3 x 3 erosions), without the border.

    Everything beyond the image counts as background, so that nothing within ``steps`` pixels of
    the border survives and only the rest is returned. Each axis is worked on by itself, with
    windows that double their length: about 2 * log2(2 * steps + 1) steps in all.

    Args:
        masks: (..., h, w) bool.
        steps: d >= 1.

    Returns:
        (..., h - 2d, w - 2d) bool; an axis that is shorter than 2d + 1 has length 0.
    """
    side = 2 * steps + 1
    for axis in (-2, -1):
        if masks.shape[axis] < side:
            masks = masks.narrow(axis, 0, 0)
            continue
        length = 1
        while length < side:
            shift = min(length, side - length)
            kept = masks.shape[axis] - shift
            masks = masks.narrow(axis, 0, kept) & masks.narrow(axis, shift, kept)
            length += shift
    return masks


def boundary(masks: Tensor, width: int) -> Tensor:
    """The pixels of each mask that are at most ``width`` (chessboard) from its background.

    The image's border counts as background. Source: Cheng et al., "Boundary IoU: Improving
    Object-Centric Image Segmentation Evaluation", CVPR 2021.

    Args:
        masks: (..., h, w) bool.
        width: d >= 1, see :func:`boundary_width`.

    Returns:
        (..., h, w) bool.
    """
    inner = erode(masks, width)
    edge = masks.clone()
    if inner.numel():
        height, length = masks.shape[-2:]
        edge[..., width : height - width, width : length - width] &= ~inner
    return edge


def boundary_iou(masks: Tensor, target: Tensor, share: float = 0.02) -> Tensor:
    """IoU of the outlines of each mask and of the target; 0 where both are empty.

    Args:
        masks: (n, h, w) bool.
        target: (h, w) bool, on the same device.
        share: Width of the outline as a share of the image's diagonal.

    Returns:
        (n,) float64 in [0, 1], on the CPU.
    """
    width = boundary_width(target.shape, share)
    return edge_iou(masks, boundary(target, width), width)


def edge_iou(masks: Tensor, target_edge: Tensor, width: int) -> Tensor:
    """As :func:`boundary_iou`, for a target whose outline is known.

    Args:
        masks: (n, h, w) bool.
        target_edge: (h, w) bool, ``boundary(target, width)``.
        width: d >= 1.

    Returns:
        (n,) float64 in [0, 1], on the CPU.
    """
    hits, sizes = [], []
    for part in portions(masks):
        piece, other = masks[part], target_edge
        if masks.device.type == "cpu":  # a single mask: nothing outside its box can matter
            rows, columns = _box(piece[0])
            piece, other = piece[:, rows, columns], target_edge[rows, columns]
        edge = boundary(piece, width)
        hits.append(overlap(edge, other))
        sizes.append(count(edge))
    if not hits:
        return torch.zeros(0, dtype=torch.float64)
    hit = torch.cat(hits)
    return ratio(hit, torch.cat(sizes) + count(target_edge[None]) - hit)


def _box(mask: Tensor) -> tuple[slice, slice]:
    """Rows and columns of the smallest box around a mask (on the CPU); an empty one if empty."""
    array = mask.numpy()
    spans = []
    for axis in (1, 0):
        found = np.flatnonzero(array.any(axis=axis))
        spans.append(slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0))
    return spans[0], spans[1]
