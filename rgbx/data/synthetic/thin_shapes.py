"""Thin and frayed things, drawn as masks: fences, wires, antennas, plants, animals with fur.

Each function draws one object in white on black; coordinates are shares of the image's sides.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from PIL import ImageDraw

from rgbx.data.synthetic.textures import Point, Rng

__all__ = ["THIN_SHAPES", "Pencil"]


class Pencil:
    """Draws white lines and areas on an "L" image; widths are shares of its shorter side."""

    def __init__(self, draw: ImageDraw.ImageDraw, size: tuple[float, float]) -> None:
        self._draw = draw
        self._scale = (size[1], size[0])
        self._unit = min(size)

    def _at(self, points: list[Point]) -> list[Point]:
        return [(x * self._scale[0], y * self._scale[1]) for x, y in points]

    def line(self, points: list[Point], width: float, value: int = 255) -> None:
        """Draw a line through points."""
        pixels = max(1, round(width * self._unit))
        self._draw.line(self._at(points), fill=value, width=pixels, joint="curve")

    def area(self, points: list[Point], value: int = 255) -> None:
        """Fill a polygon."""
        self._draw.polygon(self._at(points), fill=value)

    def disc(self, centre: Point, radii: Point, value: int = 255) -> None:
        """Fill an ellipse."""
        (x, y), (a, b) = centre, radii
        corners = self._at([(x - a, y - b), (x + a, y + b)])
        self._draw.ellipse([*corners[0], *corners[1]], fill=value)


def _fence(pencil: Pencil, rng: Rng) -> None:
    """Posts, two rails and pickets between them."""
    left, right = float(rng.uniform(0.05, 0.2)), float(rng.uniform(0.7, 0.95))
    top, bottom = float(rng.uniform(0.2, 0.4)), float(rng.uniform(0.7, 0.95))
    tilt = float(rng.uniform(-0.06, 0.06))
    count = int(rng.integers(6, 14))
    for share in np.linspace(0, 1, count).tolist():
        x, shift = left + (right - left) * share, tilt * share
        thick = 0.035 if share in (0.0, 1.0) else 0.012
        pencil.line([(x, top + shift), (x, bottom + shift)], thick)
    for share in (0.2, 0.75):
        y = top + (bottom - top) * share
        pencil.line([(left, y), (right, y + tilt)], 0.015)


def _wires(pencil: Pencil, rng: Rng) -> None:
    """A pole with cross-arms and wires that sag to both borders of the image."""
    x, foot = float(rng.uniform(0.3, 0.7)), float(rng.uniform(0.8, 0.95))
    pencil.line([(x, 0.12), (x, foot)], 0.03)
    for y in (0.18, 0.3):
        pencil.line([(x - 0.14, y), (x + 0.14, y)], 0.016)
        for start in (x - 0.13, x + 0.13):
            for end in (float(rng.uniform(0.0, 0.1)), float(rng.uniform(0.9, 1.0))):
                sag = float(rng.uniform(0.05, 0.14))
                shares = np.linspace(0, 1, 12).tolist()
                curve = [(start + (end - start) * t, y + 4 * sag * t * (1 - t)) for t in shares]
                pencil.line(curve, 0.008)


def _antenna(pencil: Pencil, rng: Rng) -> None:
    """A mast of lattice work with rods across its top."""
    x, half = float(rng.uniform(0.35, 0.65)), float(rng.uniform(0.05, 0.1))
    top, foot = float(rng.uniform(0.08, 0.18)), float(rng.uniform(0.8, 0.95))
    levels = np.linspace(0, 1, 8).tolist()
    sides = [(top + (foot - top) * t, half * (0.15 + 0.85 * t)) for t in levels]
    for sign in (-1, 1):
        pencil.line([(x + sign * wide, y) for y, wide in sides], 0.014)
    for (y, wide), (below, wider) in pairwise(sides):
        pencil.line([(x - wide, y), (x + wider, below)], 0.009)
        pencil.line([(x + wide, y), (x - wider, below)], 0.009)
    for i in range(int(rng.integers(3, 6))):
        y, reach = top + 0.05 * i, float(rng.uniform(0.08, 0.24))
        pencil.line([(x - reach, y), (x + reach, y)], 0.01)


def _plant(pencil: Pencil, rng: Rng) -> None:
    """A pot with stems that bend and carry leaves."""
    x, foot = float(rng.uniform(0.35, 0.65)), float(rng.uniform(0.85, 0.95))
    pot = [(x - 0.1, foot - 0.18), (x + 0.1, foot - 0.18), (x + 0.07, foot), (x - 0.07, foot)]
    pencil.area(pot)
    for _ in range(int(rng.integers(5, 10))):
        end = (x + float(rng.uniform(-0.35, 0.35)), float(rng.uniform(0.08, 0.4)))
        bend = float(rng.uniform(-0.1, 0.1))
        shares = np.linspace(0, 1, 10).tolist()
        stem = [
            (
                x + (end[0] - x) * t + 4 * bend * t * (1 - t),
                foot - 0.18 + (end[1] - foot + 0.18) * t,
            )
            for t in shares
        ]
        pencil.line(stem, 0.01)
        for place in stem[4:]:
            pencil.disc(place, (float(rng.uniform(0.01, 0.03)), float(rng.uniform(0.01, 0.02))))


def _animal(pencil: Pencil, rng: Rng) -> None:
    """A body, a head with whiskers, thin legs, a tail, and fur all around, half transparent."""
    x, y = float(rng.uniform(0.4, 0.6)), float(rng.uniform(0.4, 0.55))
    a, b = float(rng.uniform(0.2, 0.28)), float(rng.uniform(0.13, 0.18))
    head = (x - a - 0.02, y - b * 0.7)
    for angle in rng.uniform(0, 2 * np.pi, 220).tolist():
        out = float(rng.uniform(1.05, 1.3))
        edge = (x + a * np.cos(angle), y + b * np.sin(angle))
        tip = (x + a * out * np.cos(angle + 0.06), y + b * out * np.sin(angle + 0.06))
        pencil.line([edge, tip], 0.004, int(rng.integers(110, 256)))
    for leg in (-0.7, -0.4, 0.4, 0.7):
        pencil.line([(x + a * leg, y), (x + a * leg + 0.01, y + b + 0.2)], 0.025)
    tail = [(x + a, y), (x + a + 0.07, y - 0.08), (x + a + 0.09, y - 0.2)]
    pencil.line(tail, 0.015)
    pencil.disc((x, y), (a, b))
    pencil.disc(head, (0.09, 0.08))
    for side in (-0.03, 0.0, 0.03):
        pencil.line([head, (head[0] - 0.14, head[1] + side)], 0.004, 170)


#: name of an object -> draws one
THIN_SHAPES: dict[str, Callable[[Pencil, Rng], None]] = {
    "fence": _fence,
    "wires": _wires,
    "antenna": _antenna,
    "plant": _plant,
    "animal": _animal,
}
