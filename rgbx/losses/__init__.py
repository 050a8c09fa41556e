"""Losses as plain functions: of dense maps (here), of sampled points, of scribbles."""

from rgbx.losses.segmentation import (
    balanced_bce,
    binary_cross_entropy,
    cross_entropy,
    dice,
    iou,
    partial_cross_entropy,
    ssim,
    structure,
    weighted_cross_entropy,
)

__all__ = [
    "balanced_bce",
    "binary_cross_entropy",
    "cross_entropy",
    "dice",
    "iou",
    "partial_cross_entropy",
    "ssim",
    "structure",
    "weighted_cross_entropy",
]
