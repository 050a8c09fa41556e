"""All images of all tests with their small images, within a budget of bytes."""

import base64
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from rgbx.report.images import ImageRow
from rgbx.report.panels import encode, error_map, is_drawing, photo, second, shown

__all__ = ["CAPTIONS", "Gallery", "make_gallery", "worst"]

CAPTIONS = ("input", "X", "prediction", "ground truth", "errors")
MISSING = -1  # in place of an image's number: its file is missing or damaged
LEFT_OUT = -2  # the budget was used up

#: longer side in pixels and quality of the coding
_SIZES = ((320, 70), (256, 62), (208, 55), (176, 48), (144, 40), (112, 32), (80, 25))
_PILOT = 16  # images that tell how large all will be
_STEP = 64  # images made at one size
_IN_TEXT = 4 / 3  # bytes of base64 for a byte

#: caption, files of one image -> the coded image, or None if a file is missing or damaged
Panels = dict[tuple[int, tuple[Path, ...]], bytes | None]


@dataclass
class Gallery:
    """What the page shows.

    Attributes:
        rows: The images.
        panels: For each of them (place in :data:`CAPTIONS`, number of the image).
        data: The images, coded as text, each once.
        missing: Files that are missing or damaged.
        left_out: Number of images whose images the budget did not allow.
        used: Bytes that the images take on the page.
    """

    rows: list[ImageRow]
    panels: list[list[tuple[int, int]]] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    missing: dict[Path, None] = field(default_factory=dict)
    left_out: int = 0
    used: int = 0
    _known: dict[bytes, int] = field(default_factory=dict)

    def add(self, panels: Panels, budget: int) -> None:
        """Add the panels of the next row, or none of them if they do not fit."""
        new = {code for code in panels.values() if code is not None and code not in self._known}
        needed = sum(len(base64.b64encode(code)) + 3 for code in new)
        if self.used + needed > budget:
            self.leave_out([caption for caption, _ in panels])
            return
        self.used += needed
        numbers = []
        for (caption, files), code in panels.items():
            if code is None:
                absent = [path for path in files if not path.is_file()]
                self.missing.update(dict.fromkeys(absent or files[:1]))
            elif code not in self._known:
                self._known[code] = len(self.data)
                self.data.append(base64.b64encode(code).decode())
            numbers.append((caption, MISSING if code is None else self._known[code]))
        self.panels.append(numbers)

    def leave_out(self, captions: Sequence[int]) -> None:
        """Add no panels of the next row."""
        self.panels.append([(caption, LEFT_OUT) for caption in captions])
        self.left_out += 1


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
    made: list[Panels] = [{} for _ in _SIZES]  # an image that several rows share is made once
    bar = tqdm(
        total=len(rows),
        desc="panels",
        disable=not progress or not rows,
        leave=False,
        mininterval=1,
    )
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool, bar:
        place = _first_size(pool, rows, budget)
        for start in range(0, len(rows), _STEP):
            part = rows[start : start + _STEP]
            if gallery.used >= budget:
                for row in part:
                    gallery.leave_out([caption for caption, _, _ in _sources(row)])
                continue
            for panels in pool.map(partial(_made, _SIZES[place], made[place]), part):
                gallery.add(panels, budget)
                bar.update()
            ahead = gallery.used / min(start + _STEP, len(rows)) * len(rows)
            place = min(place + (ahead > budget), len(_SIZES) - 1)
    return gallery


def _sources(
    row: ImageRow,
) -> list[tuple[int, tuple[Path, ...], Callable[[int], Image.Image | None]]]:
    """Caption and files of every image of a row, and what makes it with a given longer side."""
    found: list[tuple[int, tuple[Path, ...], Callable[[int], Image.Image | None]]] = []
    if row.rgb:
        found.append((0, (row.rgb,), partial(photo, row.rgb)))
    if row.x:
        found.append((1, (row.x,), partial(second, row.x, row.rgb)))
    if row.prediction:
        found.append((2, (row.prediction,), partial(shown, row.prediction)))
    if row.truth:
        found.append((3, (row.truth,), partial(shown, row.truth)))
    if row.prediction and row.truth and not is_drawing(row.prediction):
        pair = (row.prediction, row.truth)
        found.append((4, pair, partial(error_map, *pair)))
    return found


def _made(size: tuple[int, int], before: Panels, row: ImageRow) -> Panels:
    """The images of a row, taken from those made before where they are there."""
    side, quality = size
    found: Panels = {}
    for caption, files, make in _sources(row):
        key = (caption, files)
        if key not in before:
            panel = make(side)
            before[key] = None if panel is None else encode(panel, quality)
        found[key] = before[key]
    return found


def _first_size(pool: ThreadPoolExecutor, rows: Sequence[ImageRow], budget: int) -> int:
    """The largest size at which a sample of the images says that all will fit."""
    sample = list(rows[:: max(1, len(rows) // _PILOT)])[:_PILOT]
    for place, size in enumerate(_SIZES):
        made = pool.map(partial(_made, size, {}), sample)
        used = sum(len(code) for panels in made for code in panels.values() if code is not None)
        if used * _IN_TEXT * len(rows) <= 0.9 * budget * len(sample):
            return place
    return len(_SIZES) - 1
