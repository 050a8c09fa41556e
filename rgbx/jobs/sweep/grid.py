"""Every combination of a grid, in the order in which they are tried."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rgbx.jobs.sweep.space import Parameter

__all__ = ["next_combination"]


def next_combination(
    parameters: Sequence[Parameter], tried: Iterable[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """The first combination that was not tried yet; the last parameter changes fastest.

    Args:
        parameters: what is varied, each with a finite grid.
        tried: combinations, as parameter name -> label or number.
    """
    names = [parameter.name for parameter in parameters]
    known = {tuple(one.get(name) for name in names) for one in tried}
    for values in itertools.product(*(parameter.grid for parameter in parameters)):
        if values not in known:
            return dict(zip(names, values, strict=True))
    return None
