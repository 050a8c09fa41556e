"""Boxes that move with their images: flip, scale, crop and pad, or letterbox."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from rgbx.data.transforms.augment import Moved, Raw, Statistics, stacked, unstacked
from rgbx.data.transforms.jitter import REDRAWS, LargeScaleJitter, View
from rgbx.data.transforms.resizing import Resize

__all__ = ["BoxJitter", "BoxTargets", "padded"]

PAD = 114  # of 255: the grey beside an image that does not fill the network's input


@dataclass(frozen=True)
class BoxTargets:
    """The objects of one image, classes as numbers.

    Attributes:
        boxes: (n,4) float32 x1, y1, x2, y2 in pixels.
        labels: (n,) int64, 0 to K-1; 0 for ignored regions of no class.
        ignore: (n,) bool, regions that are neither object nor background.
        occlusion: (n,) int64: 0, 1 partly, 2 heavily hidden.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    occlusion: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def kept(self, which: NDArray[np.bool_]) -> Self:
        """Those of a mask (n,)."""
        return replace(
            self,
            boxes=self.boxes[which],
            labels=self.labels[which],
            ignore=self.ignore[which],
            occlusion=self.occlusion[which],
        )

    def clipped(self, size: tuple[int, int], least: float) -> Self:
        """Clipped to an image (h,w); what is left smaller than `least` is dropped."""
        limit = np.array([size[1], size[0]] * 2, np.float32)
        boxes = np.clip(self.boxes, 0, limit)
        large = np.asarray(((boxes[:, 2:] - boxes[:, :2]) >= least).all(1))
        return replace(self, boxes=boxes).kept(large)


class BoxJitter(LargeScaleJitter):
    """Flip, scale, crop at random; pad to the right and below (UniRGB-IR's training view).

    As `LargeScaleJitter`, with both modalities in one array. Boxes are clipped to the view, and
    those of which hardly anything is left are dropped with their labels. If no object is left, the
    view is drawn again, up to ten times; then the whole image is shown. Padding is grey (114 of
    255) in both modalities.

    Args:
        size: (h, w) of the frame.
        statistics: of the data set.
        flip: probability of a horizontal flip.
        scale: smallest and largest scale, drawn uniformly; 1 shows the whole image, as large as
            the frame allows.
        jitter: strength of the colour changes of rgb.
        enhance: SAMSOD's colour changes.
        resize: see `rgbx.data.transforms.resizing.Resize`.
        least: pixels of a side that a box must have in the frame.
    """

    def __init__(
        self,
        size: tuple[int, int],
        statistics: Statistics,
        flip: float = 0.5,
        scale: tuple[float, float] = (0.1, 2.0),
        jitter: float = 0.0,
        enhance: bool = False,
        resize: Resize = "opencv",
        least: float = 1.0,
    ) -> None:
        super().__init__(size, statistics, flip, scale, jitter, enhance)
        self.resize = resize
        self.least = least

    def with_boxes(self, raw: Raw, targets: BoxTargets, seed: int) -> tuple[Moved, BoxTargets]:
        """Transform one sample; a pure function of sample and seed.

        Returns:
            The images (H,W,...) at the frame's size, normalised, and the boxes in their pixels.
        """
        size = (raw.rgb.shape[0], raw.rgb.shape[1])
        rng = np.random.default_rng([seed, 0])
        for _ in range(1 + REDRAWS):
            view = self.draw(size, rng)
            seen = self._see(targets, size, view)
            if not seen.ignore.all():
                break
        else:
            whole = min(f / s for f, s in zip(self.size, size, strict=True))
            fitted = (max(1, round(size[0] * whole)), max(1, round(size[1] * whole)))
            view = view._replace(scaled=fitted, corner=(0, 0))
            seen = self._see(targets, size, view)
        images = stacked(self.recolour(raw, seed), view.scaled, self.statistics, self.resize)
        framed = padded(self.crop(images, view), self.size, self.statistics)
        return unstacked(framed, None), seen

    def _see(self, targets: BoxTargets, size: tuple[int, int], view: View) -> BoxTargets:
        """The boxes of a view, in pixels of the frame."""
        height, width = view.scaled
        boxes = targets.boxes * np.array([width / size[1], height / size[0]] * 2, np.float32)
        if view.mirrored:
            x1, y1, x2, y2 = boxes.T
            boxes = np.stack([width - x2, y1, width - x1, y2], 1)
        top, left = view.corner
        boxes = boxes - np.array([left, top] * 2, np.float32)
        content = (min(self.size[0], height - top), min(self.size[1], width - left))
        return replace(targets, boxes=boxes.astype(np.float32)).clipped(content, self.least)


def padded(
    images: NDArray[np.float32], size: tuple[int, int], statistics: Statistics
) -> NDArray[np.float32]:
    """Normalised images (h,w,3), (h,w,4) or (h,w,6) in the upper left corner of a grey frame."""
    if images.shape[:2] == size:
        return images
    channels = images.shape[2] - 3
    grey = Raw(
        np.full((1, 1, 3), PAD, np.uint8),
        np.full((1, 1, channels), PAD / 255, np.float32) if channels else None,
        None,
    )
    framed = np.empty((*size, images.shape[2]), np.float32)
    framed[:] = statistics.normalise(grey)
    framed[: images.shape[0], : images.shape[1]] = images
    return framed
