"""Means, stds and class shares of a split, added up sample by sample."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Moments", "SplitStatistics"]


@dataclass
class Moments:
    """Mean and standard deviation of each channel over all pixels of all images.

    Args:
        count: pixels added so far.
        sums: of the values of each channel, which lie in [0, 1].
        squares: of their squares.
    """

    count: int = 0
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    squares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))

    def add(self, image: NDArray[np.uint8] | NDArray[np.float32]) -> None:
        """Add an image (H, W) or (H, W, C): uint8 of 0 to 255, or floats in [0, 1]."""
        pixels = image.reshape(-1, 1 if image.ndim == 2 else image.shape[2])
        if pixels.dtype == np.uint8:  # whole numbers: sums without any rounding
            levels = np.arange(256) / 255
            counts = np.stack([np.bincount(channel, minlength=256) for channel in pixels.T])
            sums, squares = counts @ levels, counts @ levels**2
        else:
            sums = pixels.sum(axis=0, dtype=np.float64)
            squares = np.square(pixels, dtype=np.float64).sum(axis=0)
        self.count += len(pixels)
        self.sums, self.squares = self.sums + sums, self.squares + squares

    @property
    def mean(self) -> NDArray[np.float64]:
        """Of each channel, in [0, 1]."""
        return self.sums / max(self.count, 1)

    @property
    def std(self) -> NDArray[np.float64]:
        """Of each channel, in [0, 1]; divided by the number of pixels, not by one less."""
        return np.sqrt(np.maximum(self.squares / max(self.count, 1) - self.mean**2, 0))


@dataclass
class SplitStatistics:
    """What a split's usable samples look like, at the size of their files, unaugmented.

    Args:
        class_names: name of id 0, 1, ...
        samples: how many were added.
        counts: per id, labelled pixels.
        rgb: of the visible images.
        x: of the second modality as it is read (16 bits and floats after scaling to [0, 1]).
    """

    class_names: tuple[str, ...]
    samples: int = 0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    rgb: Moments = field(default_factory=Moments)
    x: Moments = field(default_factory=Moments)

    def add(
        self,
        rgb: NDArray[np.uint8],
        x: NDArray[np.float32] | None,
        counts: NDArray[np.int64] | None,
    ) -> None:
        """Add a sample: its images, and the pixels of each id in its mask."""
        self.samples += 1
        self.rgb.add(rgb)
        if x is not None:
            self.x.add(x)
        if counts is not None:
            self.counts = self.counts + counts

    @property
    def class_frequencies(self) -> tuple[float, ...]:
        """Share of each class among the labelled pixels; empty where nothing is labelled."""
        total = int(self.counts.sum())
        return tuple((self.counts / total).tolist()) if total else ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for report.json; means and stds in [0, 1]."""
        shares = dict(zip(self.class_names, self.class_frequencies, strict=False))
        found: dict[str, Any] = {"samples": self.samples, "class_frequencies": shares}
        for name, moments in (("rgb", self.rgb), ("x", self.x)):
            if moments.count:
                found[f"{name}_mean"] = moments.mean.tolist()
                found[f"{name}_std"] = moments.std.tolist()
        return found
