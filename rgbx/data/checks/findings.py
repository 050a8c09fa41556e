"""What ``rgbx check-data`` found, as plain data."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgbx.data.checks.split_statistics import SplitStatistics
from rgbx.data.decoding.headers import Stored
from rgbx.data.splits.records import Problem, Record

__all__ = ["Report", "SplitReport"]

ImageArray = NDArray[np.uint8]


@dataclass
class SplitReport:
    """What was found in one split.

    Args:
        pairs: samples that can be used.
        expected: usual number, None if there is none.
        problems: each names a file.
        notes: what is odd about a file of a usable sample without breaking training.
        pixels: per class id, pixels in all masks of usable samples; the last entry counts 255.
        images: per class id, masks in which it occurs.
        x_sum, x_squares, x_count: sums over the second modality of usable samples in [0, 1].
        x_low, x_high: its smallest and largest value.
        grey_masks: of two-class masks, those in which more than 1 % of the pixels are neither
            within 0 to 8 nor within 247 to 255 (soft or wrongly scaled), with that share.
        bright_borders: number of two-class masks that are object along their border, but not
            everywhere.
        rgb_types, x_types: type of the values of each file of usable samples.
        records: all samples, to find those that are in two splits.
        thumbnails: small grey copies of the visible images, where asked for, and their files.
        remarks: what is odd about the split as a whole.
        rows: (title, image) of a few samples: rgb, x, mask over rgb.
        statistics: means, stds and class shares of the usable pairs, where asked for.
        box_sides: of detection data, boxes by the root of their area: up to 8, 16, 32, 64, 96, 128,
            256 and 512 pixels, and above.
    """

    pairs: int = 0
    expected: int | None = None
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    images: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    x_sum: float = 0.0
    x_squares: float = 0.0
    x_count: int = 0
    x_low: float = 1.0
    x_high: float = 0.0
    grey_masks: dict[str, float] = field(default_factory=dict)
    bright_borders: int = 0
    rgb_types: dict[Path, Stored] = field(default_factory=dict)
    x_types: dict[Path, Stored] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    thumbnails: dict[Path, NDArray[np.float32]] = field(default_factory=dict)
    rows: list[tuple[str, ImageArray]] = field(default_factory=list)
    statistics: SplitStatistics | None = None
    box_sides: NDArray[np.int64] = field(default_factory=lambda: np.zeros(9, dtype=np.int64))

    @property
    def kinds(self) -> Counter[str]:
        """Number of problems of each kind."""
        return Counter(problem.kind for problem in self.problems)

    @property
    def note_kinds(self) -> Counter[str]:
        """Number of notes of each kind."""
        return Counter(note.kind for note in self.notes)

    @property
    def x_mean(self) -> float:
        """Mean of the second modality."""
        return self.x_sum / max(self.x_count, 1)

    @property
    def x_std(self) -> float:
        """Standard deviation of the second modality."""
        return max(self.x_squares / max(self.x_count, 1) - self.x_mean**2, 0.0) ** 0.5

    def shares(self) -> NDArray[np.float64]:
        """Share of the labelled pixels of each class."""
        labelled = self.pixels[:-1]
        return labelled / max(int(labelled.sum()), 1)


@dataclass
class Report:
    """What was found in a data set.

    `shared` are images that are in two splits, `near_duplicates` those that look the same:
    (split, file, other split, file).
    """

    data: str
    root: str
    class_names: tuple[str, ...]
    splits: dict[str, SplitReport]
    breaking: list[str]
    warnings: list[str]
    shared: list[tuple[str, str, str, str]] = field(default_factory=list)
    near_duplicates: list[tuple[str, str, str, str]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for report.json."""
        return {
            "data": self.data,
            "root": self.root,
            "ok": not self.breaking,
            "breaking": self.breaking,
            "warnings": self.warnings,
            "shared": self.shared,
            "near_duplicates": self.near_duplicates,
            "splits": {name: self._split(report) for name, report in self.splits.items()},
        }

    def _split(self, report: SplitReport) -> dict[str, Any]:
        shares, images = report.shares(), report.images
        return {
            "pairs": report.pairs,
            "expected": report.expected,
            "problems": dict(report.kinds),
            "notes": dict(report.note_kinds),
            "noted": [note.text for note in report.notes],
            "class_share": dict(zip(self.class_names, shares.tolist(), strict=True)),
            "class_images": dict(zip(self.class_names, images.tolist(), strict=True)),
            "ignored_pixels": int(report.pixels[-1]),
            "x_range": [report.x_low, report.x_high] if report.x_count else None,
            "x_mean": report.x_mean,
            "x_std": report.x_std,
            "grey_masks": report.grey_masks,
            **({"box_sides": report.box_sides.tolist()} if report.box_sides.any() else {}),
            **({"statistics": report.statistics.as_dict()} if report.statistics else {}),
        }
