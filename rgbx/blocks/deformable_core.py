"""The core of multi-scale deformable attention: reading maps between their cells.

A place is read from the four cells around it, so what a head returns for a query is a weighted
sum of 4 L K rows of the (N, c) table of its values: an embedding bag. PyTorch's bag kernels fetch
whole rows (c neighbouring numbers) and keep nothing but the sums, so no tensor of samples
(B, M, c, Q, L K) ever exists. The gradient of the values is the transposed sum, a bag per cell
after sorting the reads by cell; nothing is added up in an order that chance decides, so the
result is deterministic on a GPU, too. Only the arguments are kept for the backward; one chunk of
heads at a time is worked on.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["deformable_attention"]

_PLACES = 2**14  # places per worker and chunk: a few MiB, so that a chunk stays in cache
_NUMBERS = 2**18  # of the rows that one worker fetches at a time for the gradient of the weights
_GPU_WORKERS = 64  # as many threads' share; fewer, larger kernels


def deformable_attention(
    value: Tensor, levels: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """Weighted sum of values read between the cells of several maps.

    Reading is bilinear with the cells' centres at (k + 0.5) / size and zeros outside. Everything
    is computed in float32 (float64 stays float64), whatever autocast says: in bfloat16 a location
    on a large map would be off by whole cells.

    Args:
        value: (B, N, M, c), the maps of all levels one after the other, each row-major.
        levels: (h, w) of every level; their h * w add up to N.
        locations: (B, Q, M, L, K, 2), (x, y) as shares of a level's width and height.
        weights: (B, Q, M, L, K).

    Returns:
        (B, Q, M * c) in value's dtype.
    """
    dtype = torch.promote_types(value.dtype, torch.float32)
    return _Reading.apply(value, tuple(levels), locations.to(dtype), weights.to(dtype))


class _Corners(NamedTuple):
    """The four cells around every place of m heads; dims of two are (low, high)."""

    rows: Tensor  # (m * Q, 4 * P): cells, (y, x, place), as rows of the heads' table (m * N, c)
    x: Tensor  # (2, m, Q, P): what a column counts for
    y: Tensor  # the same of a row
    slope_x: Tensor  # (2, m, Q, P): slope of x, in 1 / cell
    slope_y: Tensor

    def shares(self, weights: Tensor) -> Tensor:
        """What each cell counts for, (m * Q, 4 * P), with the places' weights (m, Q, P)."""
        return _bags(torch.mul, weights * self.y, self.x)


class _Reading(torch.autograd.Function):
    """`deformable_attention` and its gradients, chunk by chunk."""

    @staticmethod
    def forward(
        ctx: Any,
        value: Tensor,
        levels: tuple[tuple[int, int], ...],
        locations: Tensor,
        weights: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(value, locations, weights)
        ctx.levels = levels
        batch, queries, heads = locations.shape[:3]
        out = value.new_empty(batch, queries, heads, value.shape[-1])
        for image, some in _chunks(locations):
            table = _by_head(value[image, :, some], weights.dtype).flatten(0, 1)
            corners = _corners(locations[image, :, some], levels)
            shares = corners.shares(_by_head(weights[image, :, some]).flatten(-2))
            read = F.embedding_bag(corners.rows, table, mode="sum", per_sample_weights=shares)
            out[image, :, some] = _by_head(read.unflatten(0, (-1, queries)))
        return out.flatten(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        value, locations, weights = ctx.saved_tensors
        grad = grads[0].unflatten(-1, value.shape[2:])
        d_value = torch.empty_like(value, memory_format=torch.contiguous_format)
        d_locations, d_weights = (
            torch.empty_like(t, memory_format=torch.contiguous_format) for t in (locations, weights)
        )
        sizes = locations.new_tensor([(w, h) for h, w in ctx.levels])[:, None]
        for image, some in _chunks(locations):
            table = _by_head(value[image, :, some], weights.dtype)
            slope = _by_head(grad[image, :, some], weights.dtype)
            share = _by_head(weights[image, :, some]).flatten(-2)
            corners = _corners(locations[image, :, some], ctx.levels)
            cells = _add_up(corners.rows, corners.shares(share), slope, table.shape[1])
            d_value[image, :, some] = _by_head(cells)
            dots = _dots(table, corners.rows, slope)
            d_share, d_places = _along_axes(dots, corners)
            d_places = (d_places * share.unsqueeze(-1)).unflatten(2, weights.shape[3:])
            d_locations[image, :, some] = _by_head(d_places * sizes)
            d_weights[image, :, some] = _by_head(d_share.unflatten(2, weights.shape[3:]))
        return d_value, None, d_locations, d_weights


def _chunks(locations: Tensor) -> Iterator[tuple[int, slice]]:
    """An image and some of its heads, as many as stay within the budget."""
    batch, queries, heads, levels, points = locations.shape[:-1]
    budget = _PLACES * _workers(locations.device)
    together = max(1, budget // max(1, queries * levels * points))
    for image in range(batch):
        for first in range(0, heads, together):
            yield image, slice(first, first + together)


def _workers(device: torch.device) -> int:
    return torch.get_num_threads() if device.type == "cpu" else _GPU_WORKERS


def _by_head(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """(n, m, ...) <-> (m, n, ...), contiguous."""
    return tensor.transpose(0, 1).to(dtype or tensor.dtype).contiguous()


def _corners(locations: Tensor, levels: Sequence[tuple[int, int]]) -> _Corners:
    """The cells around the places (Q, m, L, K, 2) of m heads."""
    queries, heads, _, points, _ = locations.shape
    places = locations.permute(4, 1, 0, 2, 3).flatten(-2).contiguous()
    *starts, cells = accumulate((h * w for h, w in levels), initial=0)
    numbers = [(w, h, start) for (h, w), start in zip(levels, starts, strict=True)]
    constants = torch.tensor(numbers, dtype=torch.int32, device=locations.device)
    # as large as what they meet: a loop over P numbers at a time is slow
    constants = constants.repeat_interleave(points, dim=0).T[:, None].expand(-1, queries, -1)
    width, height, start = constants.contiguous()
    column, x, slope_x = _axis(places[0], width)
    row, y, slope_y = _axis(places[1], height)
    head = torch.arange(heads, dtype=torch.int32, device=locations.device) * cells
    row.mul_(width).add_(start).add_(head[:, None, None])
    return _Corners(_bags(torch.add, row, column), x, y, slope_x, slope_y)


def _axis(places: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The two cells around each place, along one axis.

    Args:
        places: (m, Q, P) as shares of the axis.
        size: (Q, P) number of cells.

    Returns:
        (2, m, Q, P) each: the cells (int32; 0 instead of one outside the map), what they count
        for, and that number's slope along the axis, in 1 / cell; both 0 outside the map.
    """
    places = places * size - 0.5
    low = places.floor()
    beyond = places - low
    cells = torch.stack([low, low + 1])
    inside = ((cells >= 0) & (cells < size)).to(places.dtype)
    shares = torch.stack([1 - beyond, beyond]).mul_(inside)
    # a NaN must not become a row that does not exist
    cells = cells.int().mul_(inside.bool())
    return cells, shares, torch.stack([-inside[0], inside[1]])


def _bags(combine: Callable[..., Tensor], y: Tensor, x: Tensor) -> Tensor:
    """Rows with columns (2, m, Q, P) each -> (m * Q, 4 * P), the reads of a query together."""
    _, heads, queries, places = x.shape
    out = x.new_empty(heads, queries, 2, 2, places)
    combine(y[:, None], x[None], out=out.permute(2, 3, 0, 1, 4))
    return out.view(heads * queries, 4 * places)


def _add_up(rows: Tensor, shares: Tensor, slope: Tensor, cells: int) -> Tensor:
    """Gradient of the values: every cell's reads, weighed and added.

    Args:
        rows: (m * Q, 4 * P) of the table, see `_Corners`.
        shares: the same shape.
        slope: (m, Q, c) gradient of the sums.
        cells: N.

    Returns:
        (m, N, c).
    """
    heads, width = slope.shape[0], slope.shape[-1]
    ordered, order = rows.flatten().sort()
    table = torch.arange(heads * cells, dtype=ordered.dtype, device=ordered.device)
    starts = torch.searchsorted(ordered, table)
    weights = shares.flatten().index_select(0, order)
    readers = order.div_(rows.shape[1], rounding_mode="floor")
    read = F.embedding_bag(
        readers, slope.flatten(0, 1), starts, mode="sum", per_sample_weights=weights
    )
    return read.view(heads, cells, width)


def _dots(table: Tensor, rows: Tensor, slope: Tensor) -> Tensor:
    """Product of each row that was read with the gradient of the sum that it went into.

    Args:
        table: (m, N, c).
        rows: (m * Q, 4 * P) of the table, see `_Corners`.
        slope: (m, Q, c) gradient of the sums.

    Returns:
        (2, 2, m, Q, P).
    """
    (heads, queries), (reads, width) = slope.shape[:2], (rows.shape[1], table.shape[-1])
    dots = torch.empty_like(rows, dtype=table.dtype)
    table = table.flatten(0, 1)
    together = max(1, _NUMBERS * _workers(table.device) // (reads * width))
    parts = (t.split(together) for t in (rows, slope.flatten(0, 1), dots))
    for some, upstream, out in zip(*parts, strict=True):
        fetched = table.index_select(0, some.flatten()).view(-1, reads, width)
        torch.sum(fetched.mul_(upstream[:, None]), dim=-1, out=out)
    return dots.view(heads, queries, 2, 2, -1).permute(2, 3, 0, 1, 4)


def _along_axes(dots: Tensor, corners: _Corners) -> tuple[Tensor, Tensor]:
    """From the corners' products (2, 2, m, Q, P) to the weights' and the places' gradients.

    Returns:
        (m, Q, P), and (m, Q, P, 2) along (x, y) in 1 / cell, without the places' weights.
    """
    by_row = dots[:, 0] * corners.x[0] + dots[:, 1] * corners.x[1]
    by_column = dots[0] * corners.y[0] + dots[1] * corners.y[1]
    along_x = (by_column * corners.slope_x).sum(0)
    along_y = (by_row * corners.slope_y).sum(0)
    return (by_row * corners.y).sum(0), torch.stack([along_x, along_y], dim=-1)
