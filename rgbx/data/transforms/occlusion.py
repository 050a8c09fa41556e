"""Synthetic occlusion: the object of one image pasted over another's (Stable-SAM's training)."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbx.data.transforms.augment import Raw, resize_soft
from rgbx.data.transforms.jitter import resize_image
from rgbx.prompts import foreground

__all__ = ["Pasted", "occlude", "paste"]

RATIO = (0.1, 0.5)  # area of what is pasted, of the object's it is pasted over
VISIBLE = 0.5
SMALLEST = 100
_MARGIN = 2


class Pasted(NamedTuple):
    """An image after something was pasted into it.

    Args:
        rgb: (h, w, 3) uint8.
        mask: (h, w) float32, the share of each pixel that is pasted.
        whole: pixels of the pasted object, including those beyond the image's border.
    """

    rgb: NDArray[np.uint8]
    mask: NDArray[np.float32]
    whole: int


def _box(inside: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of the object, the ends exclusive."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _soft(raw: Raw) -> NDArray[np.float32]:
    assert raw.mask is not None, "training samples have masks"
    return raw.mask.astype(np.float32, copy=False)


def paste(canvas: Raw, source: Raw, ratio: float, centre: tuple[float, float]) -> Pasted | None:
    """Paste one image's object over another's.

    Args:
        canvas: rgb and soft mask; its object only gives the area to compare with.
        source: rgb and soft mask, of any size; its object is cut out by the mask and scaled.
        ratio: area of the pasted object, of the area of the canvas' object.
        centre: y and x of the middle of the pasted object's box, in [0, 1] of the box of the
            canvas' object.

    Returns:
        The image with the object; its edge fades inwards over one pixel. None if an image shows
        no object, or if the pasted one would be more than twice as large as the canvas.
    """
    own, foreign = foreground(_soft(canvas)), foreground(_soft(source))
    if not own.any() or not foreign.any():
        return None
    top, bottom, left, right = _box(foreign)
    window = np.s_[
        max(0, top - _MARGIN) : bottom + _MARGIN, max(0, left - _MARGIN) : right + _MARGIN
    ]
    cut, shape = source.rgb[window], _soft(source)[window]
    factor = float(np.sqrt(ratio * np.count_nonzero(own) / np.count_nonzero(foreign)))
    size = (max(1, round(shape.shape[0] * factor)), max(1, round(shape.shape[1] * factor)))
    if size[0] > 2 * own.shape[0] or size[1] > 2 * own.shape[1]:
        return None
    shape = resize_soft(np.ascontiguousarray(shape), size)
    cut = resize_image(np.ascontiguousarray(cut), size)
    top, bottom, left, right = _box(own)
    y = round(top + centre[0] * (bottom - top) - size[0] / 2)
    x = round(left + centre[1] * (right - left) - size[1] / 2)
    whole = int(np.count_nonzero(foreground(shape)))
    return Pasted(*_lay(canvas.rgb, cut, shape, (y, x)), whole)


def _lay(
    rgb: NDArray[np.uint8],
    cut: NDArray[np.uint8],
    shape: NDArray[np.float32],
    corner: tuple[int, int],
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Blend a cut-out over an image, its upper left corner at y, x, which may lie outside."""
    height, width = rgb.shape[:2]
    (y, x), (tall, wide) = corner, shape.shape
    mask, painted = np.zeros((height, width), dtype=np.float32), rgb.copy()
    there = np.s_[max(0, y) : max(0, y + tall), max(0, x) : max(0, x + wide)]
    here = np.s_[max(0, -y) : max(0, height - y), max(0, -x) : max(0, width - x)]
    # Never more than the mask, as the cut-out shows its own background around the object; and not
    # much less, or a wire one pixel wide would fade away.
    inner = cv2.blur(shape, (3, 3), borderType=cv2.BORDER_CONSTANT)
    alpha = (shape * (1 + inner) / 2)[here][..., None]
    mask[there] = shape[here]
    blended = painted[there] * (1 - alpha) + cut[here] * alpha
    painted[there] = np.rint(blended).astype(np.uint8)
    return painted, mask


def occlude(target: Raw, other: Raw, frame: Callable[[Raw], Raw], rng: np.random.Generator) -> Raw:
    """Let another image's object hide part of the target, or the target part of another's.

    With probability 1/2 each: the other's object is pasted over the target, whose mask loses what
    is hidden; or the target is pasted into the other image, and its pasted mask is the new one.
    What is pasted has 0.1 to 0.5 of the area of the object below it, and its centre lies in that
    object's box.

    Args:
        target: frame of a training sample: rgb and soft mask.
        other: another sample as stored.
        frame: brings `other` to the target's size.
        rng: decides everything that is random.

    Returns:
        A new frame; `target` itself if less than half of the target or less than 100 pixels of it
        would be visible, or if nothing can be pasted.
    """
    pastes_other = bool(rng.random() < 0.5)
    ratio, centre = float(rng.uniform(*RATIO)), (float(rng.random()), float(rng.random()))
    canvas, source = (target, other) if pastes_other else (frame(other), target)
    pasted = paste(canvas, source, ratio, centre)
    if pasted is None:
        return target
    if pastes_other:
        mask = _soft(target) * (1 - pasted.mask)
        whole = int(np.count_nonzero(foreground(_soft(target))))
    else:
        mask, whole = pasted.mask, pasted.whole
    visible = np.count_nonzero(foreground(mask))
    if visible < VISIBLE * whole or visible < SMALLEST:
        return target
    return Raw(pasted.rgb, None, mask)
