"""Augmentation and resizing: rgb, x and mask always move together.

RGB and X travel through the geometric steps stacked in one array, so that they cannot drift apart.
Colour jitter touches rgb only; `rgbx.data.transforms.enhance` changes each camera on its own.
"""

import os
from typing import NamedTuple

# albumentations asks the network for its newest version when it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import numpy as np
from numpy.typing import NDArray

from rgbx.data.transforms.enhance import draw_factors, enhance_rgb, enhance_x
from rgbx.data.transforms.normalise import Mask, Raw, Statistics
from rgbx.data.transforms.resizing import (
    Resize,
    pil_resized,
    resize_image,
    resize_mask,
    resize_soft,
    resized_like,
)

__all__ = [
    "EvalTransform",
    "Mask",
    "Raw",
    "Statistics",
    "TrainTransform",
    "resize_image",
    "resize_mask",
    "resize_soft",
    "stacked",
    "unstacked",
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


def unstacked(image: NDArray[np.float32], mask: Mask | None) -> Moved:
    """Rgb and x of an array (H, W, 3), (H, W, 4) or (H, W, 6) of both."""
    rgb, x = image[..., :3], image[..., 3:]
    if x.shape[2] == 0:
        return Moved(np.ascontiguousarray(rgb), None, mask)
    x = x[..., 0] if x.shape[2] == 1 else x
    return Moved(np.ascontiguousarray(rgb), np.ascontiguousarray(x), mask)


class TrainTransform:
    """Colour changes, then flip, scale, pad and crop on everything.

    A scale of 1 is the view of `EvalTransform` (the whole image at `size`); 2 shows a quarter of
    it, 0.5 the whole image in a quarter of the area. Padding is 0 after normalisation (the mean
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
            of its own (`rgbx.data.transforms.enhance`), at the size of the file.
        soft: masks are float32 in [0, 1] and are resized bilinearly.
        resize: see `rgbx.data.transforms.resizing.Resize`.
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
        resize: Resize = "opencv",
    ) -> None:
        self.size = size
        self.resize: Resize = resize
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
        recoloured = self.recolour(raw, seed)
        factor = float(np.random.default_rng(seed).uniform(*self.scale))
        scaled = (max(1, round(self.size[0] * factor)), max(1, round(self.size[1] * factor)))
        assert raw.mask is not None, "training samples have masks"
        mask = resized_like(raw.mask, scaled, self.resize)
        image = stacked(recoloured, scaled, self.statistics, self.resize)
        moved = self._geometry(image=image, mask=mask)
        return unstacked(moved["image"], np.ascontiguousarray(moved["mask"]))

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


def stacked(
    raw: Raw, size: tuple[int, int], statistics: Statistics, how: Resize
) -> NDArray[np.float32]:
    """Both images at `size`, normalised, in one array; `how` as in `resizing.Resize`."""
    if how == "pil":
        return statistics.normalise(pil_resized(raw, size))
    return resize_image(statistics.normalise(raw), size)


class EvalTransform:
    """Resize to the network's size, nothing random.

    Args:
        size: (h, w) of rgb and x.
        statistics: of the data set.
        resize_mask: bring the mask to `size` as well (validation); False keeps it untouched, as
            test scores are taken at the original size.
        resize: see `rgbx.data.transforms.resizing.Resize`.
    """

    def __init__(
        self,
        size: tuple[int, int],
        statistics: Statistics,
        resize_mask: bool = True,
        resize: Resize = "opencv",
    ) -> None:
        self.size = size
        self.resize: Resize = resize
        self.statistics = statistics
        self.resize_mask = resize_mask

    def __call__(self, raw: Raw, seed: int = 0) -> Moved:
        """Transform one sample; `seed` is accepted and has no effect."""
        image = stacked(raw, self.size, self.statistics, self.resize)
        mask = raw.mask
        if mask is not None and self.resize_mask:
            mask = resized_like(mask, self.size, self.resize)
        return unstacked(image, mask)
