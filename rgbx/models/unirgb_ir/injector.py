"""UniRGB-IR's supplementary feature injector: what the ViT's tokens read in the feature pool."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rgbx.blocks.deformable import DeformableAttention

__all__ = ["Injector", "UpdateGate"]


class Injector(nn.Module):
    """The ViT's tokens query the pool; the result is scaled per channel by gamma, 0 at the start.

    Args:
        dim: width of tokens and pool.
        heads: of the deformable attention.
        points: that each head reads in every level.
        ratio: width of the attention's values, as a share of `dim`.

    Shape: tokens (B, Q, dim), reference (Q, 2), pool (B, N, dim) -> (B, Q, dim).
    """

    def __init__(
        self, dim: int = 768, heads: int = 12, points: int = 4, ratio: float = 0.5
    ) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(dim))
        self.query_norm = nn.LayerNorm(dim, eps=1e-6)
        self.feat_norm = nn.LayerNorm(dim, eps=1e-6)
        self.attn = DeformableAttention(dim, heads, levels=3, points=points, ratio=ratio)

    def forward(
        self, tokens: Tensor, reference: Tensor, pool: Tensor, levels: Sequence[tuple[int, int]]
    ) -> Tensor:
        """What is to be added, before the gate.

        Args:
            tokens: (B, Q, dim).
            reference: (Q, 2) float32, see `rgbx.blocks.deformable.reference_points`.
            pool: (B, N, dim), the levels one after the other.
            levels: (h, w) of the three levels.

        Returns:
            (B, Q, dim).
        """
        found = self.attn(self.query_norm(tokens), reference, self.feat_norm(pool), levels)
        return self.gamma * found


class UpdateGate(nn.Module):
    """Blend a stage's feature with the one injected before: (1 - z) previous + z new.

    z = sigmoid(W [mean(new); mean(previous)] + b), one value per image and channel: the update
    gate of a GRU and nothing else of it.

    Args:
        dim: channels.

    Shape: new (B, Q, dim), previous (B, Q, dim) -> (B, Q, dim).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.update_gate = nn.Linear(2 * dim, dim)

    def forward(self, new: Tensor, previous: Tensor) -> Tensor:
        """Blend."""
        means = torch.cat([new.mean(dim=1), previous.mean(dim=1)], dim=-1)
        share = self.update_gate(means).sigmoid()[:, None]
        return (1 - share) * previous + share * new
