"""Bottleneck adapters beside frozen transformer blocks (SAMSOD, Eq. 18 and 21-23)."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

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


def _check_bottleneck(width: int, scale: float) -> None:
    if width < 1:
        raise RGBXError(f"adapter_width = {width}: a bottleneck needs 1 channel or more.")
    if not 0 < scale < math.inf:
        raise RGBXError(f"scale = {scale}: the factor of an adapter's output must be above 0.")


class VanillaAdapter(nn.Module):
    """One bottleneck, Eq. 18: ``scale * up(GELU(down(x)))``. Adds exactly 0 at the start.

    Args:
        dim: width d of the tokens.
        width: width of the bottleneck.
        scale: factor of the output.

    Shape: (..., d) -> (..., d).

    Raises:
        RGBXError: a width below 1, or a scale that is not above 0.
    """

    def __init__(self, dim: int, width: int = 32, scale: float = 0.5) -> None:
        super().__init__()
        _check_bottleneck(width, scale)
        self.scale = scale
        self.bottleneck = _Bottleneck(dim, width)

    def forward(self, x: Tensor) -> Tensor:
        """What is added to the block's output, from the residual ``x`` (..., d)."""
        return self.side_by_side([self], x)

    @staticmethod
    def side_by_side(adapters: Sequence["VanillaAdapter"], x: Tensor) -> Tensor:
        """Several streams at once, one adapter each; see `DecoupledAdapter.side_by_side`."""
        parts = [adapter.bottleneck for adapter in adapters]
        scale = adapters[0].scale
        tokens = x.reshape(len(adapters), -1, x.shape[-1])
        narrow = F.gelu(_linear(tokens, [[part.down] for part in parts]))
        # scaled before `up`: the narrow side
        right = torch.stack([part.up.weight.T for part in parts])
        bias = torch.stack([scale * part.up.bias for part in parts])[:, None]
        return torch.baddbmm(bias, scale * narrow, right).view_as(x)


class DecoupledAdapter(nn.Module):
    """Two bottlenecks, Eq. 21-23: one learns from high activations, the other from low ones.

    Of every token's ``width`` activations (after GELU) the foreground bottleneck keeps the k_for
    largest and the background bottleneck the k_back smallest; the others are set to 0. With a
    gate's softmax G = (G_for, G_back), averaged over tokens,
    ``k = floor(width * (alpha + beta * G))``.

    * ``gate="released"`` (the authors' code): two gates. The first one only sets k; floor passes
      no gradient, so it keeps its initial values and is stored as buffers. The second one
      weighs, per token, the two outputs before they are added.
    * ``gate="paper"`` (Eq. 21-23 as printed): one gate, which only sets k. The outputs are added
      as they are; the gate keeps its initial values, as floor passes no gradient.

    Gates start as torch's linear layers do, biases included (as the authors').

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
        RGBXError: shares outside [0, 1], a width below 1, or a scale that is not above 0.
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
        _check_bottleneck(width, scale)
        alphas = (alpha_foreground, alpha_background)
        if not (beta >= 0 and all(alpha >= 0 and alpha + beta <= 1 for alpha in alphas)):
            raise RGBXError(
                f"alpha_foreground = {alpha_foreground}, alpha_background = {alpha_background} and "
                f"beta = {beta} are shares of activations: alpha and alpha + beta must lie in "
                "[0, 1], and beta must not be negative."
            )
        if gate not in get_args(Gate):
            raise RGBXError(f"gate = {gate!r} does not exist; give {' or '.join(get_args(Gate))}.")
        self.width, self.scale, self.beta = width, scale, beta
        self.alphas = alphas
        self.foreground = _Bottleneck(dim, width)
        self.background = _Bottleneck(dim, width)
        self.gate = nn.Linear(dim, 2) if gate == "released" else _FixedGate(dim)
        self.k_gate = _FixedGate(dim) if gate == "released" else None

    def forward(self, x: Tensor) -> Tensor:
        """What is added to the block's output, from the residual ``x`` (B, ..., d)."""
        return self.side_by_side([self], x)

    @staticmethod
    def side_by_side(adapters: Sequence["DecoupledAdapter"], x: Tensor) -> Tensor:
        """Several streams at once, one adapter each: the same numbers in fewer, larger products.

        All layers that read the tokens (two bottlenecks, two gates) are one product for all
        streams, and so is the way back up.

        Args:
            adapters: S adapters of one kind and size.
            x: (S * B, ..., d), the S streams one after the other.

        Returns:
            (S * B, ..., d), what is added to the block's output.
        """
        first, count = adapters[0], len(adapters)
        images, width = x.shape[0] // count, first.width
        tokens = x.reshape(count, -1, x.shape[-1])
        layers = [[a.foreground.down, a.background.down, *a._weighing()] for a in adapters]
        narrow, gate = _linear(tokens, layers).tensor_split([2 * width], dim=-1)
        # Eq. 21 weighs no outputs
        weights = torch.softmax(gate, dim=-1) if first._weighing() else None
        with torch.no_grad():
            deciding = _linear(tokens, [[a.k_gate or a.gate] for a in adapters])
            counts = first.kept(torch.softmax(deciding, dim=-1).unflatten(1, (images, -1)))
        narrow = F.gelu(narrow).unflatten(-1, (2, width))
        return first._project(adapters, first._mask(narrow, counts), weights).view_as(x)

    def _weighing(self) -> list["nn.Linear | _FixedGate"]:
        """The gate that weighs the two outputs, if there is one."""
        return [] if self.k_gate is None else [self.gate]

    def kept(self, weights: Tensor) -> Tensor:
        """k_for and k_back (Eq. 22) as whole numbers.

        Args:
            weights: (S, B, N, 2), softmax of the gate that decides, for S streams.

        Returns:
            (S, 1, 1, 2) in training, (S, B, 1, 2) in eval mode; float32 or wider.
        """
        # float32 or wider: bfloat16 cannot tell 15.9 from 16
        weights = weights.to(torch.promote_types(weights.dtype, torch.float32))
        if self.training:
            means = _mean_of_processes(weights.mean(dim=(1, 2), keepdim=True))
        else:
            means = weights.mean(dim=2, keepdim=True)
        shares = [
            self.width * (alpha + self.beta * mean)
            for alpha, mean in zip(self.alphas, means.split(1, dim=-1), strict=True)
        ]
        return torch.cat(shares, dim=-1).floor()

    def _most(self) -> int:
        """The largest k there can be; the margin is for k's own rounding in float32."""
        largest = self.width * (max(self.alphas) + self.beta)
        return min(self.width, math.floor(largest + 1e-4))

    def _mask(self, narrow: Tensor, counts: Tensor) -> Tensor:
        """Set all but the k_for largest and k_back smallest activations of every token to 0.

        k stays on the device: as many as k can be are sorted, and those after the k-th are
        dropped. Of equal values exactly k are kept.

        Args:
            narrow: (S, B * N, 2, width).
            counts: k as `kept` gives it.
        """
        most = self._most()
        with torch.no_grad():
            signs = torch.tensor([[1.0], [-1.0]], dtype=narrow.dtype, device=narrow.device)
            order = (narrow * signs).topk(most, dim=-1, sorted=True).indices
            chosen = torch.arange(most, device=counts.device) < counts[..., None]
            by_image = order.unflatten(1, (counts.shape[1], -1))
            mask = torch.zeros_like(narrow)
            mask.scatter_(-1, order, chosen.to(mask.dtype).expand(by_image.shape).flatten(1, 2))
        return narrow * mask

    def _project(
        self, adapters: Sequence["DecoupledAdapter"], narrow: Tensor, weights: Tensor | None
    ) -> Tensor:
        """Weigh (if weights are given), scale, project up and add: one product for all."""
        if weights is None:
            weights = torch.ones_like(narrow[..., 0])
        weights = (self.scale * weights).to(narrow.dtype)
        left = torch.cat([(narrow * weights[..., None]).flatten(-2), weights], dim=-1)
        ups = [(a.foreground.up, a.background.up) for a in adapters]
        right = torch.stack(
            [torch.cat([*(u.weight.T for u in up), *(u.bias[None] for u in up)]) for up in ups]
        )
        return torch.bmm(left, right)


def _linear(tokens: Tensor, layers: Sequence[Sequence["nn.Linear | _FixedGate"]]) -> Tensor:
    """All layers of all streams on their stream's tokens, as one product.

    Args:
        tokens: (S, M, d).
        layers: per stream, linear layers d -> r_1, r_2, ...

    Returns:
        (S, M, r_1 + r_2 + ...).
    """
    weight = torch.stack([torch.cat([part.weight for part in parts]) for parts in layers])
    bias = torch.stack([torch.cat([part.bias for part in parts]) for parts in layers])
    return torch.baddbmm(bias[:, None], tokens, weight.transpose(1, 2))


class _FixedGate(nn.Module):
    """A linear layer dim -> 2 that no gradient can reach: its tensors are buffers.

    It starts as `nn.Linear` does.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        start = nn.Linear(dim, 2)
        self.register_buffer("weight", start.weight.detach())
        self.register_buffer("bias", start.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


def _mean_of_processes(means: Tensor) -> Tensor:
    """Average a small tensor over all processes; they hold equally many images."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(means)
        means /= dist.get_world_size()
    return means
