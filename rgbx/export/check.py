"""Whether a file computes what the model does."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from rgbx.errors import RGBXError
from rgbx.tasks.export_part import Part

__all__ = ["TOLERANCE", "Difference", "largest_difference"]

#: allowed difference, as a share of the largest output where that exceeds 1
TOLERANCE = 1e-4


class Difference(NamedTuple):
    """Between what a file and what the model computes.

    Attributes:
        largest: of all numbers.
        scale: the model's largest number, or 1 where that is smaller.
    """

    largest: float
    scale: float

    @property
    def share(self) -> float:
        """What `TOLERANCE` is for."""
        return self.largest / self.scale


def largest_difference(part: Part, run: Callable[..., Tensor]) -> Difference:
    """Try a file on scenes and noise of every size in ``part.checked``.

    Args:
        part: what it was made of.
        run: computes what the file does.

    Returns:
        The largest difference to the model as it was trained.

    Raises:
        RGBXError: it exceeds `TOLERANCE`, or shapes differ.
    """
    differences = []
    for seed, sizes in enumerate(part.checked):
        inputs = part.example(sizes, torch.Generator().manual_seed(seed))
        with torch.no_grad():
            expected, found = part.reference(*inputs), run(*inputs)
        lengths = ", ".join(f"{name} {length}" for name, length in sizes.items())
        if found.shape != expected.shape:
            raise RGBXError(
                f"The exported model returns {tuple(found.shape)} with {lengths}, but it should "
                f"be {tuple(expected.shape)}: nothing was written."
            )
        scale = max(1.0, float(expected.abs().max()))
        difference = Difference(float((found - expected).abs().max()), scale)
        if not difference.share <= TOLERANCE:  # NaN is not
            raise RGBXError(
                f"The exported {part.name or 'model'} differs from the model by "
                f"{difference.largest:.2g} with {lengths}, more than {TOLERANCE * scale:.2g}: "
                "nothing was written."
            )
        differences.append(difference)
    return max(differences, key=lambda difference: difference.share)
