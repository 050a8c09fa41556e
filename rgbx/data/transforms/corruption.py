"""What training does to one modality so that a model learns to do without it."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rgbx.data.transforms.blank import BlankWith, blanked
from rgbx.errors import RGBXError

__all__ = ["Corruption", "Drop"]


@dataclass(frozen=True)
class Drop:
    """How often a whole modality is missing in training; never both of one sample.

    Args:
        rgb: share of the samples that lose the visible image, 0 to 1.
        x: share of the samples that lose the second modality.
        fill: what stands in its place: its mean, or standard normal noise.

    Raises:
        RGBXError: a share is no probability, or both sum to more than 1.
    """

    rgb: float = 0.0
    x: float = 0.0
    fill: BlankWith = "mean"

    def __post_init__(self) -> None:
        if not (self.rgb >= 0 and self.x >= 0 and self.rgb + self.x <= 1):
            raise RGBXError(
                f"data.drop: rgb {self.rgb} and x {self.x} must be 0 or more and sum to at most 1, "
                "as no sample loses both."
            )
        if self.fill not in ("mean", "noise"):
            raise RGBXError(f"data.drop.fill: {self.fill!r} is neither mean nor noise.")

    def modality(self, chance: float) -> Literal["rgb", "x"] | None:
        """Which modality a sample loses.

        Args:
            chance: uniform in [0, 1).
        """
        if chance < self.rgb:
            return "rgb"
        return "x" if chance >= 1 - self.x else None


@dataclass(frozen=True)
class Corruption:
    """Seeded changes of a training sample: x is shifted, becomes noisy, or one image is missing.

    All of them are a pure function of (name, seed of the sample), and so of (seed, epoch, sample).

    Args:
        drop: how often a modality is missing.
        x_noise: largest standard deviation of Gaussian noise on x, for x in [0, 1]; every sample
            draws its own between 0 and this.
        x_shift: x moves by at most so many pixels of the network's input, along each axis; what
            comes in at the border is the mean.

    Raises:
        RGBXError: a number cannot be.
    """

    drop: Drop = Drop()
    x_noise: float = 0.0
    x_shift: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.x_noise < math.inf:
            raise RGBXError(f"data.x_noise: {self.x_noise} must be finite and 0 or more.")
        if self.x_shift < 0:
            raise RGBXError(f"data.x_shift: {self.x_shift} must be 0 or more pixels.")

    @property
    def is_active(self) -> bool:
        """Whether anything is changed."""
        return self != Corruption()

    def __call__(
        self, rgb: Tensor, x: Tensor, name: str, seed: int, x_std: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Change one sample.

        Args:
            rgb: (3,H,W) float32, normalised.
            x: (3,H,W) float32, normalised.
            name: of the sample.
            seed: of the sample in this epoch.
            x_std: (1,1,1) or (3,1,1), by which x was divided.

        Returns:
            rgb and x, of the same shapes.
        """
        rng = np.random.default_rng([seed, 0xC0])
        chance, strength = rng.random(2)
        down, right = rng.integers(-self.x_shift, self.x_shift, 2, endpoint=True)
        x = shifted(x, int(down), int(right))
        if self.x_noise:
            shape = x.shape if not _is_grey(x) else (1, *x.shape[1:])
            noise = torch.from_numpy(rng.standard_normal(tuple(shape), dtype=np.float32))
            x = x + noise * (float(strength) * self.x_noise / x_std)
        lost = self.drop.modality(float(chance))
        if lost == "rgb":
            rgb = blanked(rgb, self.drop.fill, name, seed)
        if lost == "x":
            x = blanked(x[:1], self.drop.fill, name, seed).expand_as(x).clone()
        return rgb, x


def shifted(image: Tensor, down: int, right: int) -> Tensor:
    """Move an image (C,H,W) by whole pixels; 0 comes in at the border.

    Args:
        image: any values; one that is moved by its whole side is 0 everywhere.
        down: rows; negative ones move up.
        right: columns; negative ones move to the left.
    """
    if not (down or right):
        return image
    moved = torch.zeros_like(image)
    height, width = image.shape[-2:]
    if abs(down) < height and abs(right) < width:
        target = image[..., max(-down, 0) : height - max(down, 0), :]
        target = target[..., max(-right, 0) : width - max(right, 0)]
        moved[
            ...,
            max(down, 0) : height + min(down, 0),
            max(right, 0) : width + min(right, 0),
        ] = target
    return moved


def _is_grey(x: Tensor) -> bool:
    return bool((x == x[:1]).all())
