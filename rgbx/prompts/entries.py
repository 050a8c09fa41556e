"""One prompt of a file, with the place it was read from, and the checks that both formats share."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from rgbx.errors import DataError
from rgbx.prompts.prompt import Prompt

__all__ = ["Entry", "box_entry", "points_entry"]


class Entry(NamedTuple):
    """A prompt in pixels of its upright image, and ``FILE line N`` for messages."""

    prompt: Prompt
    where: str


def box_entry(corners: Sequence[float], where: str) -> Entry:
    """Make a box prompt.

    Raises:
        DataError: these are no four finite numbers, or the box has no area.
    """
    if len(corners) != 4 or not all(map(math.isfinite, corners)):
        raise DataError(
            f"{where}: a box is x_min, y_min, x_max, y_max, four numbers, but {list(corners)} is "
            "given"
        )
    left, top, right, bottom = corners
    if right <= left or bottom <= top:
        raise DataError(
            f"{where}: the box {list(corners)} has no area; x_max must exceed x_min and y_max y_min"
        )
    return Entry(Prompt(kind="box", box=torch.tensor(corners, dtype=torch.float32)), where)


def points_entry(points: Sequence[Sequence[float]], labels: Sequence[float], where: str) -> Entry:
    """Make a prompt of points.

    Raises:
        DataError: there are none, one is no pair of finite numbers, or a label is not 0 or 1.
    """
    if not points or any(len(p) != 2 or not all(map(math.isfinite, p)) for p in points):
        raise DataError(f"{where}: points are pairs of numbers x, y, one at least")
    if len(labels) != len(points):
        raise DataError(f"{where}: {len(points)} points have {len(labels)} labels; give one each")
    foreign = [label for label in labels if label not in (0, 1)]
    if foreign:
        raise DataError(
            f"{where}: label {foreign[0]:g} has no meaning; give 1 for a point on the object, 0 "
            "for one next to it"
        )
    places = torch.tensor(points, dtype=torch.float32)
    marks = torch.tensor([int(label) for label in labels], dtype=torch.int64)
    return Entry(Prompt(kind="points", points=places, labels=marks), where)
