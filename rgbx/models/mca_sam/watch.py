"""What the contrastive losses keep of a pass through the encoder; training only."""

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Watch", "pick", "pooling_weights"]


class Watch:
    """Keeps a few rows and one mean of the narrow activations of each layer.

    The rows of an adaptor's output, and its mean over tokens, follow from those of the activations
    in front of its last layer, which is linear: no (B,N,C) tensor needs to be kept.

    Args:
        layers: indexes of the encoder blocks whose adaptors count.
        positions: (B,K) tokens that are kept of each image, or None for none.
        weights: (B,h,w) of the mean over tokens, each image's sum is 1; None for the plain mean.
        hidden: keep those tokens of the block's input too.
        pool: keep the mean.

    Attributes:
        patches: (B,K,C), the patch embedding.
        features: (B,K,r), the task features, or None with hidden input.
        rows: layer -> (B,K,r), activations of the TC adaptor.
        hidden: layer -> (B,K,C), input of the block in front of the adaptor's sum.
        pooled: layer -> (B,r), mean activations of the SC adaptor.
        patches, features and hidden carry no gradient.
    """

    def __init__(
        self,
        layers: Collection[int],
        positions: Tensor | None = None,
        weights: Tensor | None = None,
        hidden: bool = False,
        pool: bool = False,
    ) -> None:
        self.layers = frozenset(layers)
        self.positions = positions
        self.patches: Tensor | None = None
        self.features: Tensor | None = None
        self.rows: dict[int, Tensor] = {}
        self.hidden: dict[int, Tensor] = {}
        self.pooled: dict[int, Tensor] = {}
        self._weights, self._keep_hidden, self._pool = weights, hidden, pool

    def start(self, patches: Tensor, features: Tensor | None) -> None:
        """Told of the patch embedding (B,h,w,C) and the task features (B,h,w,r)."""
        if self.positions is not None:
            self.patches = pick(patches.detach(), self.positions)
            if features is not None:
                self.features = pick(features.detach(), self.positions)

    def see(self, layer: int, tokens: Tensor, token: Tensor, sample: Tensor | None) -> None:
        """Told of a block's input (B,h,w,C) and the activations (B,h,w,r) of its adaptors."""
        if layer not in self.layers:
            return
        if self.positions is not None:
            self.rows[layer] = pick(token, self.positions)
            if self._keep_hidden:
                self.hidden[layer] = pick(tokens.detach(), self.positions)
        if self._pool:
            self.see_sample(layer, token if sample is None else sample)

    def see_sample(self, layer: int, sample: Tensor) -> None:
        """Told of the activations (B,h,w,r) that the sample-level loss works on, alone."""
        if layer not in self.layers:
            return
        sample = sample.to(torch.promote_types(sample.dtype, torch.float32))
        if self._weights is None:
            self.pooled[layer] = sample.mean(dim=(1, 2))
        else:
            self.pooled[layer] = torch.einsum("bhw,bhwr->br", self._weights.to(sample), sample)


def pick(grid: Tensor, positions: Tensor) -> Tensor:
    """(B,h,w,D) at the tokens (B,K) -> (B,K,D)."""
    tokens = grid.flatten(1, 2)
    return tokens.gather(1, positions[..., None].expand(-1, -1, tokens.shape[-1]))


def pooling_weights(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """Weights (B,h,w) of a mean over the object: each token's share of it, sum 1.

    Args:
        mask: (B,1,H,W) in [0, 1]; an image without an object gets equal weights.
        grid: (h, w), tokens.
    """
    share = F.adaptive_avg_pool2d(mask.float(), grid)[:, 0]
    total = share.sum(dim=(1, 2), keepdim=True)
    return torch.where(total > 0, share / total.clamp(min=1e-12), 1 / (grid[0] * grid[1]))
