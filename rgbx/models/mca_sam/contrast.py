"""MCA-SAM's two contrastive losses, on what a `Watch` kept of the encoder."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rgbx.blocks.contrastive import InfoNCE, NegativeQueue, gather_batch, info_nce
from rgbx.models.mca_sam.adaptors import Generator
from rgbx.models.mca_sam.options import TokenTarget
from rgbx.models.mca_sam.watch import Watch

__all__ = ["SampleContrast", "TokenContrast"]


_PROJECTED = 128


class _Contrast(nn.Module):
    """Layers, their weights, temperature, projection head.

    Args:
        layers: adaptors the loss works on, as (encoder block, number of the adaptor).
        temperature: tau > 0.
        layer_weights: one weight >= 0 per layer, for the mean over layers; None: all alike.
        projection: width of what is contrasted: a two-layer head of 128 comes before the cosine,
            one for all layers; None: no head.
    """

    layer_weights: Tensor

    def __init__(
        self,
        layers: Sequence[tuple[int, int]],
        temperature: float,
        layer_weights: Sequence[float] | None,
        projection: int | None,
    ) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.temperature = temperature
        weights = torch.tensor(layer_weights or [1.0] * len(layers))
        self.register_buffer("layer_weights", weights / weights.sum(), persistent=False)
        self.projection: nn.Sequential | None = None
        if projection is not None:
            self.projection = nn.Sequential(
                nn.Linear(projection, _PROJECTED), nn.GELU(), nn.Linear(_PROJECTED, _PROJECTED)
            )
        self._warned = False

    def _project(self, vectors: Tensor) -> Tensor:
        if self.projection is None:
            return vectors
        projected: Tensor = self.projection(vectors)
        return projected

    def _mean(self, losses: Tensor, top1: Tensor) -> InfoNCE:
        """Weighted means over the layers, of (L,) each."""
        weights = self.layer_weights
        return InfoNCE(weights.to(losses.dtype) @ losses, weights.to(top1.dtype) @ top1)

    def _warn_once(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            rank_zero_warn(text)


class TokenContrast(_Contrast):
    """CL_t: a token before the adaptor finds itself among the tokens after the adaptor.

    Negatives are other tokens of the same image, never of another one. Layers and images are
    handled one after the other, and recomputed in the backward pass: a single K x K table of
    cosines is in memory at any time, whatever the number of layers and images.

    Args:
        layers: see `_Contrast`.
        temperature: see `_Contrast`.
        num_tokens: K, drawn anew each step, without replacement; ``all`` takes every token.
        target: what stands for the token before the adaptor, always without gradient: ``patch``
            embeddings; ``hidden``, the previous block's output; ``bottleneck``, task features
            against the adaptor's activations, both r wide.
        symmetric: average with the search in the other direction.
        exclude_radius: tokens at most so many cells away in both axes are no negatives.
        layer_weights: see `_Contrast`.
        projection: see `_Contrast`.
    """

    def __init__(
        self,
        layers: Sequence[tuple[int, int]],
        temperature: float = 0.1,
        num_tokens: int | Literal["all"] = 1024,
        target: TokenTarget = "patch",
        symmetric: bool = False,
        exclude_radius: int = 0,
        layer_weights: Sequence[float] | None = None,
        projection: int | None = None,
    ) -> None:
        super().__init__(layers, temperature, layer_weights, projection)
        self.num_tokens: int | Literal["all"] = num_tokens
        self.target = target
        self.symmetric = symmetric
        self.exclude_radius = exclude_radius

    def draw(self, images: int, tokens: int, device: torch.device) -> Tensor:
        """Positions (images, K) below `tokens`, each image's its own.

        With K at or above the number of tokens all are taken; above it, a warning says so once.
        """
        wanted = tokens if self.num_tokens == "all" else self.num_tokens
        if wanted > tokens:
            self._warn_once(
                f"num_tokens is {wanted}, but an image of this size has {tokens} tokens: the "
                "token-level loss uses all of them."
            )
        if wanted >= tokens:
            return torch.arange(tokens, device=device).expand(images, -1)
        return torch.rand(images, tokens, device=device).argsort(dim=1)[:, :wanted]

    def forward(self, generator: Generator, watch: Watch, columns: int) -> InfoNCE:
        """Mean over layers and images, scalars.

        Args:
            generator: has the layers after the activations.
            watch: with positions and what `target` needs.
            columns: width of the grid of tokens.
        """
        assert watch.positions is not None
        places = None
        if self.exclude_radius:
            rows = torch.div(watch.positions, columns, rounding_mode="floor")
            places = torch.stack([rows, watch.positions % columns], dim=-1)
        losses, top1 = [], []
        for layer, k in self.layers:
            lift = None if self.target == "bottleneck" else generator.token.lift(k)
            before, after = self._before(watch, layer), watch.rows[layer]
            each = [
                self._image(before[b], after[b], lift, None if places is None else places[b])
                for b in range(len(after))
            ]
            losses.append(torch.stack([one.loss for one in each]).mean())
            top1.append(torch.stack([one.top1 for one in each]).mean())
        return self._mean(torch.stack(losses), torch.stack(top1))

    def _before(self, watch: Watch, layer: int) -> Tensor:
        """(B,K,C), or (B,K,r) for the bottleneck."""
        if self.target == "hidden":
            return watch.hidden[layer]
        tokens = watch.features if self.target == "bottleneck" else watch.patches
        assert tokens is not None
        return tokens

    def _image(
        self, before: Tensor, after: Tensor, lift: nn.Linear | None, places: Tensor | None
    ) -> InfoNCE:
        compare = partial(self._compare, lift=lift, places=places)
        if not torch.is_grad_enabled():
            return compare(before, after)
        found: InfoNCE = checkpoint(
            compare, before, after, use_reentrant=False, preserve_rng_state=False
        )
        return found

    def _compare(
        self, before: Tensor, after: Tensor, lift: nn.Linear | None, places: Tensor | None
    ) -> InfoNCE:
        """One image (K,C), one layer."""
        with torch.autocast(after.device.type, enabled=False):
            if lift is not None:
                after = lift(after.to(lift.weight.dtype))
            if self.projection is not None:
                before, after = self._project(before.to(after.dtype)), self._project(after)
            near = None if places is None else self._near(places)
            return info_nce(before, after, self.temperature, near, self.symmetric)

    def _near(self, places: Tensor) -> Tensor:
        """(K,K) bool: neighbours of (K,2) places; nobody is its own neighbour."""
        apart = (places[:, None] - places).abs().amax(dim=-1)
        return (apart <= self.exclude_radius) & (apart > 0)


class SampleContrast(_Contrast):
    """CL_s: an image finds its other view among the images of the global batch.

    Per layer, both directions, averaged: u among all v, v among all u. The images of all processes
    count (`gather_batch`).

    Args:
        layers: see `_Contrast`.
        dim: width C of the descriptors.
        temperature: see `_Contrast`.
        layer_weights: see `_Contrast`.
        queue: this many descriptors of earlier second views are further negatives in both
            directions; 0 for none.
        projection: a head before the cosine.
    """

    def __init__(
        self,
        layers: Sequence[tuple[int, int]],
        dim: int,
        temperature: float = 0.1,
        layer_weights: Sequence[float] | None = None,
        queue: int = 0,
        projection: bool = False,
    ) -> None:
        super().__init__(layers, temperature, layer_weights, dim if projection else None)
        width = _PROJECTED if projection else dim
        self.queue = NegativeQueue(len(layers), queue, width) if queue else None

    def forward(self, generator: Generator, first: Watch, second: Watch) -> InfoNCE:
        """Mean over layers and directions, scalars; 0 for a global batch of 1 without a queue.

        Args:
            generator: has the layers after the pooled activations.
            first: of the one view.
            second: of the other view; its descriptors enter the queue.
        """
        u, v = (self._descriptors(generator, watch) for watch in (first, second))
        older = v.new_zeros(len(v), 0, v.shape[-1]) if self.queue is None else self.queue.stored()
        if self.queue is not None:
            self.queue.push(v.detach())
        elif v.shape[1] == 1:
            self._warn_once(
                "The global batch is one image, so the sample-level loss has no negatives and is "
                "0: raise data.batch_size, or set model.queue, or model.sample_weight to 0."
            )
        forth = info_nce(u, torch.cat([v, older], dim=1), self.temperature)
        back = info_nce(v, torch.cat([u, older], dim=1), self.temperature)
        found = [(f + b) / 2 for f, b in zip(forth, back, strict=True)]
        return self._mean(*found)

    def _descriptors(self, generator: Generator, watch: Watch) -> Tensor:
        """(L, global B, C) in float32 or wider."""
        branch, found = generator.sample_or_shared, []
        for layer, k in self.layers:
            lift, pooled = branch.lift(k), watch.pooled[layer]
            with torch.autocast(pooled.device.type, enabled=False):
                found.append(self._project(lift(pooled.to(lift.weight.dtype))))
        stacked = torch.stack(found)
        return gather_batch(stacked.to(torch.promote_types(stacked.dtype, torch.float32)))
