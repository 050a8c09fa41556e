"""Images that are in two splits: the same file, the same content, or the same to the eye."""

import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rgbx.data.splits.records import Record
from rgbx.data.splits.siblings import alike_between

__all__ = ["Shared", "describe", "near_duplicates", "shared_images"]

_HEAD = 2**16  # bytes that tell most files of equal size apart


class Shared(NamedTuple):
    """An image of one split that another split has too; `same_file`, or a copy."""

    first: Record
    second: Record
    same_file: bool


def shared_images(first: Sequence[Record], second: Sequence[Record]) -> list[Shared]:
    """Find the images of `first` that are in `second` too, by their files and by their content.

    Only files of equal size and equal beginning are read whole, so that this takes little more than
    a look at the folders. Files that cannot be read are passed by: the reading of samples says so.
    """
    places = {os.path.realpath(record.rgb): record for record in second}
    found = {i: places.get(os.path.realpath(record.rgb)) for i, record in enumerate(first)}
    shared = {i: Shared(first[i], other, True) for i, other in found.items() if other is not None}
    rest = [i for i in range(len(first)) if i not in shared]
    for i, other in _equal([first[i].rgb for i in rest], [r.rgb for r in second]):
        shared[rest[i]] = Shared(first[rest[i]], second[other], False)
    return [shared[i] for i in sorted(shared)]


def _equal(first: Sequence[Path], second: Sequence[Path]) -> Iterator[tuple[int, int]]:
    """Positions of files of equal content; of several equal ones in `second`, the first."""
    left, right = list(range(len(first))), list(range(len(second)))
    keys: tuple[dict[int, Hashable], dict[int, Hashable]] = ({}, {})
    for step in (_size, _head, _whole):  # each looks closer, at fewer files
        keys = _keys(first, left, step), _keys(second, right, step)
        common = set(keys[0].values()) & set(keys[1].values())
        left = [i for i, key in keys[0].items() if key in common]
        right = [i for i, key in keys[1].items() if key in common]
    places = {keys[1][i]: i for i in reversed(right)}
    for i in left:
        yield i, places[keys[0][i]]


def _keys(
    paths: Sequence[Path], chosen: Sequence[int], step: Callable[[Path], Hashable]
) -> dict[int, Hashable]:
    keys = {i: _try(step, paths[i]) for i in chosen}
    return {i: key for i, key in keys.items() if key is not None}


def _try(step: Callable[[Path], Hashable], path: Path) -> Hashable | None:
    try:
        return step(path)
    except OSError:  # reported when the samples are checked
        return None


def _size(path: Path) -> int:
    return path.stat().st_size


def _head(path: Path) -> tuple[int, bytes]:
    with path.open("rb") as file:
        return path.stat().st_size, blake2b(file.read(_HEAD)).digest()


def _whole(path: Path) -> bytes:
    digest = blake2b()
    with path.open("rb") as file:
        while piece := file.read(2**22):
            digest.update(piece)
    return digest.digest()


def describe(shared: Sequence[Shared], first: str, second: str) -> list[str]:
    """A line for what two splits share as files, and one for what they share as copies.

    Args:
        shared: of the two.
        first: name of the one split.
        second: name of the other.
    """
    lines = []
    files = [s for s in shared if s.same_file]
    if files:
        least = min(str(s.first.rgb) for s in files)
        lines.append(f"{len(files)} samples are in {first} and in {second}, for instance {least}")
    copies = [s for s in shared if not s.same_file]
    if copies:
        one = min(copies, key=lambda s: str(s.first.rgb))
        lines.append(
            f"{len(copies)} samples of {first} are in {second} as other files, equal byte for "
            f"byte, for instance {one.first.rgb} and {one.second.rgb}"
        )
    return lines


def near_duplicates(
    splits: Mapping[str, tuple[Sequence[Path], NDArray[np.float32]]],
) -> list[tuple[str, Path, str, Path]]:
    """Pairs of images in different splits that look the same.

    Args:
        splits: for each its images, and their thumbnails (N, 16, 16) as
            `rgbx.data.splits.siblings.thumbnail` makes them. Size, brightness, contrast, rotation
            by a right angle, and flips do not matter.

    Returns:
        (split, image, other split, image), for each image of the one split the most similar one of
        the other.
    """
    names, found = list(splits), []
    for a, name in enumerate(names):
        for other in names[a + 1 :]:
            (paths, small), (others, thumbnails) = splits[name], splits[other]
            for i, j in alike_between(small, thumbnails):
                found.append((name, paths[i], other, others[j]))
    return found
