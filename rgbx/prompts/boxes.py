"""Boxes around an object: tight, and noisy ones as a careless user draws them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rgbx.prompts.masks import Mask, object_pixels

__all__ = ["box_iou", "move_boxes", "noisy_box", "tight_box"]

Boxes = NDArray[np.float64]
TRIES = 50
RANGE_TRIES = 200


def tight_box(mask: Mask) -> Tensor:
    """The smallest box around the object.

    Args:
        mask: (H, W), scaled as in `rgbx.prompts.as_share`.

    Returns:
        (4,) float32: x_min, y_min, x_max, y_max of the object's pixels. The largest coordinates are
        those of the last pixel (no 1 is added), so an object of one pixel has a box of area 0.

    Raises:
        DataError: the mask is empty.
    """
    return box_around(object_pixels(mask))


def box_around(pixels: NDArray[np.int64]) -> Tensor:
    """As `tight_box`, from positions (n, 2) of x and y."""
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    return torch.tensor([*low.tolist(), *high.tolist()], dtype=torch.float32)


def box_iou(boxes: Boxes, box: Boxes) -> NDArray[np.float64]:
    """Intersection over union of boxes (n, 4) with one box (4,); 0 where the union has no area."""
    corner = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    common = np.clip(corner, 0, None).prod(axis=1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod() - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def move_boxes(box: Boxes, draws: Boxes, scale: float) -> Boxes:
    """Move and resize a box by the DN-DETR rule (section 3.4 of its paper, lambda = `scale`).

    The centre moves by up to `scale` / 2 of the box's sides, and the sides change by up to `scale`
    of themselves.

    Args:
        box: (4,) corners.
        draws: (n, 4) in [-1, 1]: for the centre's x and y, the width and the height.
        scale: of the noise.

    Returns:
        (n, 4) corners, which may lie outside the image.
    """
    side = box[2:] - box[:2]
    centre = (box[:2] + box[2:]) / 2 + draws[:, :2] * scale * side / 2
    half = side * (1 + scale * draws[:, 2:]) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def noisy_box(
    box: Tensor,
    rng: np.random.Generator,
    size: tuple[int, int],
    scale: float = 0.4,
    min_iou: float | None = None,
    iou_range: tuple[float, float] | None = None,
    tries: int | None = None,
) -> Tensor:
    """Draw a box near a tight one.

    The noise is that of `move_boxes` with four uniform draws; the result is clamped to the frame,
    and conditions look at the clamped box. A box without area stays as it is under a condition.

    Args:
        box: (4,) tight box.
        rng: source of the draws.
        size: (H, W) of the frame; coordinates end at W and H.
        scale: of the noise; 0.4 in the paper.
        min_iou: draw again until the overlap with `box` is at least this; after `tries` draws it is
            `box` itself (training: 0.5).
        iou_range: draw again until the overlap lies in [low, high); after `tries` draws it is the
            draw whose overlap is nearest to the middle (COCO and SGinW: (0.5, 0.6), (0.6, 0.7)).
        tries: 50 by default, 200 for a range.

    Returns:
        (4,) float32.
    """
    tight = box.detach().cpu().numpy().astype(np.float64)
    if min_iou is None and iou_range is None:
        return _as_tensor(_draw(tight, rng, size, scale))
    if (tight[2:] <= tight[:2]).any():
        return box.detach().cpu().to(torch.float32)
    low, high = iou_range or (min_iou or 0.0, np.inf)
    allowed = tries or (TRIES if iou_range is None else RANGE_TRIES)
    seen: list[tuple[float, Boxes]] = []
    for _ in range(allowed):
        drawn = _draw(tight, rng, size, scale)
        overlap = float(box_iou(drawn[None], tight)[0])
        if low <= overlap < high:
            return _as_tensor(drawn)
        seen.append((overlap, drawn))
    if iou_range is None:
        return box.detach().cpu().to(torch.float32)
    distances = [abs(overlap - (low + high) / 2) for overlap, _ in seen]
    return _as_tensor(seen[int(np.argmin(distances))][1])


def _draw(box: Boxes, rng: np.random.Generator, size: tuple[int, int], scale: float) -> Boxes:
    moved = move_boxes(box, rng.uniform(-1, 1, (1, 4)), scale)[0]
    limits = np.array([size[1], size[0]] * 2, dtype=np.float64)
    # rounded as it will be stored, so that a condition holds for what is returned
    return np.clip(moved, 0, limits).astype(np.float32).astype(np.float64)


def _as_tensor(box: Boxes) -> Tensor:
    return torch.from_numpy(box.astype(np.float32))
