"""Weights of the classes in the cross-entropy: from frequencies, or as given."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from rgbx.errors import RGBXError

__all__ = ["ClassWeights", "enet_weights", "given_weights"]

#: "enet": from the frequencies of the training set; K numbers; None: all classes alike
ClassWeights = Literal["enet"] | list[float] | None


def enet_weights(frequencies: Sequence[float]) -> Tensor:
    """``1 / ln(1.02 + f)``: from 50.5 for a class that never occurs to 1.42 for the only one.

    Source: Paszke et al., "ENet", arXiv 1606.02147, section 5.2. UniRGB-IR's code holds the results
    for MFNet as constants.

    Args:
        frequencies: share of each class of all labelled pixels of the training set, K numbers that
            add up to 1.

    Returns:
        (K,) float32.
    """
    return torch.tensor([1 / math.log(1.02 + f) for f in frequencies], dtype=torch.float32)


def given_weights(weights: ClassWeights, num_classes: int) -> Tensor:
    """What is known before any data has been seen: the numbers given, or ones.

    Args:
        weights: "enet" (ones stand in until the frequencies are known), K numbers, or None.
        num_classes: K.

    Returns:
        (K,) float32.

    Raises:
        RGBXError: there are not K numbers, or one is negative or not finite.
    """
    if weights is None or weights == "enet":
        return torch.ones(num_classes)
    if isinstance(weights, str):
        raise RGBXError(f"class_weights is {weights!r}: give enet, one number per class, or null.")
    numbers = [float(w) for w in weights]
    if len(numbers) != num_classes:
        raise RGBXError(
            f"class_weights has {len(numbers)} numbers, but there are {num_classes} classes: give "
            "one for each, or enet to have them computed from the training set, or null for none."
        )
    wrong = [w for w in numbers if not 0 <= w < math.inf]
    if wrong:
        raise RGBXError(f"class_weights has {wrong[0]}: weights are finite numbers of 0 or more.")
    return torch.tensor(numbers)
