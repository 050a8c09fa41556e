"""Bottleneck adapters beside frozen transformer blocks (SAMSOD, Eq. 18 and 21-23)."""

import math
from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from rgbx.errors import RGBXError

__all__ = ["DecoupledAdapter", "Gate", "VanillaAdapter"]

Gate = Literal["released", "paper"]


class _Bottleneck(nn.Module):
    """``down``: dim -> width, GELU, ``up``: width -> dim; starts as zero."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, width)
        self.up = nn.Linear(width, dim)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def activate(self, x: Tensor) -> Tensor:
        """(..., dim) -> activations (..., width)."""
        return F.gelu(self.down(x))


class VanillaAdapter(nn.Module):
    """One bottleneck, Eq. 18: ``scale * up(GELU(down(x)))``. Adds exactly 0 at the start.

    Args:
        dim: width d of the tokens.
        width: width of the bottleneck.
        scale: factor of the output.

    Shape: (..., d) -> (..., d).
    """

    def __init__(self, dim: int, width: int = 32, scale: float = 0.5) -> None:
        super().__init__()
        self.scale = scale
        self.bottleneck = _Bottleneck(dim, width)

    def forward(self, x: Tensor) -> Tensor:
        """What is added to the block's output, from the residual ``x`` (..., d)."""
        up = self.bottleneck.up
        # scaled before `up`: the narrow side
        return F.linear(self.scale * self.bottleneck.activate(x), up.weight, self.scale * up.bias)


class DecoupledAdapter(nn.Module):
    """Two bottlenecks, Eq. 21-23: one learns from high activations, the other from low ones.

    Of every token's ``width`` activations (after GELU) the foreground bottleneck keeps the k_for
    largest and the background bottleneck the k_back smallest; the others are set to 0. With a
    gate's softmax G = (G_for, G_back), averaged over tokens,
    ``k = floor(width * (alpha + beta * G))``.

    * ``gate="released"`` (the authors' code): two gates. The first one only sets k; floor passes
      no gradient, so it keeps its initial values and is stored as buffers. The second one
      weighs, per token, the two outputs before they are added.
    * ``gate="paper"``: one gate for both.

    In training G is the mean over the whole batch, of all processes: 2 processes with 4 images
    equal 1 process with 8. In eval mode G is the mean of each image alone, so that a result never
    depends on the batch (the authors evaluate with batch size 1, which is the same).

    At the start the adapter adds exactly 0: ``up`` is zero.

    Args:
        dim: width d of the tokens.
        width: width of each bottleneck.
        scale: factor of the output.
        alpha_foreground: smallest share of activations that the foreground keeps.
        alpha_background: the same of the background.
        beta: how much the gate can add to both shares.
        gate: see above.

    Shape: (B, H, W, d) or (B, N, d) -> the same.

    Raises:
        RGBXError: shares outside [0, 1].
    """

    def __init__(
        self,
        dim: int,
        width: int = 32,
        scale: float = 0.5,
        alpha_foreground: float = 0.45,
        alpha_background: float = 0.35,
        beta: float = 0.1,
        gate: Gate = "released",
    ) -> None:
        super().__init__()
        if beta < 0 or not all(0 <= a <= 1 - beta for a in (alpha_foreground, alpha_background)):
            raise RGBXError(
                f"alpha_foreground = {alpha_foreground}, alpha_background = {alpha_background} and "
                f"beta = {beta} are shares of activations: alpha and alpha + beta must lie in "
                "[0, 1], and beta must not be negative."
            )
        self.width, self.scale, self.beta = width, scale, beta
        self.alphas = (alpha_foreground, alpha_background)
        self.foreground = _Bottleneck(dim, width)
        self.background = _Bottleneck(dim, width)
        self.gate = nn.Linear(dim, 2)
        nn.init.zeros_(self.gate.bias)
        self.k_gate = _FixedGate(dim) if gate == "released" else None

    def forward(self, x: Tensor) -> Tensor:
        """What is added to the block's output, from the residual ``x`` (B, ..., d)."""
        tokens = x.flatten(1, -2)
        weights = torch.softmax(self.gate(tokens), dim=-1)
        counts = self.kept(tokens, weights)
        narrow = [
            _keep(part.activate(tokens), k, self._most(alpha), largest)
            for part, k, alpha, largest in zip(
                (self.foreground, self.background), counts, self.alphas, (True, False), strict=True
            )
        ]
        return self._project(narrow, weights).view_as(x)

    def kept(self, tokens: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """k_for and k_back (Eq. 22), whole: (1, 1, 1) in training, (B, 1, 1) in eval mode.

        Args:
            tokens: (B, N, d).
            weights: (B, N, 2), softmax of the output gate; used when it is the only one.
        """
        with torch.no_grad():
            if self.k_gate is not None:
                weights = torch.softmax(self.k_gate(tokens), dim=-1)
            # float32 or wider: bfloat16 cannot tell 15.9 from 16
            weights = weights.to(torch.promote_types(weights.dtype, torch.float32))
            if self.training:
                means = _mean_of_processes(weights.mean(dim=(0, 1), keepdim=True))
            else:
                means = weights.mean(dim=1, keepdim=True)
            foreground, background = (
                (self.width * (alpha + self.beta * mean)).floor()
                for alpha, mean in zip(self.alphas, means.split(1, dim=-1), strict=True)
            )
        return foreground, background

    def _most(self, alpha: float) -> int:
        """The largest k there can be; the margin is for k's own rounding in float32."""
        return min(self.width, math.floor(self.width * (alpha + self.beta) + 1e-4))

    def _project(self, narrow: list[Tensor], weights: Tensor) -> Tensor:
        """Weigh, scale, project up and add, as one product of the narrow activations."""
        weights = (self.scale * weights).to(narrow[0].dtype)
        shares = weights.split(1, dim=-1)
        ups = (self.foreground.up, self.background.up)
        left = torch.cat([h * w for h, w in zip(narrow, shares, strict=True)] + [weights], dim=-1)
        right = torch.cat([up.weight for up in ups] + [up.bias[:, None] for up in ups], dim=-1)
        return F.linear(left, right)


class _FixedGate(nn.Module):
    """A linear layer dim -> 2 that no gradient can reach: its tensors are buffers."""

    weight: Tensor
    bias: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        start = nn.Linear(dim, 2)
        self.register_buffer("weight", start.weight.detach())
        self.register_buffer("bias", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


def _keep(activations: Tensor, k: Tensor, most: int, largest: bool) -> Tensor:
    """Set all but the k largest (or smallest) of every token's activations to 0.

    k stays on the device: the ``most`` first are sorted, and those after the k-th are dropped.
    Of equal values exactly k are kept.

    Args:
        activations: (B, N, width).
        k: (1, 1, 1) or (B, 1, 1).
        most: upper bound of k.
        largest: which end to keep.
    """
    with torch.no_grad():
        order = activations.topk(most, dim=-1, largest=largest, sorted=True).indices
        chosen = torch.arange(most, device=k.device) < k
        mask = torch.zeros_like(activations)
        mask.scatter_(-1, order, chosen.to(mask.dtype).expand(order.shape))
    return activations * mask


def _mean_of_processes(means: Tensor) -> Tensor:
    """Average a small tensor over all processes; they hold equally many images."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(means)
        means /= dist.get_world_size()
    return means
