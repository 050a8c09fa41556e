"""What saliency scores are counted from: 8-bit maps, their stretch, one histogram per quadrant."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

__all__ = ["Tally", "grey_levels", "level_values", "plain_levels", "tally"]

LEVELS = 256
_CELLS = 8  # 4 quadrants x (background, foreground)
_GLANCE = 1024
_NEAR_LEVEL = 1e-4  # of 255; float32 rounding of k / 255 * 255 stays below 4e-5


@dataclass(frozen=True)
class Tally:
    """The pixels of a batch; those that no score can tell apart are one entry (all on the CPU).

    The object's centroid cuts every image into four quadrants (the S-measure compares them one by
    one): rows < ``top`` and columns < ``left`` are quadrant 0, the columns from ``left`` on are 1,
    the rows from ``top`` on are 2 and 3.

    Attributes:
        cell: (N,) int64, (image * 4 + quadrant) * 2 + (1 in the object, 0 outside).
        value: (N,) float64 in [0, 1], the map after rounding and stretch.
        count: (N,) int64, pixels of the entry.
        top: (B,) int64, 1..H.
        left: (B,) int64, 1..W.
        maps: (B, H, W) map: uint8 levels, or float64 values where ``table`` is None.
        table: (B, 256) float64, value of every level, or None.
    """

    cell: Tensor
    value: Tensor
    count: Tensor
    top: Tensor
    left: Tensor
    maps: Tensor
    table: Tensor | None

    def values(self, image: int) -> Tensor:
        """The map of one image as it is scored: (H, W) float64, on the device of ``maps``."""
        if self.table is None:
            return self.maps[image]
        levels = self.maps[image]
        return (
            self.table[image]
            .to(levels.device)
            .index_select(0, levels.flatten().int())
            .view_as(levels)
        )

    def sums(self, weight: Tensor) -> Tensor:
        """Sum of ``weight`` (N,) over the pixels: (B, 4, 2) by quadrant and background/object."""
        total = torch.zeros(self.top.numel() * _CELLS, dtype=torch.float64)
        return total.index_add_(0, self.cell, weight * self.count).reshape(-1, 4, 2)

    @cached_property
    def pixels(self) -> Tensor:
        """Number of pixels: (B, 4, 2) float64."""
        return self.sums(torch.ones_like(self.value))

    @cached_property
    def totals(self) -> Tensor:
        """Sum of the values: (B, 4, 2) float64."""
        return self.sums(self.value)

    def histogram(self) -> Tensor:
        """Pixels by image, background/object and floor(255 * value): (B, 2, 256) int64."""
        bins = (self.value * 255).long()
        image, inside = self.cell // _CELLS, self.cell % 2
        total = torch.zeros(self.top.numel() * 2 * LEVELS, dtype=torch.int64)
        total.index_add_(0, (image * 2 + inside) * LEVELS + bins, self.count)
        return total.reshape(-1, 2, LEVELS)


def grey_levels(pred: Tensor, stretch: bool = True) -> Tensor:
    """The 8-bit image that stands for a float map: round(255 * map), halves to the even level.

    With ``stretch`` every map is first stretched to its own minimum and maximum,
    (map - min) / (max - min), as the released code of the saliency papers does before it saves a
    image. Two kinds of map are not stretched here: constant ones, and those that hold nothing
    but whole 255ths (to 1e-4 of a level), as they come from an image already: rounding these
    a second time would only add an error.

    Args:
        pred: (B, H, W) floating point, in [0, 1].
        stretch: Stretch before rounding.

    Returns:
        (B, H, W) uint8, on the device of ``pred``.
    """
    levels = torch.empty(pred.shape, dtype=torch.uint8, device=pred.device)
    for level, map_ in zip(levels, pred, strict=True):
        map_ = map_ if map_.dtype == torch.float64 else map_.float()
        low, high = map_.aminmax()
        if stretch and 0 < high - low < 1 and not _is_whole(map_):
            scaled = (map_ - low).div_(high - low).mul_(255)
        else:
            scaled = map_ * 255
        level.copy_(scaled.round_())
    return levels


def plain_levels(maps: Tensor, thresholds: Sequence[float] = ()) -> Tensor:
    """The 8-bit image of maps that are not stretched: round(255 * map).

    Rounding may carry a pixel over a threshold that it is scored at; such a level is moved by one,
    so that ``level / 255 > threshold`` holds where, and only where, ``map > threshold`` does.

    Args:
        maps: (..., H, W) floating point, in [0, 1].
        thresholds: that have to decide as on the map itself, in [0, 1).

    Returns:
        uint8 of the same shape, on the device of ``maps``.
    """
    levels = (maps * 255).round().int()
    for threshold in thresholds:
        below = int(threshold * 255 + 1e-9)  # the largest level that does not lie above
        above = maps > threshold
        levels = torch.where(above, levels.clamp(min=below + 1), levels.clamp(max=below))
    return levels.to(torch.uint8)


def _is_whole(map_: Tensor) -> bool:
    """Whether a map holds nothing but whole 255ths; a few pixels settle most cases."""
    for part in (map_.flatten()[:_GLANCE], map_):
        scaled = part * 255
        low, high = scaled.sub_(scaled.round()).aminmax()
        if max(-float(low), float(high)) >= _NEAR_LEVEL:
            return False
    return True


def level_values(levels: Tensor, stretch: bool) -> Tensor:
    """The value in [0, 1] that every grey level of every image stands for.

    Args:
        levels: (B, H, W) uint8.
        stretch: Take the darkest level of the image to 0 and the brightest to 1, unless they
            are the same; otherwise level / 255.

    Returns:
        (B, 256) float64, on the CPU; levels that do not occur are clipped to [0, 1].
    """
    values = (torch.arange(LEVELS, dtype=torch.float64) / 255).repeat(levels.shape[0], 1)
    if not stretch or not levels.shape[0]:
        return values
    flat = levels.flatten(1)
    low, high = (level.cpu().long()[:, None] for level in (flat.amin(dim=1), flat.amax(dim=1)))
    # In this order of operations, and not (level - low) / (high - low): the reference
    # implementation rounds so, and a floor(255 * value) follows.
    low, high = values.gather(1, low), values.gather(1, high)
    stretched = ((values - low) / (high - low)).clamp(0, 1)
    return torch.where(high > low, stretched, values)


def tally(pred: Tensor, target: Tensor, quantise: bool = True, stretch: bool = True) -> Tally:
    """Count the pixels of a batch once, for all scores but the weighted F.

    Args:
        pred: (B, H, W) floating point, in [0, 1].
        target: (B, H, W) bool, the object.
        quantise: Score ``grey_levels(pred, stretch)``; otherwise the map in float64.
        stretch: Stretch every map to [0, 1] unless it is constant.

    Returns:
        Entries per level (``quantise``) or per pixel.
    """
    top, left = _centroids(target)
    batch = target.shape[0]
    if not quantise:
        maps = _stretched(pred.double()) if stretch else pred.double()
        cells = [
            _cells(*image).cpu().long().flatten() for image in zip(target, top, left, strict=True)
        ]
        cell = torch.cat([index * _CELLS + cell for index, cell in enumerate(cells)])
        value = maps.flatten().cpu()
        return Tally(cell, value, torch.ones_like(cell), top.cpu(), left.cpu(), maps, None)
    levels = grey_levels(pred, stretch)
    table = level_values(levels, stretch)
    counts = []
    for level, *image in zip(levels, target, top, left, strict=True):
        codes = _cells(*image).mul_(LEVELS).add_(level)
        counts.append(torch.bincount(codes.flatten(), minlength=_CELLS * LEVELS))
    cell = torch.arange(batch * _CELLS).repeat_interleave(LEVELS)
    value = table[:, None].expand(batch, _CELLS, LEVELS).flatten()
    return Tally(cell, value, torch.cat(counts).cpu(), top.cpu(), left.cpu(), levels, table)


def _stretched(maps: Tensor) -> Tensor:
    """Every map to its own minimum and maximum; constant ones stay as they are."""
    if not maps.numel():
        return maps
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return torch.where(high > low, (maps - low) / torch.where(high > low, high - low, 1.0), maps)


def _centroids(target: Tensor) -> tuple[Tensor, Tensor]:
    """First row and column behind the object's centroid (B,); the middle where there is none.

    The centroid is rounded, halves to the even pixel, and belongs to the first part.
    """
    height, width = target.shape[1:]
    # int32: a sum of bool is taken over an int64 copy, which costs more than the sum
    rows, columns = target.sum(dim=2, dtype=torch.int32), target.sum(dim=1, dtype=torch.int32)
    pixels = rows.sum(dim=1)
    parts = []
    for profile, length in ((rows, height), (columns, width)):
        moment = (profile * torch.arange(length, device=target.device)).sum(dim=1)
        parts.append(_rounded_ratio(moment, pixels, length // 2) + 1)
    return parts[0], parts[1]


def _rounded_ratio(numerator: Tensor, denominator: Tensor, otherwise: int) -> Tensor:
    """Quotient of int64 tensors rounded half to even; ``otherwise`` where divided by 0."""
    safe = denominator.clamp(min=1)
    whole, twice = numerator // safe, 2 * (numerator % safe)
    up = (twice > safe) | ((twice == safe) & (whole % 2 == 1))
    return torch.where(denominator > 0, whole + up, otherwise)


def _cells(target: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Quadrant * 2 + target of one image's pixels: (H, W) int16, quick to count."""
    height, width = target.shape
    lower = torch.arange(height, device=target.device) >= top
    right = torch.arange(width, device=target.device) >= left
    rows, columns = lower.short() * 4, right.short() * 2
    return (rows[:, None] + columns).add_(target)
