"""Outlines of animals for generated scenes of camouflage."""

from typing import NamedTuple

import numpy as np
from PIL import ImageDraw

from rgbx.data.synthetic.textures import Plane, Point, Rng, Size, blob, draw

__all__ = ["ANIMALS", "draw_animal"]


class _Pose(NamedTuple):
    """A pen on a page, and where the animal lies: it is 2 long, its head at x = 1, middle at 0."""

    pen: ImageDraw.ImageDraw
    middle: Point
    side: float
    turn: float

    def at(self, x: float, y: float) -> Point:
        cos, sin = float(np.cos(self.turn)), float(np.sin(self.turn))
        across, down = x * cos - y * sin, x * sin + y * cos
        return self.middle[0] + self.side * across, self.middle[1] + self.side * down

    def polygon(self, *points: Point) -> None:
        self.pen.polygon([self.at(x, y) for x, y in points], 255)

    def line(self, width: float, *points: Point) -> None:
        """A thick line with round joints and ends."""
        ends = [self.at(x, y) for x, y in points]
        radius = width * self.side / 2
        self.pen.line(ends, 255, round(2 * radius))
        for x, y in ends:
            self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), 255)

    def body(self, rng: Rng, x: float, radius: Point, wobble: float) -> None:
        long, wide = radius[0] * self.side, radius[1] * self.side
        self.pen.polygon(blob(rng, self.at(x, 0), (long, wide), wobble, self.turn), 255)


def _fish(pose: _Pose, rng: Rng) -> None:
    deep = float(rng.uniform(0.3, 0.5))
    pose.body(rng, 0.2, (0.75, deep), 0.08)
    pose.polygon((-0.35, 0), (-1.0, -0.45), (-0.85, 0), (-1.0, 0.45))
    pose.polygon((0.4, -0.7 * deep), (-0.1, -1.35 * deep), (-0.35, -0.5 * deep))
    pose.polygon((0.2, 0.7 * deep), (-0.1, 1.2 * deep), (-0.3, 0.5 * deep))


def _frog(pose: _Pose, rng: Rng) -> None:
    pose.body(rng, 0.15, (0.65, 0.42), 0.1)
    pose.body(rng, 0.7, (0.32, 0.3), 0.05)
    for side in (-1, 1):
        knee = float(rng.uniform(0.55, 0.8))
        pose.line(0.2, (-0.3, 0.25 * side), (-0.1, knee * side), (-0.8, 0.6 * side))
        pose.line(0.14, (0.45, 0.3 * side), (0.6, knee * side), (0.9, 0.6 * side))


def _moth(pose: _Pose, rng: Rng) -> None:
    spread = float(rng.uniform(0.75, 1.0))
    for side in (-1, 1):
        pose.polygon((0.55, 0), (0.45, spread * side), (-0.2, 0.85 * spread * side), (-0.35, 0))
        pose.polygon((0.1, 0), (-0.3, 0.7 * spread * side), (-0.75, 0.4 * side), (-0.5, 0))
    pose.body(rng, 0, (0.65, 0.13), 0.04)


def _snake(pose: _Pose, rng: Rng) -> None:
    phase, high = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.25, 0.42))
    places = np.linspace(-1.3, 1.3, 40).tolist()
    pose.line(0.24, *((x, high * float(np.sin(4 * x + phase))) for x in places))
    end = high * float(np.sin(4 * 1.3 + phase))
    pose.line(0.36, (1.28, end), (1.36, end))


_SHAPES = {"fish": _fish, "frog": _frog, "moth": _moth, "snake": _snake}
ANIMALS = tuple(_SHAPES)


def draw_animal(size: Size, rng: Rng, kind: str) -> Plane:
    """Share of one of `ANIMALS` in each pixel, (H, W) in [0, 1]; somewhere, in any direction."""
    x, y = (float(v) for v in rng.uniform(0.32, 0.68, 2))
    turn, half = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.22, 0.36))

    def strokes(pen: ImageDraw.ImageDraw, width: float, height: float) -> None:
        pose = _Pose(pen, (x * width, y * height), half * min(width, height), turn)
        _SHAPES[kind](pose, rng)

    return draw(size, strokes)
