"""What all scores of maps share: checks of what comes in, one thread, sums that are exact."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["check_maps", "fixed_sum", "from_fixed", "one_thread"]

# As in SegmentationScores: whole multiples of 2^-40, whose integer sums are exact in any order.
_FIXED_POINT = 2**40


def fixed_sum(values: Tensor) -> Tensor:
    """Sum over the first axis, as whole multiples of 2^-40: int64 on the CPU."""
    return (values.cpu().double() * _FIXED_POINT).round().long().sum(dim=0)


def from_fixed(sums: Tensor) -> Tensor:
    """The float64 sums, on the CPU, that :func:`fixed_sum` stands for."""
    return sums.cpu().double() / _FIXED_POINT


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch on the CPU.

    The steps take some 50 microseconds each: threads gain nothing, and cost milliseconds per step
    as soon as they wait for a processor that a data loader is using.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def check_maps(pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Refuse what cannot be scored, and bring the rest into one shape.

    Args:
        pred: (B, H, W) or (H, W), floating point in [0, 1].
        target: Of the same shape, integer or bool; everything above 0 is the object.

    Returns:
        Maps (B, H, W) without gradient, objects (B, H, W) bool.

    Raises:
        ValueError: If the shapes differ or are no images, the types are wrong, or a map holds
            NaN or values outside [0, 1].
    """
    _check(pred, target)
    if pred.device.type == "mps":  # it has no float64
        pred, target = pred.cpu(), target.cpu()
    size = (-1, *pred.shape[-2:])
    objects = target if target.dtype == torch.bool else target > 0
    return pred.detach().reshape(size), objects.reshape(size)


def _check(pred: Tensor, target: Tensor) -> None:
    if pred.shape != target.shape or pred.ndim not in (2, 3) or 0 in pred.shape[-2:]:
        raise ValueError(
            "Prediction and target must both be (H, W) or (B, H, W) images of the same size, "
            f"got shapes {tuple(pred.shape)} and {tuple(target.shape)}."
        )
    if not pred.is_floating_point() or target.is_floating_point():
        raise ValueError(
            "Prediction must be floating point and target integer or bool, got "
            f"{pred.dtype} and {target.dtype}; divide a grey image by 255, threshold a grey mask."
        )
    if not pred.numel():
        return
    low, high = (float(bound) for bound in pred.aminmax())
    if low != low:
        raise ValueError("Prediction holds NaN; a saliency map must be in [0, 1] everywhere.")
    if low < 0 or high > 1:
        raise ValueError(
            f"Prediction ranges from {low:g} to {high:g}, outside [0, 1]; take the sigmoid first."
        )
