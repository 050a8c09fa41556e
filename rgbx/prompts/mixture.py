"""Which prompt a training sample gets."""

from dataclasses import dataclass

import numpy as np
import torch

from rgbx.errors import RGBXError
from rgbx.prompts.boxes import noisy_box, tight_box
from rgbx.prompts.masks import Mask, MaskScale, as_share, coarse_mask
from rgbx.prompts.points import random_points
from rgbx.prompts.prompt import Prompt

__all__ = ["HQ", "RTS", "PromptMixture"]


@dataclass(frozen=True)
class PromptMixture:
    """Weights of the kinds of prompts in training, and their details.

    One kind is drawn for each sample. The defaults are Stable-SAM's robust training strategy
    (`RTS`: prompts of mixed quality, all kinds alike); `HQ` is HQ-SAM's mixture, which the tables
    call "without RTS".

    Args:
        box: weight of the tight box.
        noisy_box: weight of the noisy box.
        points: weight of positive points.
        coarse_mask: weight of the coarse mask.
        counts: numbers of points, one of which is drawn.
        min_iou: least overlap of a noisy box with the tight one.
        noise: scale of a noisy box's noise.
        mask_scale: values of a coarse mask, 0 and 255 ("hq") or -10 and 10 ("logits").

    Raises:
        RGBXError: a value cannot work.
    """

    box: float = 1.0
    noisy_box: float = 1.0
    points: float = 1.0
    coarse_mask: float = 1.0
    counts: tuple[int, ...] = (1, 3, 5, 10)
    min_iou: float = 0.5
    noise: float = 0.4
    mask_scale: MaskScale = "hq"

    def __post_init__(self) -> None:
        weights = (self.box, self.noisy_box, self.points, self.coarse_mask)
        if not all(0 <= w < float("inf") for w in weights) or sum(weights) <= 0:
            raise RGBXError(
                "The weights of a prompt mixture (box, noisy_box, points, coarse_mask) are "
                f"{weights}; give 0 or more, and more than 0 for one at least"
            )
        if not self.counts or min(self.counts) < 1:
            raise RGBXError(f"counts {list(self.counts)} of points cannot be drawn; give 1 or more")
        if not 0 <= self.min_iou <= 1 or not 0 <= self.noise < 1:
            raise RGBXError(
                f"min_iou {self.min_iou} must lie in [0, 1] and noise {self.noise} in [0, 1)"
            )

    def draw(self, mask: Mask, rng: np.random.Generator) -> Prompt:
        """Draw a kind, then a prompt of it.

        Args:
            mask: (H, W) at the network's size, scaled as in `rgbx.prompts.as_share`.
            rng: source of all draws.

        Raises:
            DataError: the mask is empty.
        """
        weights = np.array([self.box, self.noisy_box, self.points, self.coarse_mask])
        share = as_share(mask)
        tight = tight_box(share)  # an empty mask is refused, whatever the kind
        kind = int(rng.choice(4, p=weights / weights.sum()))
        if kind == 0:
            return Prompt(kind="box", box=tight)
        if kind == 1:
            size = (share.shape[0], share.shape[1])
            box = noisy_box(tight, rng, size, self.noise, min_iou=self.min_iou)
            return Prompt(kind="noisy_box", box=box)
        if kind == 2:
            k = int(rng.choice(self.counts))
            labels = torch.ones(k, dtype=torch.int64)
            return Prompt(kind=f"point_{k}", points=random_points(share, k, rng), labels=labels)
        return Prompt(kind="coarse_mask", mask=coarse_mask(share, rng, scale=self.mask_scale))


RTS = PromptMixture()
HQ = PromptMixture(noisy_box=0.0, counts=(10,))
