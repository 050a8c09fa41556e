"""Bringing rgb and x to zero mean and unit std, and back."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Mask", "Raw", "Statistics", "Triple"]

Triple = tuple[float, float, float]
Mask = NDArray[np.uint8] | NDArray[np.float32]


class Raw(NamedTuple):
    """A sample as read from disk.

    Args:
        rgb: (H, W, 3) uint8.
        x: (H, W), or (H, W, 3) where its colours are read, float32 in [0, 1]; None for RGB-only
            data.
        mask: (H, W) uint8 class ids, 255 = ignore; or float32, share of foreground in [0, 1];
            None where there are no labels.
    """

    rgb: NDArray[np.uint8]
    x: NDArray[np.float32] | None
    mask: Mask | None


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of rgb and x, for values in [0, 1].

    Args:
        rgb_mean: of red, green and blue.
        rgb_std: of red, green and blue.
        x_mean: one for all channels of x, or three.
        x_std: one for all channels of x, or three.
    """

    rgb_mean: Triple
    rgb_std: Triple
    x_mean: float | Triple
    x_std: float | Triple

    def normalise(self, raw: Raw) -> NDArray[np.float32]:
        """Stack rgb and x and bring them to zero mean and unit std.

        One channel of x becomes three where `x_mean` or `x_std` has three values.

        Returns:
            (H, W, 3) without x, with it (H, W, 4), or (H, W, 6) if x has three channels; float32.
        """
        mean = np.asarray(self.rgb_mean, dtype=np.float32)
        std = np.asarray(self.rgb_std, dtype=np.float32)
        rgb = (raw.rgb.astype(np.float32) / np.float32(255) - mean) / std
        if raw.x is None:
            return rgb
        mean, std = self._of_x()
        x = raw.x if raw.x.ndim == 3 else raw.x[..., None]
        return np.concatenate([rgb, (x - mean) / std], axis=2, dtype=np.float32)

    def restore_x(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The values in [0, 1] that became x (H, W, 3); the inverse of `normalise`."""
        mean, std = self._of_x()
        return np.asarray(x * std + mean, dtype=np.float32)

    def _of_x(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and std, each (1,) or (3,)."""
        mean, std = (np.asarray(v, dtype=np.float32) for v in (self.x_mean, self.x_std))
        return np.atleast_1d(mean), np.atleast_1d(std)
