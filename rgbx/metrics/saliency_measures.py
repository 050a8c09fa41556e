"""MAE, S-, E- and F-measure and overlap of every image, from its tally (float64, on the CPU)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rgbx.metrics.saliency_maps import Tally

__all__ = [
    "Hits",
    "adaptive_hits",
    "alignment",
    "curve_hits",
    "f_measure",
    "fixed_hits",
    "mean_absolute_error",
    "overlap",
    "precision_recall",
    "s_measure",
]

BETA_SQUARED = 0.3
_EPS = 2.0**-52
# Two sums of the same pixels in another order differ by less than this.
_ROUNDING = 1e-11


@dataclass(frozen=True)
class Hits:
    """What binary maps of a batch hit.

    Attributes:
        inside: (B, T) float64, pixels of the object at or above threshold t.
        outside: (B, T) float64, the same outside the object.
        object: (B, 1) float64, pixels of the object.
        size: (B, 1) float64, pixels of the image.
    """

    inside: Tensor
    outside: Tensor
    object: Tensor
    size: Tensor

    def __add__(self, other: "Hits") -> "Hits":
        """The thresholds of both, of the same images."""
        inside = torch.cat([self.inside, other.inside], dim=1)
        outside = torch.cat([self.outside, other.outside], dim=1)
        return Hits(inside, outside, self.object, self.size)


def curve_hits(tally: Tally) -> Hits:
    """Hits at the thresholds 0, 1, ... 255 of 255: T = 256.

    A pixel belongs to the binary map if floor(255 * value) >= threshold.
    """
    histogram = tally.histogram()
    hits = histogram.flip(-1).cumsum(dim=-1).flip(-1).double()
    pixels = histogram.sum(dim=-1).double()
    return Hits(hits[:, 1], hits[:, 0], pixels[:, 1:], pixels.sum(dim=1, keepdim=True))


def adaptive_hits(tally: Tally) -> Hits:
    """Hits where value >= min(1, 2 * mean of the map): T = 1."""
    pixels = tally.pixels.sum(dim=1)
    means = tally.totals.sum(dim=(1, 2)) / pixels.sum(dim=1)
    threshold = (2 * means).clamp(max=1)
    image = tally.cell // 8
    gap = (tally.value - threshold[image]).abs()
    # A level on the threshold, to rounding, is decided by the order of the reference's sum; at
    # 0 and 1 the sums are exact or do not matter.
    tied = (gap < _ROUNDING) & (tally.count > 0) & (tally.value > 0) & (tally.value < 1)
    for index in image[tied].unique().tolist():
        threshold[index] = min(2 * float(np.mean(tally.values(index).cpu().numpy())), 1.0)
    return _hits(tally, tally.value >= threshold[image])


def fixed_hits(tally: Tally) -> Hits:
    """Hits where value > 0.5: T = 1."""
    return _hits(tally, tally.value > 0.5)


def _hits(tally: Tally, chosen: Tensor) -> Hits:
    hits = tally.sums(chosen.double()).sum(dim=1)
    pixels = tally.pixels.sum(dim=1)
    return Hits(hits[:, 1:], hits[:, :1], pixels[:, 1:], pixels.sum(dim=1, keepdim=True))


def mean_absolute_error(tally: Tally) -> Tensor:
    """Mean of |value - target| over the pixels: (B,)."""
    pixels = tally.pixels.sum(dim=(1, 2))
    return tally.sums((tally.value - tally.cell % 2).abs()).sum(dim=(1, 2)) / pixels


def precision_recall(hits: Hits) -> tuple[Tensor, Tensor]:
    """Precision and recall (B, T) each; 0 where nothing is chosen or there is no object."""
    chosen = (hits.inside + hits.outside).clamp(min=1)
    return hits.inside / chosen, hits.inside / hits.object.clamp(min=1)


def f_measure(hits: Hits) -> Tensor:
    """F-measure with beta^2 = 0.3: (B, T); 0 without a hit.

    Source: Achanta et al., "Frequency-tuned Salient Region Detection", CVPR 2009, Eq. 7.
    """
    chosen = hits.inside + hits.outside
    both = (BETA_SQUARED * hits.object + chosen).clamp(min=BETA_SQUARED)
    return (1 + BETA_SQUARED) * hits.inside / both


def alignment(hits: Hits) -> Tensor:
    """Enhanced-alignment measure (E): (B, T).

    Both binary maps are centred on their means p and g. Each of the four kinds of pixel (chosen
    or not, object or not) has one alignment 2ab / (a^2 + b^2), with a one of 1 - p, -p and b one
    of 1 - g, -g, and counts ((alignment + 1) / 2)^2. Without any object pixel the share of pixels
    not chosen counts, without any background the share chosen. The sum is divided by
    size - 1 (by 1 for an image of one pixel), so a perfect map scores slightly more than 1.

    Source: Fan et al., "Enhanced-alignment Measure for Binary Foreground Map Evaluation",
    IJCAI 2018, Eq. 2 to 4.
    """
    chosen = hits.inside + hits.outside
    left = hits.size - chosen
    missed = hits.object - hits.inside
    p, g = chosen / hits.size, hits.object / hits.size
    kinds = (
        (hits.inside, 1 - p, 1 - g),
        (hits.outside, 1 - p, -g),
        (missed, -p, 1 - g),
        (left - missed, -p, -g),
    )
    total = torch.zeros_like(chosen)
    for pixels, a, b in kinds:
        aligned = 2 * a * b / (a.square() + b.square() + _EPS)
        total += pixels * (aligned + 1).square() / 4
    total = torch.where(hits.object == 0, left, total)
    total = torch.where(hits.object == hits.size, chosen, total)
    return total / (hits.size - 1).clamp(min=1)


def overlap(hits: Hits) -> tuple[Tensor, Tensor]:
    """IoU and Dice (B, T) each; 0 where neither an object is there nor a pixel is chosen."""
    both = hits.inside + hits.outside + hits.object
    union = (both - hits.inside).clamp(min=1)
    return hits.inside / union, 2 * hits.inside / both.clamp(min=1)


def s_measure(tally: Tally) -> Tensor:
    """Structure measure (S), alpha = 0.5: (B,).

    Half of it compares object and background each with a constant map, half compares the four
    quadrants around the object's centroid by luminance, contrast and structure. Never below 0.
    Without object the mean of 1 - value, without background the mean of the value. A quadrant
    without pixels (object in the last row or column) counts nothing, where the reference
    implementation returns NaN.

    Source: Fan et al., "Structure-measure: A New Way to Evaluate Foreground Maps", ICCV 2017.
    """
    pixels = tally.pixels
    total = tally.totals
    ground = pixels.sum(dim=1)
    size = ground.sum(dim=1)
    mean = total.sum(dim=(1, 2)) / size
    score = (_object_part(tally, total, ground) + _region_part(tally, total, pixels)) / 2
    score = score.clamp(min=0)
    score = torch.where(ground[:, 1] == 0, 1 - mean, score)
    return torch.where(ground[:, 0] == 0, mean, score)


def _object_part(tally: Tally, total: Tensor, ground: Tensor) -> Tensor:
    """Mean of 2m / (m^2 + 1 + s) of object and background, by area: (B,).

    m and s are mean and standard deviation of the value, in the background of 1 - value.
    """
    mean = total.sum(dim=1) / ground.clamp(min=1)
    own = mean.flatten()[tally.cell // 8 * 2 + tally.cell % 2]
    squares = tally.sums((tally.value - own).square()).sum(dim=1)
    std = (squares / (ground - 1).clamp(min=1)).sqrt()
    mean = torch.stack([1 - mean[:, 0], mean[:, 1]], dim=1)
    score = 2 * mean / (mean.square() + 1 + std + _EPS)
    return (score * ground).sum(dim=1) / ground.sum(dim=1)


def _region_part(tally: Tally, total: Tensor, pixels: Tensor) -> Tensor:
    """Similarity of value and target in the four quadrants, by area: (B,)."""
    size = pixels.sum(dim=2)
    ground = pixels[..., 1]
    x = total.sum(dim=2) / size.clamp(min=1)
    y = ground / size.clamp(min=1)
    quadrant = tally.cell // 2
    centred = tally.value - x.flatten()[quadrant]
    degrees = (size - 1).clamp(min=_EPS)
    by_ground = tally.sums(centred)
    covariance = (by_ground[..., 1] * (1 - y) - by_ground[..., 0] * y) / degrees
    variance_x = tally.sums(centred.square()).sum(dim=2) / degrees
    variance_y = ground * (1 - y) / degrees
    numerator = 4 * x * y * covariance
    score = numerator / ((x.square() + y.square()) * (variance_x + variance_y) + _EPS)
    low, high = _extremes(tally)
    # Where the target is constant nothing can vary together: 1 if the map is constant, too.
    plain = (ground == 0) | (ground == size)
    score = torch.where(plain, 0.0, score)
    for image, part in (plain & (low == high)).nonzero().tolist():
        score[image, part] = _sees_constant(tally, image, part, float(low[image, part]))
    return (score * size).sum(dim=1) / size.sum(dim=1)


def _extremes(tally: Tally) -> tuple[Tensor, Tensor]:
    """Smallest and largest value per quadrant (B, 4); inf and -inf where it is empty."""
    seen = tally.count > 0
    quadrant, value = (tally.cell // 2)[seen], tally.value[seen]
    bounds = []
    for kind, start in (("amin", float("inf")), ("amax", float("-inf"))):
        bound = torch.full((tally.top.numel() * 4,), start, dtype=torch.float64)
        bounds.append(bound.scatter_reduce(0, quadrant, value, kind).reshape(-1, 4))
    return bounds[0], bounds[1]


def _sees_constant(tally: Tally, image: int, part: int, value: float) -> bool:
    """Whether the mean of a constant quadrant is its value to the last bit.

    The reference implementation takes a quadrant for constant only if the mean that numpy rounds
    equals the pixels. For 0 and 1 it always does; for other values that depends on the number of
    pixels and the order in which numpy sums a part of an image, so numpy is asked.
    """
    if value in (0.0, 1.0):
        return True
    top, left = int(tally.top[image]), int(tally.left[image])
    rows = slice(0, top) if part < 2 else slice(top, None)
    columns = slice(0, left) if part % 2 == 0 else slice(left, None)
    panel = np.full(tuple(tally.maps.shape[1:]), value)
    return bool(np.mean(panel[rows, columns]) == value)
