"""All images of all tests with their small images, within a budget of bytes."""

import base64
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from rgbx.report.images import ImageRow
from rgbx.report.panels import Size, encode, error_map, photo, second, shown

__all__ = ["CAPTIONS", "Gallery", "make_gallery", "worst"]

CAPTIONS = ("input", "X", "prediction", "ground truth", "errors")
MISSING = -1  # in place of an image's number: its file is missing or damaged
LEFT_OUT = -2  # the budget was used up

_SIZES = tuple(
    Size(*size)
    for size in ((320, 70), (256, 62), (208, 55), (176, 48), (144, 40), (112, 32), (80, 25))
)
_PILOT = 16  # images that tell how large all will be
_STEP = 64  # images made at one size
_IN_TEXT = 4 / 3  # bytes of base64 for a byte

Panels = list[tuple[int, bytes | None]]  # caption, the coded image or None


@dataclass
class Gallery:
    """What the page shows.

    Attributes:
        rows: The images.
        images: For each of them (place in :data:`CAPTIONS`, number of the image).
        data: The images, coded as text, each once.
        missing: Files that are missing or damaged.
        left_out: Number of images whose images the budget did not allow.
    """

    rows: list[ImageRow]
    panels: list[list[tuple[int, int]]] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    missing: dict[Path, None] = field(default_factory=dict)
    left_out: int = 0


def worst(rows: Sequence[ImageRow], limit: int) -> list[ImageRow]:
    """At most so many rows: of every test the same share, those with the lowest scores."""
    if len(rows) <= limit:
        return list(rows)
    tests: dict[str, list[ImageRow]] = {}
    for row in rows:
        tests.setdefault(row.test, []).append(row)
    found: list[ImageRow] = []
    # the smallest test first, so that what it leaves over goes to the larger ones
    for left, own in zip(range(len(tests), 0, -1), sorted(tests.values(), key=len), strict=True):
        quota = (limit - len(found)) // left
        # rows without a score (NaN) come last
        found += sorted(own, key=lambda row: (row.headline != row.headline, row.headline))[:quota]
    kept = set(map(id, found))
    return [row for row in rows if id(row) in kept]


def make_gallery(rows: Sequence[ImageRow], budget: int, progress: bool = True) -> Gallery:
    """Make the small images, as large as the budget allows.

    Args:
        rows: The images.
        budget: Bytes that the images may take on the page, as text. It is kept: images for which
            nothing is left have no images.
        progress: Whether to show a bar.
    """
    gallery = Gallery(list(rows))
    store = _Store(gallery)
    workers = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        place = _first_size(pool, rows, budget)
        makers = [_Maker(size) for size in _SIZES]
        bar = tqdm(
            total=len(rows),
            desc="panels",
            disable=not progress or not rows,
            leave=False,
            mininterval=1,
        )
        for start in range(0, len(rows), _STEP):
            part = rows[start : start + _STEP]
            if store.bytes >= budget:
                gallery.panels += [_none(row) for row in part]
                gallery.left_out += len(part)
                continue
            made = pool.map(makers[place], part)
            for row, panels in zip(part, made, strict=True):
                store.add(row, panels, budget)
                bar.update()
            done = min(start + _STEP, len(rows))
            ahead = store.bytes / done * len(rows)
            place = min(place + (ahead > budget), len(_SIZES) - 1)
        bar.close()
    return gallery


class _Store:
    """Takes images in, equal ones once."""

    def __init__(self, gallery: Gallery) -> None:
        self.bytes = 0
        self._gallery = gallery
        self._known: dict[bytes, int] = {}

    def add(self, row: ImageRow, panels: Panels, budget: int) -> None:
        """Add the panels of one image, or none of them if they do not fit."""
        new = {code for _, code in panels if code is not None and code not in self._known}
        needed = sum(len(base64.b64encode(code)) + 3 for code in new)
        if self.bytes + needed > budget:
            self._gallery.panels.append(_none(row))
            self._gallery.left_out += 1
            return
        self.bytes += needed
        files = _files(row)
        found = []
        for caption, code in panels:
            if code is None:
                self._gallery.missing.update(dict.fromkeys(_absent(files[caption])))
                found.append((caption, MISSING))
                continue
            if code not in self._known:
                self._known[code] = len(self._gallery.data)
                self._gallery.data.append(base64.b64encode(code).decode())
            found.append((caption, self._known[code]))
        self._gallery.panels.append(found)


def _files(row: ImageRow) -> list[tuple[Path | None, ...]]:
    """The files that each image is made of; all None where there is no such image."""
    both = (row.prediction, row.truth) if row.prediction and row.truth else (None,)
    return [(row.rgb,), (row.x,), (row.prediction,), (row.truth,), both]


def _absent(files: Iterable[Path | None]) -> list[Path]:
    """Files to blame for an image that could not be made; the first if all are there."""
    known = [path for path in files if path is not None]
    return [path for path in known if not path.is_file()] or known[:1]


def _none(row: ImageRow) -> list[tuple[int, int]]:
    return [(i, LEFT_OUT) for i, files in enumerate(_files(row)) if files[0] is not None]


class _Maker:
    """Makes the images of images; one that several share is made once."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self._made: dict[tuple[int, tuple[Path | None, ...]], bytes | None] = {}

    def __call__(self, row: ImageRow) -> Panels:
        found: Panels = []
        for caption, files in enumerate(_files(row)):
            if files[0] is None:
                continue
            key = (caption, files)
            if key not in self._made:
                panel = self._panel(caption, row)
                code = None if panel is None else encode(panel, self._size.quality)
                self._made[key] = code
            found.append((caption, self._made[key]))
        return found

    def _panel(self, caption: int, row: ImageRow) -> Image.Image | None:
        side = self._size.side
        if caption == 0 and row.rgb:
            return photo(row.rgb, side)
        if caption == 1 and row.x:
            return second(row.x, row.rgb, side)
        if caption == 4 and row.prediction and row.truth:
            return error_map(row.prediction, row.truth, side)
        path = row.prediction if caption == 2 else row.truth
        return shown(path, side) if path else None


def _first_size(pool: ThreadPoolExecutor, rows: Sequence[ImageRow], budget: int) -> int:
    """The largest size at which a sample of the images says that all will fit."""
    sample = list(rows[:: max(1, len(rows) // _PILOT)])[:_PILOT]
    if not sample:
        return 0
    for place, size in enumerate(_SIZES):
        made = list(pool.map(_Maker(size), sample))
        used = sum(len(code) for panels in made for _, code in panels if code is not None)
        if used * _IN_TEXT / len(sample) * len(rows) <= 0.9 * budget:
            return place
    return len(_SIZES) - 1
