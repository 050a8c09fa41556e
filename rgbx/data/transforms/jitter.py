"""Large-scale jitter: one frame of a fixed size from images of any size."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbx.data.transforms.augment import Moved, Raw, Statistics, TrainTransform, resize_soft
from rgbx.prompts import foreground

__all__ = ["LargeScaleJitter", "View", "resize_image"]

GUARD = 10
REDRAWS = 10
PAD = 128


class View(NamedTuple):
    """What part of an image is seen: its size after scaling, and the window's upper left corner.

    Both in pixels as (height or y, width or x).
    """

    scaled: tuple[int, int]
    corner: tuple[int, int]
    mirrored: bool


def resize_image(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize (H, W, 3) to `size` (h, w): area mean to shrink, bilinear to grow."""
    if rgb.shape[:2] == tuple(size):
        return rgb
    shrinks = size[0] <= rgb.shape[0] and size[1] <= rgb.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, (size[1], size[0]), interpolation=way), dtype=np.uint8)


class LargeScaleJitter(TrainTransform):
    """Flip, scale, crop at random; pad to the right and below (HQ-SAM's training view).

    A scale of 1 shows the whole image in its own proportions, as large as the frame allows.
    Padding is grey (128) in the image and 0 in the mask. If fewer than 10 pixels of the object
    are left, the view is drawn again, up to ten times; then the whole image is squashed to the
    frame. Colours change as in `TrainTransform`. Both image and mask are resized with all covered
    pixels counting when they shrink, where HQ-SAM looks at four neighbours only.

    Args:
        size: (h, w) of the frame.
        statistics: of the data set.
        flip: probability of a horizontal flip.
        scale: smallest and largest scale, drawn uniformly.
        jitter: strength of the colour changes.
        enhance: SAMSOD's colour changes.
    """

    def __init__(
        self,
        size: tuple[int, int],
        statistics: Statistics,
        flip: float = 0.5,
        scale: tuple[float, float] = (0.1, 2.0),
        jitter: float = 0.0,
        enhance: bool = False,
    ) -> None:
        super().__init__(size, statistics, flip, scale, jitter, enhance, soft=True)
        self.flip = flip

    def __call__(self, raw: Raw, seed: int) -> Moved:
        """Transform one sample with a soft mask; a pure function of sample and seed."""
        return self.finish(self.frame(raw, seed))

    def frame(self, raw: Raw, seed: int) -> Raw:
        """The view of a sample, not yet normalised.

        Args:
            raw: sample with a soft mask.
            seed: decides everything that is random.

        Returns:
            rgb (h, w, 3) uint8 and mask (h, w) float32 of the frame; the mask is empty only if the
            sample's own is (nearly) so.
        """
        rng = np.random.default_rng([seed, 0])
        for _ in range(1 + REDRAWS):
            view = self.draw((raw.rgb.shape[0], raw.rgb.shape[1]), rng)
            mask = self._see_mask(raw, view)
            if np.count_nonzero(foreground(mask)) >= GUARD:
                break
        else:
            view = view._replace(scaled=self.size, corner=(0, 0))
            mask = self._see_mask(raw, view)
        seen = self.crop(resize_image(raw.rgb, view.scaled), view)
        rgb = self.recolour(Raw(np.ascontiguousarray(seen), None, None), seed).rgb
        framed = np.full((*self.size, 3), PAD, dtype=np.uint8)
        framed[: rgb.shape[0], : rgb.shape[1]] = rgb
        return Raw(framed, None, mask)

    def finish(self, framed: Raw) -> Moved:
        """Normalise a frame."""
        return Moved(self.statistics.normalise(framed), None, framed.mask)

    def draw(self, size: tuple[int, int], rng: np.random.Generator) -> View:
        """A view of an image of `size` (h, w)."""
        mirrored = bool(rng.random() < self.flip)
        ratio = float(rng.uniform(*self.scale))
        factor = min(round(side * ratio) / old for side, old in zip(self.size, size, strict=True))
        scaled = (max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))
        spare = [max(0, new - side) for new, side in zip(scaled, self.size, strict=True)]
        corner = (int(rng.integers(spare[0] + 1)), int(rng.integers(spare[1] + 1)))
        return View(scaled, corner, mirrored)

    def _see_mask(self, raw: Raw, view: View) -> NDArray[np.float32]:
        assert raw.mask is not None, "training samples have masks"
        mask = resize_soft(raw.mask.astype(np.float32, copy=False), view.scaled)
        seen = self.crop(mask, view)
        framed = np.zeros(self.size, dtype=np.float32)
        framed[: seen.shape[0], : seen.shape[1]] = seen
        return framed

    def crop(self, image: NDArray[np.generic], view: View) -> NDArray:
        """What a view shows of an image (h, w, ...) at the view's scale."""
        (top, left), (height, width) = view.corner, self.size
        turned = image[:, ::-1] if view.mirrored else image
        return turned[top : top + height, left : left + width]
