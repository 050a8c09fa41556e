"""Families of images: which ones are rotated, flipped or otherwise changed copies of one.

A data set that was augmented before it was published holds each scene many times. A validation set
cut from it at random would hold copies of training images, and scores would be too good.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from rgbx.data.decoding.files import SampleError, read_rgb
from rgbx.data.transforms.augment import resize_image

__all__ = ["THUMBNAIL", "alike_between", "families", "name_family", "thumbnail"]

_SIDE = 16
THUMBNAIL = (_SIDE, _SIDE)
_ROWS = 256  # compared at a time, so that large sets do not fill the memory
_ALIKE = 0.995
_CHANGED = re.compile(
    r"""[\s_.-]*(?:
        \(\d+\)                                                    # a (2)
      | [_.-](?:aug(?:mented)?|copy)(?:[_.-]?\d+)?                 # a_aug_3
      | [_.-]?(?:rot|rotate|rotated|rotation)[_.-]?\d+             # a_rot90
      | [_.-](?:rot|rotate|rotated|r90|r180|r270|90|180|270)       # a_180
      | [_.-](?:[hv]?flip(?:ped)?|flip(?:ped)?[_.-]?(?:h|v|hv|lr|ud|x|y)?|mirror(?:ed)?|lr|ud|hv)
      | [_.-](?:orig(?:inal)?|bright(?:ness)?|dark|noise|blur|contrast|crop)(?:[_.-]?\d+)?
    )$""",
    re.IGNORECASE | re.VERBOSE,
)
_NUMBERED = re.compile(r"(.*\d)[_-]\d{1,2}$")


def name_family(stem: str) -> str:
    """Take the marks of augmentation off a name.

    Rotations (``_rot90``, ``_180``), flips (``_flip``, ``_hflip``, ``_lr``, ``_mirror``),
    ``_aug_3``, ``_copy``, ``_bright``, ``_noise`` and the like, and ``(2)`` are taken off as long
    as there are any; a bare number of one or two digits (``12-1``, ``12_3``) only if a number
    stands before it, as it may be all that names the image (``rail_12``).

    >>> name_family("12_rot90_flip"), name_family("12-1"), name_family("rail_12")
    ('12', '12', 'rail_12')
    """
    while (shorter := _CHANGED.sub("", stem)) not in ("", stem):
        stem = shorter
    numbered = _NUMBERED.match(stem)
    return numbered[1] if numbered else stem


def thumbnail(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Shrink an image (H, W, 3) to a grey 16 x 16 with mean 0 and norm 1 (zeros if constant)."""
    grey = rgb.mean(axis=2, dtype=np.float32)
    small = resize_image(grey, (_SIDE, _SIDE))
    small = small - small.mean(dtype=np.float64).astype(np.float32)
    norm = float(np.linalg.norm(small))
    return small / np.float32(norm) if norm > 1 else np.zeros_like(small)


def families(images: Mapping[str, Path], progress: bool = True) -> dict[str, str]:
    """Find which images are copies of each other, by name and by content.

    Two images are siblings if their names differ in marks of augmentation only
    (`name_family`), or if their thumbnails agree (correlation above 0.995) after one of the eight
    rotations and flips of a square; that is independent of size, brightness and contrast, but not
    of cropping and of rotation by other angles. Siblings of siblings are siblings.

    Args:
        images: path of each image by its stem; each is read once.
        progress: show a progress bar.

    Returns:
        For each stem the first stem, in sorted order, of its family.
    """
    stems = sorted(images)
    parent = list(range(len(stems)))
    first: dict[str, int] = {}
    for i, stem in enumerate(stems):
        _unite(parent, first.setdefault(name_family(stem), i), i)
    small = np.zeros((len(stems), _SIDE, _SIDE), dtype=np.float32)
    for i, stem in enumerate(tqdm(stems, "looking for siblings", disable=not progress)):
        small[i] = _read_thumbnail(images[stem])
    for i, j in _alike(small):
        _unite(parent, i, j)
    return {stem: stems[_root(parent, i)] for i, stem in enumerate(stems)}


def _read_thumbnail(path: Path) -> NDArray[np.float32]:
    try:
        return thumbnail(read_rgb(path))
    except SampleError:  # reported with its reason when the samples are checked
        return np.zeros((_SIDE, _SIDE), dtype=np.float32)


def _alike(small: NDArray[np.float32]) -> Iterable[tuple[int, int]]:
    """Yield pairs whose thumbnails agree in one of the eight orientations."""
    flat = small.reshape(len(small), -1)
    for mirrored in (small, small[:, :, ::-1]):
        for turns in range(4):
            turned = np.rot90(mirrored, turns, axes=(1, 2)).reshape(len(small), -1)
            for i, j in zip(*np.nonzero(flat @ turned.T > _ALIKE), strict=True):
                if i < j:
                    yield int(i), int(j)


def alike_between(
    small: NDArray[np.float32], others: NDArray[np.float32]
) -> Iterable[tuple[int, int]]:
    """For each thumbnail (N, 16, 16) the one of `others` it agrees with best, if it does."""
    best = np.full(len(small), _ALIKE, dtype=np.float32)
    place = np.full(len(small), -1)
    for mirrored in (others, others[:, :, ::-1]):
        for turns in range(4):
            turned = np.rot90(mirrored, turns, axes=(1, 2)).reshape(len(others), -1)
            for start in range(0, len(small) if len(others) else 0, _ROWS):
                rows = slice(start, start + _ROWS)
                found = small[rows].reshape(-1, _SIDE * _SIDE) @ turned.T
                nearest, value = found.argmax(axis=1), found.max(axis=1)
                better = value > best[rows]
                place[rows][better] = nearest[better]
                best[rows][better] = value[better]
    return [(int(i), int(place[i])) for i in np.nonzero(place >= 0)[0]]


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        i = parent[i]
    return i


def _unite(parent: list[int], i: int, j: int) -> None:
    a, b = _root(parent, i), _root(parent, j)
    parent[max(a, b)] = min(a, b)
