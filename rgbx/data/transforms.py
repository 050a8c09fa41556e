"""Augmentation and resizing: rgb, x and mask always move together.

RGB and X travel through the geometric steps stacked in one array, so that they cannot drift apart.
Colour jitter touches rgb only; `rgbx.data.enhance` changes each camera on its own.
"""

import os
from typing import NamedTuple

# albumentations asks the network for its newest version when it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rgbx.data.enhance import draw_factors, enhance_rgb, enhance_x
from rgbx.data.normalise import Mask, Raw, Statistics

__all__ = [
    "EvalTransform",
    "Mask",
    "Raw",
    "Statistics",
    "TrainTransform",
    "resize_image",
    "resize_mask",
    "resize_soft",
]

IGNORE = 255


class Moved(NamedTuple):
    """A sample after a transform.

    Args:
        rgb: (H, W, 3) float32, normalised.
        x: (H, W) or (H, W, 3) float32, normalised; None for RGB-only data.
        mask: (H, W), as in `Raw`.
    """

    rgb: NDArray[np.float32]
    x: NDArray[np.float32] | None
    mask: Mask | None


def resize_image(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize (H, W) or (H, W, C) to `size` (h, w): area mean to shrink, bilinear to grow."""
    if image.shape[:2] == tuple(size):
        return image
    if image.ndim == 3 and image.shape[2] > 4:  # more than OpenCV's area mean can take
        parts = [np.ascontiguousarray(image[..., i : i + 3]) for i in range(0, image.shape[2], 3)]
        return np.concatenate([resize_image(part, size) for part in parts], axis=2)
    shrinks = size[0] <= image.shape[0] and size[1] <= image.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=way), dtype=np.float32)


def resize_mask(mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize class ids (H, W) to `size` (h, w) by nearest neighbour, never mixing ids.

    INTER_NEAREST_EXACT samples at pixel centres like the image's resize; plain INTER_NEAREST
    would shift the mask by up to half a pixel against it.
    """
    if mask.shape == tuple(size):
        return mask
    way = cv2.INTER_NEAREST_EXACT
    return np.asarray(cv2.resize(mask, (size[1], size[0]), interpolation=way), dtype=np.uint8)


def resize_soft(mask: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize a soft mask (H, W) to `size` (h, w) bilinearly; borders stay grey.

    When shrinking, the weights of all covered pixels count (as PIL does), not of four neighbours.
    """
    if mask.shape == tuple(size):
        return mask
    resized = Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(resized, dtype=np.float32), 0, 1)


def _split(image: NDArray[np.float32], mask: Mask | None) -> Moved:
    rgb, x = image[..., :3], image[..., 3:]
    if x.shape[2] == 0:
        return Moved(np.ascontiguousarray(rgb), None, mask)
    x = x[..., 0] if x.shape[2] == 1 else x
    return Moved(np.ascontiguousarray(rgb), np.ascontiguousarray(x), mask)


class TrainTransform:
    """Colour changes, then flip, scale, pad and crop on everything.

    A scale of 1 is the view of `EvalTransform` (the whole picture at `size`); 2 shows a quarter of
    it, 0.5 the whole picture in a quarter of the area. Padding is 0 after normalisation (the mean
    colour) and 255 in a mask of ids; a soft mask cannot ignore, so padding is background (0) there.
    The result is a pure function of the sample and the seed.

    Args:
        size: (h, w) of the result.
        statistics: of the data set.
        flip: probability of a horizontal flip.
        scale: smallest and largest scale, drawn uniformly.
        jitter: strength of brightness, contrast and saturation changes (factor 1 +- jitter); the
            hue moves by at most jitter / 10 of the circle; 0 for none.
        enhance: change brightness, contrast, colour and sharpness of rgb and x, each with draws
            of its own (`rgbx.data.enhance`), at the size of the file.
        soft: masks are float32 in [0, 1] and are resized bilinearly.
    """

    def __init__(
        self,
        size: tuple[int, int],
        statistics: Statistics,
        flip: float = 0.5,
        scale: tuple[float, float] = (0.5, 2.0),
        jitter: float = 0.4,
        enhance: bool = False,
        soft: bool = False,
    ) -> None:
        self.size = size
        self.scale = scale
        self.enhance = enhance
        self.soft = soft
        self.statistics = statistics
        self._colour = A.Compose(
            [
                A.ColorJitter(
                    *[(max(0.0, 1 - jitter), 1 + jitter)] * 3, (-jitter / 10, jitter / 10), 0.8
                )
            ]
            if jitter
            else []
        )
        outside = 0 if soft else IGNORE
        crop = A.RandomCrop(
            *size, pad_if_needed=True, pad_position="random", fill=0, fill_mask=outside
        )
        self._geometry = A.Compose([A.HorizontalFlip(p=flip), crop])

    def __call__(self, raw: Raw, seed: int) -> Moved:
        """Transform one sample.

        Args:
            raw: sample with a mask.
            seed: decides everything that is random.
        """
        self._geometry.set_random_seed(seed)
        image = self.statistics.normalise(self.recolour(raw, seed))
        factor = float(np.random.default_rng(seed).uniform(*self.scale))
        scaled = (max(1, round(self.size[0] * factor)), max(1, round(self.size[1] * factor)))
        assert raw.mask is not None, "training samples have masks"
        mask = _resize_any(raw.mask, scaled)
        moved = self._geometry(image=resize_image(image, scaled), mask=mask)
        return _split(moved["image"], np.ascontiguousarray(moved["mask"]))

    def recolour(self, raw: Raw, seed: int) -> Raw:
        """Change the colours only."""
        if self.enhance:
            raw = _enhanced(raw, seed)
        self._colour.set_random_seed(seed)
        return raw._replace(rgb=self._colour(image=raw.rgb)["image"])


def _enhanced(raw: Raw, seed: int) -> Raw:
    rgb = enhance_rgb(raw.rgb, draw_factors(seed, 0))
    x = None if raw.x is None else enhance_x(raw.x, draw_factors(seed, 1))
    return raw._replace(rgb=rgb, x=x)


def _resize_any(mask: Mask, size: tuple[int, int]) -> Mask:
    if mask.dtype == np.float32:
        return resize_soft(mask.astype(np.float32, copy=False), size)
    return resize_mask(mask.astype(np.uint8, copy=False), size)


class EvalTransform:
    """Resize to the network's size, nothing random.

    Args:
        size: (h, w) of rgb and x.
        statistics: of the data set.
        resize_mask: bring the mask to `size` as well (validation); False keeps it untouched, as
            test scores are taken at the original size.
    """

    def __init__(
        self, size: tuple[int, int], statistics: Statistics, resize_mask: bool = True
    ) -> None:
        self.size = size
        self.statistics = statistics
        self.resize_mask = resize_mask

    def __call__(self, raw: Raw, seed: int = 0) -> Moved:
        """Transform one sample; `seed` is accepted and has no effect."""
        image = resize_image(self.statistics.normalise(raw), self.size)
        mask = raw.mask
        if mask is not None and self.resize_mask:
            mask = _resize_any(mask, self.size)
        return _split(image, mask)
