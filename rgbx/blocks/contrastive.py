"""InfoNCE on cosines, negatives from other processes, and a queue of older negatives."""

from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["InfoNCE", "NegativeQueue", "gather_batch", "info_nce"]

_EPS = 1e-8  # below this norm a vector has no direction: its cosines are 0


class InfoNCE(NamedTuple):
    """What `info_nce` returns, each with the leading dimensions of its inputs.

    Attributes:
        loss: mean over the rows, >= 0, in nats; about ln of the number of candidates by chance.
        top1: share of rows whose own candidate is the nearest, in [0, 1], without gradient.
    """

    loss: Tensor
    top1: Tensor


def info_nce(
    anchors: Tensor,
    candidates: Tensor,
    temperature: float,
    dropped: Tensor | None = None,
    symmetric: bool = False,
) -> InfoNCE:
    """Cross-entropy of finding each anchor's own candidate by cosine similarity.

    Row i of ``cos(anchors, candidates) / temperature`` has its positive in column i; all other
    columns are negatives. Source: van den Oord et al., "Representation Learning with Contrastive
    Predictive Coding", arXiv 1807.03748, Eq. 4; the form on cosines is MCA-SAM's CL_t.

    Computed in float32 (float64 for float64 inputs), also under autocast.

    Args:
        anchors: (..., K, C), any norm.
        candidates: (..., M, C), M >= K: the K own ones, then M - K further negatives.
        temperature: > 0, divides the cosines.
        dropped: (..., K, M) bool, pairs that do not count as negatives; never the positives.
        symmetric: average with the same loss over the columns of the K x K part.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        rows = _directions(anchors) / temperature
        logits = rows @ _directions(candidates).transpose(-1, -2)
        if dropped is not None:
            logits = logits.masked_fill(dropped, -torch.inf)
        count = logits.shape[-2]
        positive = logits.diagonal(dim1=-2, dim2=-1)
        loss = (logits.logsumexp(dim=-1) - positive).mean(dim=-1)
        if symmetric:
            square = logits[..., :count]
            loss = (loss + (square.logsumexp(dim=-2) - positive).mean(dim=-1)) / 2
        own = torch.arange(count, device=logits.device)
        top1 = (logits.detach().argmax(dim=-1) == own).float().mean(dim=-1)
    return InfoNCE(loss, top1)


def gather_batch(local: Tensor) -> Tensor:
    """Descriptors of the images of all processes, with gradient to those of this one.

    Every process computes the same loss of the joined batch from the result, and DDP averages the
    gradients. So the gradient of the local part is multiplied by the number of processes: the
    average is then the gradient of one process that holds the joined batch.

    Args:
        local: (L,B,C), B the same on every process.

    Returns:
        (L, processes * B, C) in the order of the ranks; `local` itself in a single process.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return local
    gathered: Tensor = _Gather.apply(local)
    return gathered


class _Gather(torch.autograd.Function):
    """All-gather along dimension 1; nothing is communicated in the backward pass."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, local: Tensor) -> Tensor:
        parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, local.contiguous())
        return torch.cat(parts, dim=1)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> Tensor:
        processes = dist.get_world_size()
        return grads[0].chunk(processes, dim=1)[dist.get_rank()] * processes


class NegativeQueue(nn.Module):
    """The last `length` descriptors per layer, first in, first out; part of checkpoints.

    Args:
        layers: number of layers L.
        length: descriptors that are kept per layer, >= 1.
        dim: their width C.
    """

    items: Tensor
    filled: Tensor

    def __init__(self, layers: int, length: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("items", torch.zeros(layers, length, dim))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    def stored(self) -> Tensor:
        """(L,n,C), newest first, n up to `length`; a copy, so that `push` spoils no gradient."""
        return self.items[:, : int(self.filled)].clone()

    @torch.no_grad()
    def push(self, new: Tensor) -> None:
        """Put (L,B,C) in front; what no longer fits falls out."""
        kept = torch.cat([new.to(self.items.dtype), self.items], dim=1)
        length = self.items.shape[1]
        self.items.copy_(kept[:, :length])
        self.filled.add_(new.shape[1]).clamp_(max=length)


def _directions(vectors: Tensor) -> Tensor:
    wide = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    return F.normalize(wide, dim=-1, eps=_EPS)
