"""Multi-scale deformable attention (Zhu et al., ICLR 2021) in plain PyTorch."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rgbx.blocks.deformable_core import deformable_attention
from rgbx.errors import RGBXError

__all__ = ["DeformableAttention", "deformable_attention", "reference_points"]


def reference_points(h: int, w: int, device: torch.device | str | None = None) -> Tensor:
    """Centres of the cells of an h x w grid, as shares of its width and height.

    Args:
        h: rows.
        w: columns.
        device: where the points are needed.

    Returns:
        (h * w, 2) float32, row-major, (x, y) in (0, 1).
    """
    y = (torch.arange(h, device=device, dtype=torch.float32) + 0.5) / h
    x = (torch.arange(w, device=device, dtype=torch.float32) + 0.5) / w
    return torch.stack([x.repeat(h), y.repeat_interleave(w)], dim=-1)


class DeformableAttention(nn.Module):
    """Queries read a few places of every level; where and how much depends on the query alone.

    No product of queries and keys, no mask, no dropout. The initial offsets are a ring: every
    head looks into one direction, its point k (from 0) k + 1 cells away; all points weigh the
    same (UniRGB-IR, arXiv 2404.17360, after Deformable DETR, arXiv 2010.04159).

    Args:
        dim: width d of queries and features.
        heads: M.
        levels: number L of maps.
        points: K, read by every head in every level.
        ratio: width of the values, as a share of d.

    Shape: query (B, Q, d), reference (Q, 2), features (B, N, d) -> (B, Q, d).

    Raises:
        RGBXError: the width of the values cannot be divided among the heads.
    """

    def __init__(
        self, dim: int, heads: int = 12, levels: int = 3, points: int = 4, ratio: float = 0.5
    ) -> None:
        super().__init__()
        width = int(dim * ratio)
        if width < heads or width % heads:
            raise RGBXError(
                f"deform_ratio {ratio:g} of {dim} channels gives values {width} wide, which "
                f"{heads} heads cannot share evenly: change deform_heads or deform_ratio."
            )
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(dim, heads * levels * points * 2)
        self.attention_weights = nn.Linear(dim, heads * levels * points)
        self.value_proj = nn.Linear(dim, width)
        self.output_proj = nn.Linear(width, dim)
        self._initialise()

    def _initialise(self) -> None:
        for layer in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        angle = torch.arange(self.heads, dtype=torch.float32) * (2 * math.pi / self.heads)
        direction = torch.stack([angle.cos(), angle.sin()], dim=-1)
        direction = direction / direction.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.points + 1, dtype=torch.float32)
        ring = direction[:, None, None] * steps[:, None]
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(ring.expand(-1, self.levels, -1, -1).flatten())

    def forward(
        self,
        query: Tensor,
        reference: Tensor,
        features: Tensor,
        levels: Sequence[tuple[int, int]],
    ) -> Tensor:
        """What every query has read.

        Args:
            query: (B, Q, d).
            reference: (Q, 2) float32, (x, y) in (0, 1): where the queries lie, in every level.
            features: (B, N, d), the levels' maps one after the other, each row-major.
            levels: (h, w) of every level.

        Returns:
            (B, Q, d).
        """
        shape = (self.heads, self.levels, self.points)
        dtype = torch.promote_types(query.dtype, torch.float32)
        offsets = self.sampling_offsets(query).to(dtype).unflatten(-1, (*shape, 2))
        weights = self.attention_weights(query).to(dtype).unflatten(-1, (self.heads, -1))
        weights = weights.softmax(dim=-1).unflatten(-1, shape[1:])
        sizes = torch.tensor([(w, h) for h, w in levels], dtype=dtype, device=query.device)
        locations = reference[:, None, None, None] + offsets / sizes[:, None]
        value = self.value_proj(features).unflatten(-1, (self.heads, -1))
        return self.output_proj(deformable_attention(value, levels, locations, weights))
