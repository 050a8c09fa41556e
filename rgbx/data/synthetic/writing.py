"""What the writers of generated data sets share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rgbx.disk import write_image

__all__ = ["Counts", "save", "split_scenes"]

Counts = Mapping[str, int]
T = TypeVar("T")


def save(path: Path, array: NDArray[np.generic]) -> None:
    """Write an image in the format of its suffix; JPEG with quality 95."""
    write_image(array, path, **({"quality": 95} if path.suffix in (".jpg", ".jpeg") else {}))


def split_scenes(counts: Counts, train: T, test: T, others: Sequence[T] = ()) -> list[T]:
    """The place of each scene, for data sets that have no validation set.

    Scenes of "train" and "val" go to `train`, those of "test" to `test`; each of `others` gets half
    as many as `test`, at least one unless there are none.
    """
    tests = counts.get("test", 0)
    half = max(1, tests // 2) if tests else 0
    places = [train] * (counts.get("train", 0) + counts.get("val", 0)) + [test] * tests
    return places + [other for other in others for _ in range(half)]
