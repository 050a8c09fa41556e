"""Weights of losses that cannot be meant."""

import math

from rgbx.errors import RGBXError

__all__ = ["check_loss_weights"]


def check_loss_weights(**weights: float) -> None:
    """Refuse weights under which a model would learn the opposite, or nothing.

    Args:
        weights: by the name of the model's argument.

    Raises:
        RGBXError: one is negative or not finite, or all are 0.
    """
    given = weights.values()
    if not all(0 <= weight < math.inf for weight in given) or not any(given):
        listed = ", ".join(f"{name} {weight}" for name, weight in weights.items())
        raise RGBXError(
            f"Weights of losses are {listed}: give numbers of 0 or more, one of them above 0."
        )
