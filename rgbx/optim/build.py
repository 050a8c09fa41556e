"""The optimiser that a configuration asks for, or a sentence that says what is wrong with it."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch.nn import Parameter
from torch.optim import Optimizer

from rgbx.errors import RGBXError
from rgbx.optim.by_name import ByName

__all__ = ["build_optimizer"]


def build_optimizer(
    factory: Callable[[Iterable[Any]], Optimizer] | ByName, named: Sequence[tuple[str, Parameter]]
) -> Optimizer:
    """Call what the configuration made of ``model.optimizer``.

    Args:
        factory: takes parameters, or with their names if it is `ByName`.
        named: the trained parameters.

    Raises:
        RGBXError: the optimiser refuses an argument, or a number among them is not finite.
    """
    try:
        if isinstance(factory, ByName):
            optimizer = factory(named)
        else:
            optimizer = factory([parameter for _, parameter in named])
    except (ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        options = getattr(factory, "keywords", {})  # what a configuration makes is a partial
        to_blame = [f".{name}" for name, value in options.items() if _is_in(value, reason)]
        where = ", ".join(f"model.optimizer{name}" for name in to_blame or [""])
        raise RGBXError(f"{where} cannot be used: {reason}.") from error
    for group in optimizer.param_groups:
        for name, value in group.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise RGBXError(f"model.optimizer.{name} is {value}: give a finite number.")
    return optimizer


def _is_in(value: Any, text: str) -> bool:
    """Whether a message speaks of a number, or of one among several."""
    if isinstance(value, list | tuple):
        return any(_is_in(item, text) for item in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return re.search(rf"(?<![\w.-]){re.escape(str(value))}(?![\w.])", text) is not None
