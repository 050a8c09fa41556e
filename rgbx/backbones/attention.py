"""Exact attention with decomposed relative positions, without an N x N tensor per head.

SAM's image encoder adds to every logit two terms that depend on the query and on the row or the
column of the key (the decomposed relative positions of MViTv2, arXiv 2112.01526):

    logit(i, j) = q_i . k_j / sqrt(d) + rel_h(i, row of j) + rel_w(i, column of j)

Two forms of the same sum are used, whichever is the faster one on the device at hand (graphs that
leave Python hold the second one: the first is a loop over sizes with a backward of its own):

* `chunked_attention` (CPU): the bias is materialised for a few heads or queries at a time, small
  enough to stay in cache, and given to the fused kernel as an additive mask; its backward walks
  the same chunks. Half the time of the widened form on a CPU, where a wider head costs real work.
* `widened_attention` (everything else): q carries its rel_h and rel_w terms as extra channels and
  k carries one-hot row and column codes, so the dot product itself adds the bias and the flash
  kernels of the accelerator run without a mask.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_CHUNK = 2**19  # logits per thread and chunk: 2 MiB in float32, so that a chunk stays in cache
_FLASH_WIDTH = 256  # widest head of the flash kernels


def relative_table(table: Tensor, size: int) -> Tensor:
    """Rows of a relative-position table for every pair (query, key) along one axis.

    Args:
        table: (L, d), L = 2 * pretrained length - 1; resized linearly when `size` differs.
        size: number of tokens along the axis.

    Returns:
        (size, size, d): entry [i, j] belongs to query i and key j (row i - j + size - 1).
    """
    if table.shape[0] != 2 * size - 1:
        rows = table.t().unsqueeze(0)
        table = F.interpolate(rows, size=2 * size - 1, mode="linear").squeeze(0).t()
    steps = torch.arange(size, device=table.device)
    return table[steps[:, None] - steps[None, :] + size - 1]


def relative_terms(
    q: Tensor, table_h: Tensor, table_w: Tensor, grid: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The query's share of the decomposed bias (SAM: on the unscaled query).

    Args:
        q: (B, heads, h * w, d), tokens in row-major order.
        table_h: (Lh, d) vertical table.
        table_w: (Lw, d) horizontal table.
        grid: (h, w) in tokens.

    Returns:
        rel_h (B, heads, h * w, h) and rel_w (B, heads, h * w, w).
    """
    batch, heads, tokens, width = q.shape
    h, w = grid
    rows = q.reshape(batch * heads, h, w, width)
    rel_h = rows @ relative_table(table_h, h).transpose(1, 2)
    rel_w = rows.transpose(1, 2) @ relative_table(table_w, w).transpose(1, 2)
    return (
        rel_h.reshape(batch, heads, tokens, h),
        rel_w.transpose(1, 2).reshape(batch, heads, tokens, w),
    )


def biased_attention(q: Tensor, k: Tensor, v: Tensor, rel_h: Tensor, rel_w: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d) + rel_h + rel_w) v by the form that suits the device.

    Args:
        q: (B, heads, N, d) queries, unscaled.
        k: (B, heads, N, d) keys, N = h * w in row-major order.
        v: (B, heads, N, d) values.
        rel_h: (B, heads, N, h), see `relative_terms`.
        rel_w: (B, heads, N, w).

    Returns:
        (B, heads, N, d).
    """
    if q.device.type == "meta":  # where operations are counted, not done: as they are written above
        return F.scaled_dot_product_attention(q, k, v, attn_mask=_bias(rel_h, rel_w))
    if q.device.type == "cpu" and not torch.compiler.is_compiling():
        return chunked_attention(q, k, v, rel_h, rel_w)
    return widened_attention(q, k, v, rel_h, rel_w)


def widened_attention(q: Tensor, k: Tensor, v: Tensor, rel_h: Tensor, rel_w: Tensor) -> Tensor:
    """`biased_attention` with the bias folded into the dot product (arguments as there).

    The head grows from d to d + h + w, rounded up to a multiple of 8 as flash kernels ask. They
    also want v of that width, so in half precision v is padded with zeros; the memory-efficient
    kernel that serves float32 takes v as it is.
    """
    width, (h, w) = q.shape[-1], (rel_h.shape[-1], rel_w.shape[-1])
    codes = torch.cat(
        (
            torch.eye(h, device=k.device, dtype=k.dtype).repeat_interleave(w, 0),
            torch.eye(w, device=k.device, dtype=k.dtype).repeat(h, 1),
        ),
        dim=-1,
    ).expand(*k.shape[:-1], h + w)
    spare = -(width + h + w) % 8
    wide_q = F.pad(torch.cat((q * width**-0.5, rel_h.to(q), rel_w.to(q)), dim=-1), (0, spare))
    wide_k = F.pad(torch.cat((k, codes), dim=-1), (0, spare))
    if q.dtype in (torch.float16, torch.bfloat16) and wide_q.shape[-1] <= _FLASH_WIDTH:
        v = F.pad(v, (0, wide_q.shape[-1] - v.shape[-1]))
    return F.scaled_dot_product_attention(wide_q, wide_k, v, scale=1.0)[..., :width]


def chunked_attention(q: Tensor, k: Tensor, v: Tensor, rel_h: Tensor, rel_w: Tensor) -> Tensor:
    """`biased_attention` by additive masks of bounded size (arguments as there)."""
    flat = [t.to(q.dtype).flatten(0, 1) for t in (q, k, v, rel_h, rel_w)]
    return _Chunked.apply(*flat).view(q.shape)


class _Chunked(torch.autograd.Function):
    """Chunked forward, and a backward that recomputes each chunk's softmax.

    Autograd would keep every mask and every softmax, which is the N x N memory that the chunks
    avoid; and no fused CPU kernel returns the gradient of a mask.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        rel_h: Tensor,
        rel_w: Tensor,
    ) -> Tensor:
        out = torch.empty_like(q, memory_format=torch.contiguous_format)
        for heads, rows in _chunks(q.shape[0], q.shape[1]):
            out[heads, rows] = F.scaled_dot_product_attention(
                q[heads, None, rows],
                k[heads, None],
                v[heads, None],
                attn_mask=_bias(rel_h[heads, rows], rel_w[heads, rows])[:, None],
            )[:, 0]
        ctx.save_for_backward(q, k, v, rel_h, rel_w, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        q, k, v, rel_h, rel_w, out = ctx.saved_tensors
        (grad,) = grads
        scale, (h, w) = q.shape[-1] ** -0.5, (rel_h.shape[-1], rel_w.shape[-1])
        d_q, d_h, d_w = torch.empty_like(q), torch.empty_like(rel_h), torch.empty_like(rel_w)
        wide = torch.promote_types(q.dtype, torch.float32)  # sums and softmax in half precision
        d_k, d_v = (torch.zeros_like(t, dtype=wide) for t in (k, v))
        delta = (grad.to(wide) * out.to(wide)).sum(-1, keepdim=True)
        for heads, rows in _chunks(q.shape[0], q.shape[1]):
            queries, slope = q[heads, rows], grad[heads, rows]
            logits = _bias(rel_h[heads, rows], rel_w[heads, rows])
            logits.baddbmm_(queries, k[heads].transpose(1, 2), alpha=scale)
            weights = logits.softmax(-1, dtype=wide)
            d_v[heads] += weights.to(q.dtype).transpose(1, 2) @ slope
            d_logits = (slope @ v[heads].transpose(1, 2)).to(wide)
            d_logits.sub_(delta[heads, rows]).mul_(weights)
            by_axis = d_logits.unflatten(-1, (h, w))
            d_h[heads, rows] = by_axis.sum(-1).to(d_h.dtype)
            d_w[heads, rows] = by_axis.sum(-2).to(d_w.dtype)
            d_logits = d_logits.to(q.dtype)
            d_q[heads, rows] = (d_logits @ k[heads]).mul_(scale)
            d_k[heads] += (d_logits.transpose(1, 2) @ queries).mul_(scale)
        return d_q, d_k.to(k.dtype), d_v.to(v.dtype), d_h, d_w


def _bias(rel_h: Tensor, rel_w: Tensor) -> Tensor:
    """(n, rows, h) and (n, rows, w) -> (n, rows, h * w)."""
    return (rel_h.unsqueeze(-1) + rel_w.unsqueeze(-2)).flatten(-2)


def _chunks(heads: int, tokens: int) -> Iterator[tuple[slice, slice]]:
    """Slices (batch and heads, queries) whose logits stay within the budget."""
    budget = _CHUNK * torch.get_num_threads()
    together = max(1, budget // tokens**2)
    rows = tokens if together > 1 else max(1, min(tokens, budget // tokens))
    for first in range(0, heads, together):
        for start in range(0, tokens, rows):
            yield slice(first, first + together), slice(start, start + rows)
