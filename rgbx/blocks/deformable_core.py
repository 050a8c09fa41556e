"""The core of multi-scale deformable attention: reading maps between their cells.

A place is read from the four cells around it, so what a head returns for a query is a weighted
sum of 4 L K rows of the (N, c) table of its values: an embedding bag. PyTorch's bag kernels fetch
whole rows (c neighbouring numbers) and keep nothing but the sums, so no tensor of samples
(B, M, c, Q, L K) ever exists. The gradient of the values is the transposed sum, a bag per cell
after sorting the reads by cell; no two threads add to one number. Only the arguments are kept for
the backward. A few heads at a time are worked on, all their places in one operation: with many
small operations threads would wait for each other more than they work.

Graphs that leave Python (`torch.export`, ONNX) hold `sampled_attention` instead: the same sum in
operators that other programs know.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["deformable_attention", "sampled_attention"]

_PLACES = 2**17  # per chunk; 20 MiB of working memory forward, 40 backward


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
    if torch.compiler.is_compiling():
        read = sampled_attention(value.to(dtype), levels, locations.to(dtype), weights.to(dtype))
        return read.to(value.dtype)
    return _Reading.apply(value, tuple(levels), locations.to(dtype), weights.to(dtype))


def sampled_attention(
    value: Tensor, levels: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """`deformable_attention` by one `grid_sample` per level; all arguments of one dtype.

    It keeps a tensor of samples (B M, c, Q, K) of one level at a time.
    """
    heads = value.shape[2]
    tables = value.permute(0, 2, 3, 1).flatten(0, 1).split([h * w for h, w in levels], dim=-1)
    places = (2 * locations - 1).transpose(1, 2).flatten(0, 1).unbind(2)
    shares = weights.transpose(1, 2).flatten(0, 1)[:, None].unbind(3)
    sums = [
        (F.grid_sample(table.unflatten(-1, size), grid, align_corners=False) * share).sum(-1)
        for table, size, grid, share in zip(tables, levels, places, shares, strict=True)
    ]
    out = torch.stack(sums).sum(0).unflatten(0, (-1, heads))
    return out.permute(0, 3, 1, 2).flatten(2)


class _Corners(NamedTuple):
    """The four cells around every place of m heads; first dims of two are (low, high)."""

    rows: Tensor  # (m * Q, 4 * P) int32: cells, (y, x, place), as rows of the table (m * N, c)
    x: Tensor  # (2, m, Q, P): what a column counts for
    y: Tensor  # the same of a row
    inside_x: Tensor  # (2, m, Q, P) bool: the column is on the map
    inside_y: Tensor

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
            read = _bag_sums(corners.rows, table, shares)
            out[image, :, some] = _by_head(read.unflatten(0, (-1, queries)))
        return out.flatten(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        value, locations, weights = ctx.saved_tensors
        grad = grads[0].unflatten(-1, value.shape[2:])
        d_value, d_locations, d_weights = (
            torch.empty_like(t, memory_format=torch.contiguous_format)
            for t in (value, locations, weights)
        )
        sizes = locations.new_tensor([(w, h) for h, w in ctx.levels])[:, None]
        for image, some in _chunks(locations):
            share = _by_head(weights[image, :, some])
            corners = _corners(locations[image, :, some], ctx.levels)
            slope = _by_head(grad[image, :, some], weights.dtype).flatten(0, 1)
            table = _by_head(value[image, :, some], weights.dtype).flatten(0, 1)
            shares = corners.shares(share.flatten(-2))
            d_shares = _d_shares(corners.rows, table, shares, slope)
            d_table = _d_table(corners.rows, len(table), shares, slope)
            d_value[image, :, some] = _by_head(d_table.unflatten(0, (-1, value.shape[1])))
            d_share, d_places = _along_axes(d_shares, corners)
            d_places = d_places.unflatten(2, share.shape[2:]) * share.unsqueeze(-1)
            d_locations[image, :, some] = _by_head(d_places.mul_(sizes))
            d_weights[image, :, some] = _by_head(d_share.view_as(share))
        return d_value, None, d_locations, d_weights


def _chunks(locations: Tensor) -> Iterator[tuple[int, slice]]:
    """An image and some of its heads, as many as stay within the budget, evenly shared out."""
    batch, queries, heads, levels, points = locations.shape[:-1]
    most = max(1, _PLACES // max(1, queries * levels * points))
    turns = -(-heads // most)
    together = -(-heads // turns)
    for image in range(batch):
        for first in range(0, heads, together):
            yield image, slice(first, first + together)


def _by_head(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """(n, m, ...) <-> (m, n, ...), contiguous."""
    return tensor.transpose(0, 1).to(dtype or tensor.dtype).contiguous()


def _corners(locations: Tensor, levels: Sequence[tuple[int, int]]) -> _Corners:
    """The cells around the places (Q, m, L, K, 2) of m heads."""
    queries, heads, _, points, _ = locations.shape
    *starts, total = accumulate((h * w for h, w in levels), initial=0)
    numbers = [(w, h, start) for (h, w), start in zip(levels, starts, strict=True)]
    constants = torch.tensor(numbers, dtype=torch.int32, device=locations.device)
    # as large as what they meet: PyTorch is slow in loops over P numbers at a time
    constants = constants.repeat_interleave(points, dim=0).T[:, None].expand(-1, queries, -1)
    constants = constants.contiguous()
    sizes = constants[:2, None].to(locations.dtype)
    head = torch.arange(heads, dtype=torch.int32, device=locations.device) * total
    corner = locations.new_tensor([0.0, 1.0]).view(2, 1, 1, 1, 1)

    places = locations.permute(4, 1, 0, 2, 3).flatten(-2) * sizes - 0.5
    low = places.floor()
    shares = ((places - low) + (corner - 1)).abs_()  # 1 - beyond, beyond
    cells = low + corner
    inside = (cells >= 0) & (cells < sizes)
    shares.mul_(inside)
    # 0 instead of a cell that is not there, also where a place is no number
    column, row = cells.int().mul_(inside).unbind(1)
    row = torch.addcmul(head[:, None, None] + constants[2], row, constants[0])
    return _Corners(_bags(torch.add, row, column), *shares.unbind(1), *inside.unbind(1))


def _bags(combine: Callable[..., Tensor], y: Tensor, x: Tensor) -> Tensor:
    """Rows with columns (2, m, Q, P) each -> (m * Q, 4 * P), the reads of a query together."""
    _, heads, queries, places = x.shape
    out = x.new_empty(heads, queries, 2, 2, places)
    combine(y[:, None], x[None], out=out.permute(2, 3, 0, 1, 4))
    return out.view(heads * queries, 4 * places)


def _bag_sums(rows: Tensor, table: Tensor, shares: Tensor) -> Tensor:
    """Rows of the table (R, c), by bags (n, 4 * P), weighed and added -> (n, c)."""
    return F.embedding_bag(rows, table, mode="sum", per_sample_weights=shares)


def _d_shares(rows: Tensor, table: Tensor, shares: Tensor, slope: Tensor) -> Tensor:
    """Gradient of `_bag_sums` to the shares, given the one to the sums (n, c)."""
    with torch.enable_grad():
        shares = shares.detach().requires_grad_()
        return torch.autograd.grad(_bag_sums(rows, table, shares), shares, slope)[0]


def _d_table(rows: Tensor, size: int, shares: Tensor, slope: Tensor) -> Tensor:
    """Gradient of `_bag_sums` to the table: every row's readers, weighed and added -> (R, c)."""
    ordered, order = rows.flatten().sort(stable=True)
    starts = torch.searchsorted(
        ordered, torch.arange(size, dtype=ordered.dtype, device=ordered.device)
    )
    weights = shares.flatten().index_select(0, order)
    readers = order.div_(rows.shape[1], rounding_mode="floor")
    return F.embedding_bag(readers, slope, starts, mode="sum", per_sample_weights=weights)


def _along_axes(d_shares: Tensor, corners: _Corners) -> tuple[Tensor, Tensor]:
    """From the gradient of the shares (m * Q, 4 * P) to those of weights and places.

    Returns:
        (m, Q, P), and (m, Q, P, 2) along (x, y) in 1 / cell, without the places' weights.
    """
    _, x, y, inside_x, inside_y = corners
    _, heads, queries, places = x.shape
    grid = d_shares.view(heads, queries, 2, 2, places).permute(2, 3, 0, 1, 4)
    by_row = torch.addcmul(grid[:, 0] * x[0], grid[:, 1], x[1])
    by_column = torch.addcmul(grid[0] * y[0], grid[1], y[1])
    weight = torch.addcmul(by_row[0] * y[0], by_row[1], y[1])
    left, right = by_column.mul_(inside_x)
    top, bottom = by_row.mul_(inside_y)
    return weight, torch.stack([right - left, bottom - top], dim=-1)
