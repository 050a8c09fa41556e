"""Segmentation stability: how much masks from prompts of one kind agree among themselves."""

from torch import Tensor

from rgbx.metrics.pixels import count

__all__ = ["stability"]


def stability(masks: Tensor, empty_union: float = 0.0) -> float:
    r"""Mean IoU of one object's masks M_1 ... M_B with their union U: (1/B) sum |M_i| / |U|.

    Between 1/B (masks without overlap) and 1 (masks all alike); no ground truth is used. Source:
    Fan et al., "Stable Segment Anything Model", arXiv 2311.15776, equation of SF.

    Args:
        masks: (B, h, w) bool, B >= 1: predictions for one object of one image, from B prompts.
        empty_union: The value where all masks are empty.

    Raises:
        ValueError: If there is no mask.
    """
    if masks.ndim != 3 or not len(masks):
        raise ValueError(f"Stability needs masks (B, h, w) with B >= 1, got {tuple(masks.shape)}.")
    union = masks[0].clone()
    for mask in masks[1:]:  # in place: many times as fast as `any` over the first axis
        union |= mask
    size = int(count(union[None]))
    return int(count(masks).sum()) / (len(masks) * size) if size else float(empty_union)
