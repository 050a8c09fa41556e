"""The MC-adaptor: what is added to the tokens in front of each block of the encoder."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rgbx.models.mca_sam.features import TaskFeatures, truncated_normal
from rgbx.models.mca_sam.options import AdaptorInput, Branching

__all__ = ["Generator", "HiddenBranch", "TaskBranch"]


class TaskBranch(nn.Module):
    """SAM-Adapter's adaptors: ``up(GELU(tune_k(F)))``, the layer `up` shared by all of them.

    Args:
        dim: width C of the tokens.
        width: r, width of the bottleneck and of the task features.
        count: number of adaptors.
    """

    def __init__(self, dim: int, width: int, count: int) -> None:
        super().__init__()
        self.tune = nn.ModuleList(truncated_normal(nn.Linear(width, width)) for _ in range(count))
        self.up = truncated_normal(nn.Linear(width, dim))

    def narrow(self, k: int, features: Tensor) -> Tensor:
        """Adaptor k up to its activation: (B,h,w,r) -> (B,h,w,r)."""
        return F.gelu(self.tune[k](features))

    def lift(self, k: int) -> nn.Linear:
        """The layer from r to C of adaptor k."""
        return self.up


class HiddenBranch(nn.Module):
    """Adaptors on the previous block's output, each with its own ``up_k(GELU(down_k(h)))``.

    Args:
        dim: width C of the tokens.
        width: r, width of the bottleneck.
        count: number of adaptors.
    """

    def __init__(self, dim: int, width: int, count: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(truncated_normal(nn.Linear(dim, width)) for _ in range(count))
        self.up = nn.ModuleList(truncated_normal(nn.Linear(width, dim)) for _ in range(count))

    def narrow(self, k: int, tokens: Tensor) -> Tensor:
        """Adaptor k up to its activation: (B,h,w,C) -> (B,h,w,r)."""
        return F.gelu(self.down[k](tokens))

    def lift(self, k: int) -> nn.Linear:
        """The layer from r to C of adaptor k."""
        layer = self.up[k]
        assert isinstance(layer, nn.Linear)
        return layer


class Generator(nn.Module):
    """Task features, TC adaptors, and the SC adaptors next to them.

    With `sample_branch` off it is SAM-Adapter's. With the branches in parallel, their outputs are
    summed: ``up_tc(g_tc) + up_sc(g_sc)``, computed as one product.

    Args:
        dim: width C of the tokens.
        width: r.
        layers: indexes of the encoder blocks that have an adaptor, in increasing order.
        patch: side of a patch in pixels.
        adaptor_input: "task": SAM-Adapter's task features; "hidden": the previous block's output.
        branching: "parallel": SC branch of its own; "shared": one branch for both losses.
        sample_branch: with an SC branch (parallel only).
        handcrafted: high frequencies in the task features.
        freq_nums: share of the spectrum that is removed from them.
        zero_init_sc: the SC branch adds 0 at the start.

    Attributes:
        features: `TaskFeatures`, or None with hidden input.
        token: the TC branch.
        sample: the SC branch, or None.
    """

    def __init__(
        self,
        dim: int,
        width: int,
        layers: Sequence[int],
        patch: int = 16,
        adaptor_input: AdaptorInput = "task",
        branching: Branching = "parallel",
        sample_branch: bool = True,
        handcrafted: bool = True,
        freq_nums: float = 0.25,
        zero_init_sc: bool = False,
    ) -> None:
        super().__init__()
        self.layers = tuple(layers)
        task = adaptor_input == "task"
        kind = TaskBranch if task else HiddenBranch
        self.features = TaskFeatures(dim, width, patch, handcrafted, freq_nums) if task else None
        self.token: TaskBranch | HiddenBranch = kind(dim, width, len(layers))
        self.sample: TaskBranch | HiddenBranch | None = None
        if sample_branch and branching == "parallel":
            self.sample = kind(dim, width, len(layers))
            if zero_init_sc:
                for k in range(len(layers)):
                    nn.init.zeros_(self.sample.lift(k).weight)

    @property
    def sample_or_shared(self) -> TaskBranch | HiddenBranch:
        """The branch that the sample-level loss works on."""
        return self.token if self.sample is None else self.sample

    def narrow(self, k: int, source: Tensor) -> tuple[Tensor, Tensor | None]:
        """Activations of adaptor k, TC and SC (None without a branch of its own): (B,h,w,r).

        Args:
            k: which adaptor, counted in `layers`.
            source: task features (B,h,w,r), or tokens (B,h,w,C) with hidden input.
        """
        sample = None if self.sample is None else self.sample.narrow(k, source)
        return self.token.narrow(k, source), sample

    def lift(self, k: int, token: Tensor, sample: Tensor | None) -> Tensor:
        """What adaptor k adds to the tokens, (B,h,w,C), from the activations of `narrow`."""
        up = self.token.lift(k)
        if sample is None or self.sample is None:
            return up(token)
        other = self.sample.lift(k)
        weight = torch.cat([up.weight, other.weight], dim=1)
        return F.linear(torch.cat([token, sample], dim=-1), weight, up.bias + other.bias)
