"""Clipping by the norm of all gradients, whatever their size."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["clip_gradients"]


def clip_gradients(parameters: Iterable[nn.Parameter], largest: float) -> Tensor:
    """Scale all gradients so that their common norm is at most ``largest``.

    As `torch.nn.utils.clip_grad_norm_`, which turns gradients of 1e20, whose squares leave the
    range of float32, into zeros.

    Returns:
        The norm before, a scalar; not finite only where a gradient is not.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if not torch.isfinite(norm):
        peaks = torch._foreach_norm(gradients, float("inf"))
        peak = torch.stack([p.to(norm.device) for p in peaks]).max()
        norms = torch._foreach_norm(torch._foreach_div(gradients, float(peak)))
        norm = torch.linalg.vector_norm(torch.stack(list(norms))).double() * peak
    torch.nn.utils.clip_grads_with_norm_(parameters, largest, norm)
    return norm
