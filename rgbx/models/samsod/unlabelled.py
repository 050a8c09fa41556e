"""Losses of SAMSOD that need no labels: what scribbles leave open, told by the visible image."""

import math
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from rgbx.errors import RGBXError
from rgbx.losses.scribbles import edge_aware_smoothness, local_saliency_coherence, luminance
from rgbx.tasks.base import resize

__all__ = ["UnlabelledTerms"]

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


@dataclass(frozen=True)
class UnlabelledTerms:
    """Local saliency coherence and edge-aware smoothness of a prediction, weighted.

    Attributes:
        lsc_weight: of the coherence, at a quarter of the image's sides as in its source.
        smoothness_weight: of the smoothness, at the size of the image.

    Raises:
        RGBXError: a weight is negative or not finite.
    """

    lsc_weight: float = 0.0
    smoothness_weight: float = 0.0

    def __post_init__(self) -> None:
        for name in ("lsc_weight", "smoothness_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise RGBXError(f"{name} = {getattr(self, name)}: give 0 (off) or more.")

    @property
    def wanted(self) -> bool:
        """There is something to compute."""
        return self.lsc_weight > 0 or self.smoothness_weight > 0

    def images(self, rgb: Tensor, statistics: Any = None) -> tuple[Tensor, Tensor]:
        """What predictions are compared with.

        Args:
            rgb: (B,3,H,W), normalised.
            statistics: by which (`rgbx.data.Statistics`); ImageNet's by default.

        Returns:
            Colours (B,3,H/4,W/4), normalised by ImageNet's statistics whatever the data's are, and
            luminance (B,1,H,W) in [0, 1].
        """
        mean, std = _MEAN, _STD
        if statistics is not None:
            mean, std = statistics.rgb_mean, statistics.rgb_std
        unit = rgb * _channels(std, rgb) + _channels(mean, rgb)
        colours = (unit - _channels(_MEAN, rgb)) / _channels(_STD, rgb)
        return _quarter(colours), luminance(unit).clamp(0, 1)

    def loss(self, logits: Tensor, colours: Tensor, grey: Tensor) -> Tensor:
        """The weighted sum for one prediction.

        Args:
            logits: (B,1,h,w) before the sigmoid.
            colours: see `images`.
            grey: see `images`.

        Returns:
            Scalar, a mean over the images.
        """
        saliency = resize(logits.to(grey.dtype), grey.shape[-2:]).sigmoid()
        total = saliency.new_zeros(())
        if self.lsc_weight:
            small = _quarter(saliency)
            total = total + self.lsc_weight * local_saliency_coherence(small, colours)
        if self.smoothness_weight:
            total = total + self.smoothness_weight * edge_aware_smoothness(saliency, grey)
        return total


def _quarter(maps: Tensor) -> Tensor:
    size = (maps.shape[-2] // 4, maps.shape[-1] // 4)
    return F.interpolate(maps, size, mode="bilinear", align_corners=True)


def _channels(values: tuple[float, ...], like: Tensor) -> Tensor:
    return like.new_tensor(values)[:, None, None]
