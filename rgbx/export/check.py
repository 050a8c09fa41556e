"""Whether a file computes what the model does."""

from collections.abc import Callable

import torch
from torch import Tensor

from rgbx.errors import RGBXError
from rgbx.export.part import Part

__all__ = ["TOLERANCE", "largest_difference"]

#: allowed difference, as a share of the largest output where that exceeds 1
TOLERANCE = 1e-4


def largest_difference(part: Part, run: Callable[..., Tensor]) -> float:
    """Try a file on scenes and noise of every size in ``part.checked``.

    Args:
        part: what it was made of.
        run: asks the file.

    Returns:
        The largest difference to the model as it was trained, see `TOLERANCE`.

    Raises:
        RGBXError: it exceeds `TOLERANCE`, or shapes differ.
    """
    worst = 0.0
    for seed, sizes in enumerate(part.checked):
        inputs = part.example(sizes, torch.Generator().manual_seed(seed))
        with torch.no_grad():
            expected, found = part.reference(*inputs), run(*inputs)
        lengths = ", ".join(f"{name} {length}" for name, length in sizes.items())
        if found.shape != expected.shape:
            raise RGBXError(
                f"The exported model returns {tuple(found.shape)} with {lengths}, but it should be "
                f"{tuple(expected.shape)}: nothing was written."
            )
        difference = float((found - expected).abs().max() / expected.abs().max().clamp(min=1))
        if not difference <= TOLERANCE:
            raise RGBXError(
                f"The exported {part.name or 'model'} differs from the model by {difference:.2g} "
                f"with {lengths}, more than {TOLERANCE:g}: nothing was written."
            )
        worst = max(worst, difference)
    return worst
