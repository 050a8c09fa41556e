"""What saliency scores are counted from: 8-bit maps, their stretch, one histogram per quadrant."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Tally", "grey_levels", "level_values", "tally"]

LEVELS = 256
_CELLS = 8  # 4 quadrants x (background, foreground)
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
        """Sum of ``weight`` (N,) times the pixels: (B, 4, 2) by quadrant and background/object."""
        total = torch.zeros(self.top.numel() * _CELLS, dtype=weight.dtype)
        return total.index_add_(0, self.cell, weight * self.count).reshape(-1, 4, 2)

    def histogram(self) -> Tensor:
        """Pixels by image, background/object and floor(255 * value): (B, 2, 256) int64."""
        bins = (self.value * 255).long()
        image, inside = self.cell // _CELLS, self.cell % 2
        total = torch.zeros(self.top.numel() * 2 * LEVELS, dtype=torch.int64)
        total.index_add_(0, (image * 2 + inside) * LEVELS + bins, self.count)
        return total.reshape(-1, 2, LEVELS)


def grey_levels(pred: Tensor, stretch: bool = True) -> Tensor:
    """The 8-bit picture that stands for a float map: round(255 * map), halves to the even level.

    With ``stretch`` every map is first stretched to its own minimum and maximum,
    (map - min) / (max - min), as the released code of the saliency papers does before it saves a
    picture. Two kinds of map are not stretched here: constant ones, and those that hold nothing
    but whole 255ths (to 1e-4 of a level), as they come from a picture already: rounding these
    a second time would only add an error.

    Args:
        pred: (B, H, W) floating point, in [0, 1].
        stretch: Stretch before rounding.

    Returns:
        (B, H, W) uint8, on the device of ``pred``.
    """
    flat = pred.flatten(1)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    scaled = flat * 255
    levels = scaled.round()
    if stretch and flat.shape[0]:
        low, high = flat.amin(dim=1, keepdim=True), flat.amax(dim=1, keepdim=True)
        kept = (low == high) | ((scaled - levels).abs_().amax(dim=1, keepdim=True) < _NEAR_LEVEL)
        if not bool(kept.all()):
            span = torch.where(kept, 1.0, high - low)
            levels = torch.where(kept, levels, (flat - low).div_(span).mul_(255).round_())
    return levels.to(torch.uint8).reshape(pred.shape)


def level_values(levels: Tensor, stretch: bool) -> Tensor:
    """The value in [0, 1] that every grey level of every picture stands for.

    Args:
        levels: (B, H, W) uint8.
        stretch: Take the darkest level of the picture to 0 and the brightest to 1, unless they
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
    cells = _cells(target, top, left)
    batch = target.shape[0]
    if not quantise:
        maps = pred.double() if pred.device.type != "mps" else pred.cpu().double()
        maps = _stretched(maps) if stretch else maps
        value, cell = maps.flatten().cpu(), cells.flatten().cpu().long()
        return Tally(cell, value, torch.ones_like(cell), top.cpu(), left.cpu(), maps, None)
    levels = grey_levels(pred, stretch)
    table = level_values(levels, stretch)
    codes = cells.mul_(LEVELS).add_(levels).flatten()
    count = torch.bincount(codes, minlength=batch * _CELLS * LEVELS).cpu()
    cell = torch.arange(batch * _CELLS).repeat_interleave(LEVELS)
    value = table[:, None].expand(batch, _CELLS, LEVELS).flatten()
    return Tally(cell, value, count, top.cpu(), left.cpu(), levels, table)


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
    parts = []
    pixels = target.flatten(1).sum(dim=1)
    for axis, length in ((2, target.shape[1]), (1, target.shape[2])):
        profile = target.sum(dim=axis)
        position = torch.arange(length, device=target.device)
        # Whole numbers up to the quotient: float32 holds it exactly enough only below 2**24.
        moment = (profile * position).sum(dim=1)
        parts.append(_rounded_ratio(moment, pixels, length // 2) + 1)
    return parts[0].clamp(max=target.shape[1]), parts[1].clamp(max=target.shape[2])


def _rounded_ratio(numerator: Tensor, denominator: Tensor, otherwise: int) -> Tensor:
    """Quotient of int64 tensors rounded half to even; ``otherwise`` where divided by 0."""
    safe = denominator.clamp(min=1)
    whole, twice = numerator // safe, 2 * (numerator % safe)
    up = (twice > safe) | ((twice == safe) & (whole % 2 == 1))
    return torch.where(denominator > 0, whole + up, otherwise)


def _cells(target: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """(image * 4 + quadrant) * 2 + target of every pixel: (B, H, W) int32."""
    batch, height, width = target.shape
    device = target.device
    lower = torch.arange(height, device=device) >= top[:, None]
    right = torch.arange(width, device=device) >= left[:, None]
    image = torch.arange(batch, device=device, dtype=torch.int32)[:, None]
    rows = (image * 4 + lower.int() * 2) * 2
    return (rows[:, :, None] + (right.int() * 2)[:, None, :]).add_(target)
