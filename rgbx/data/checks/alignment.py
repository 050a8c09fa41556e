"""How far the second modality lies from the visible image: the shift of every pair.

Edges of the same object agree in place and direction, whichever side of them is bright: hot and
cold, near and far turn a gradient round. So the two images are compared by their gradients squared
as complex numbers, which a change of sign leaves alone, each divided by the strength of its
neighbourhood, and the shift is the peak of their cross-correlation.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from rgbx.data.source import Source
from rgbx.data.splits.records import Record
from rgbx.data.transforms.augment import resize_image
from rgbx.disk import whole_file

__all__ = [
    "CERTAIN",
    "PairShift",
    "checkerboards",
    "describe_shifts",
    "estimate_shift",
    "shifts_of",
    "write_shifts",
]

#: peaks lower than this (in standard deviations of the correlation) may be chance
CERTAIN = 6.0
_BLUR, _NEIGHBOURHOOD = 1.5, 12.0  # pixels
_CELLS, _WIDTH = 8, 480  # of a checkerboard


@dataclass(frozen=True)
class PairShift:
    """Where X lies in one pair.

    Attributes:
        record: the pair.
        right: pixels of the visible image by which X lies too far to the right.
        down: likewise downwards.
        confidence: height of the correlation's peak in its standard deviations; see `CERTAIN`.
    """

    record: Record
    right: float
    down: float
    confidence: float

    @property
    def length(self) -> float:
        """Pixels."""
        return float(np.hypot(self.right, self.down))


def estimate_shift(
    rgb: NDArray[np.uint8], x: NDArray[np.float32], largest: int = 48
) -> tuple[float, float, float]:
    """How far X lies to the right of and below the visible image.

    Args:
        rgb: (H,W,3), 0 to 255.
        x: (H,W) or (H,W,3) in [0, 1].
        largest: shift that is looked for, in pixels; at most a quarter of the shorter side.

    Returns:
        right, down (fractions of pixels), and the confidence: 0 for an image without edges.
    """
    grey = x if x.ndim == 2 else np.asarray(x.mean(axis=2), dtype=np.float32)
    visible = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    height, width = grey.shape
    most = max(1, min(largest, height // 4, width // 4))
    size = (cv2.getOptimalDFTSize(height + most), cv2.getOptimalDFTSize(width + most))
    window = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    spectra = [np.fft.fft2(_directions(image) * window, size) for image in (visible, grey)]
    correlation = np.fft.ifft2(np.conj(spectra[0]) * spectra[1]).real
    near = np.roll(correlation, (most, most), (0, 1))[: 2 * most + 1, : 2 * most + 1]
    spread = float(near.std())
    if not spread > 0:
        return 0.0, 0.0, 0.0
    row, column = np.unravel_index(int(near.argmax()), near.shape)
    confidence = (float(near[row, column]) - float(near.mean())) / spread
    down = int(row) - most + _between(near[:, column], int(row))
    right = int(column) - most + _between(near[row], int(column))
    return right, down, confidence


def _directions(image: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Squared gradients (H,W) as complex numbers, of mean strength 1 around every pixel."""
    smooth = cv2.GaussianBlur(image, (0, 0), _BLUR)
    along, across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    strength = along**2 + across**2
    around = cv2.GaussianBlur(strength, (0, 0), _NEIGHBOURHOOD) + 1e-3 * strength.max() + 1e-12
    squared = (along + 1j * across) ** 2 / around
    return np.asarray(squared - squared.mean(), dtype=np.complex64)


def _between(line: NDArray[np.float64], peak: int) -> float:
    """Where a parabola through a peak and its neighbours is highest, from -0.5 to 0.5."""
    if not 0 < peak < len(line) - 1:
        return 0.0
    before, at, after = (float(v) for v in line[peak - 1 : peak + 2])
    bend = before - 2 * at + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0


def shifts_of(data: Source, records: Sequence[Record], split: str = "") -> list[PairShift]:
    """The shift of every pair; samples without X, or with an X of another size, are left out.

    Raises:
        SampleError: a file cannot be read.
    """
    found = []
    for record in tqdm(records, f"alignment of {split}", leave=False):
        rgb, x = data.read_images(record)
        size = (rgb.shape[0], rgb.shape[1])
        if x is not None and data.resize_x:
            x = resize_image(x, size)
        if x is not None and x.shape[:2] == size:
            found.append(PairShift(record, *estimate_shift(rgb, x)))
    return found


def describe_shifts(split: str, shifts: Sequence[PairShift], worst: int = 5) -> list[str]:
    """Median, 95th percentile and worst pairs, a line each.

    Args:
        split: name of the split.
        shifts: of its pairs; those that are not certain are counted and left out.
        worst: how many pairs are named.
    """
    certain = [shift for shift in shifts if shift.confidence >= CERTAIN]
    unsure = len(shifts) - len(certain)
    said = f"{split}: {len(shifts)} pairs" + f", {unsure} without a clear shift" * bool(unsure)
    if not certain:
        return [said]
    right, down = (np.median([getattr(s, axis) for s in certain]) for axis in ("right", "down"))
    lengths = [shift.length for shift in certain]
    lines = [
        f"{said}; X lies {right:+.1f} px to the right and {down:+.1f} px down (median); "
        f"distance: median {np.median(lengths):.1f} px, 95th percentile "
        f"{np.percentile(lengths, 95):.1f} px"
    ]
    furthest = sorted(certain, key=lambda one: -one.length)[:worst]
    return lines + [
        f"  {s.record.name}: {s.right:+.1f} px right, {s.down:+.1f} px down" for s in furthest
    ]


def checkerboards(data: Source, shifts: Sequence[PairShift], most: int = 6) -> NDArray[np.uint8]:
    """The pairs that are furthest apart, one below the other: as they are, and X moved back.

    Args:
        data: what they belong to.
        shifts: at least one.
        most: at most so many pairs.

    Returns:
        (h,w,3): cells of the visible image and of X in turn.
    """
    certain = [s for s in shifts if s.confidence >= CERTAIN] or list(shifts)
    rows = []
    for shift in sorted(certain, key=lambda one: -one.length)[:most]:
        rgb, x = data.read_images(shift.record)
        assert x is not None, "shifts are of pairs"
        size = (rgb.shape[0], rgb.shape[1])
        grey = resize_image(x if x.ndim == 2 else x.mean(axis=2, dtype=np.float32), size)
        grey = (grey - grey.min()) / max(float(np.ptp(grey)), 1e-8)
        back = np.array([[1, 0, -shift.right], [0, 1, -shift.down]], dtype=np.float32)
        moved = np.asarray(cv2.warpAffine(grey, back, (size[1], size[0])), dtype=np.float32)
        height = max(1, round(size[0] * _WIDTH / size[1]))
        panels = [_checkered(rgb, one, (height, _WIDTH)) for one in (grey, moved)]
        rows.append(np.concatenate(panels, axis=1))
    return np.concatenate(rows, axis=0)


def _checkered(
    rgb: NDArray[np.uint8], grey: NDArray[np.float32], size: tuple[int, int]
) -> NDArray[np.uint8]:
    rows, columns = (np.arange(side) * _CELLS // side for side in size)
    is_x = (rows[:, None] + columns[None]) % 2 == 1
    small = resize_image(rgb.astype(np.float32), size)
    other = resize_image(np.asarray(grey, dtype=np.float32), size)[..., None] * 255
    return np.rint(np.where(is_x[..., None], other, small)).astype(np.uint8)


def write_shifts(path: Path, shifts: Mapping[str, Sequence[PairShift]]) -> None:
    """``split, name, right, down, confidence`` of every pair."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("split", "name", "right", "down", "confidence"))
        for split, found in shifts.items():
            for s in found:
                numbers = (f"{v:.2f}" for v in (s.right, s.down, s.confidence))
                writer.writerow((split, s.record.name, *numbers))
