"""Clipping by the norm of all gradients, whatever their size."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["clip_gradients"]

_SMALLEST = 1e-15  # norm whose square float32 holds in full


def clip_gradients(parameters: Iterable[nn.Parameter], largest: float) -> Tensor:
    """Scale all gradients so that their common norm is at most ``largest``.

    As `torch.nn.utils.clip_grad_norm_`, which turns gradients of 1e20, whose squares leave the
    range of float32, into zeros, and takes those of 1e-23 for zeros.

    Returns:
        The norm before, a scalar; not finite only where a gradient is not.
    """
    parameters = list(parameters)
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if gradients and not _SMALLEST < norm < torch.inf:
        peaks = torch._foreach_norm(gradients, float("inf"))
        peak = torch.stack([p.to(norm.device) for p in peaks]).max().double()
        if peak:
            scaled = torch._foreach_div(gradients, peak.item())
            norm = torch.nn.utils.get_total_norm(scaled) * peak
    torch.nn.utils.clip_grads_with_norm_(parameters, largest, norm)
    return norm
