"""The objects of generated scenes, as parts in a unit box.

Coordinates are (x right, y down) in [0, 1]; `aspect` is width over height. Every part names its
colour in RGB and its heat: 0 is the temperature of the surroundings, 1 the object's own.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["SHAPES", "Part", "Shape"]

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Part:
    """A filled ellipse (two corners of its box) or polygon."""

    kind: Literal["ellipse", "polygon"]
    points: Points
    colour: str
    heat: float = 1.0


@dataclass(frozen=True)
class Shape:
    """An object: its parts from back to front, and what it can look like.

    Args:
        aspect: width over height.
        height: smallest and largest height as a share of the image's.
        parts: what is painted.
        body: colours of the parts called "body", one of which is drawn.
        modes: probability of being visible in "both", only in "rgb", only in "x".
        night: the same by night.
    """

    aspect: float
    height: tuple[float, float]
    parts: tuple[Part, ...]
    body: tuple[tuple[int, int, int], ...]
    modes: tuple[float, float, float]
    night: tuple[float, float, float]


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def _poly(points: Points, colour: str, heat: float = 1.0) -> Part:
    return Part("polygon", points, colour, heat)


def _round(points: Points, colour: str, heat: float = 1.0) -> Part:
    return Part("ellipse", points, colour, heat)


_PERSON = (
    _poly(((0.30, 0.52), (0.50, 0.52), (0.44, 1.0), (0.26, 1.0)), "trousers", 0.75),
    _poly(((0.50, 0.52), (0.70, 0.52), (0.76, 1.0), (0.58, 1.0)), "trousers", 0.75),
    _poly(((0.20, 0.20), (0.32, 0.18), (0.22, 0.58), (0.08, 0.56)), "body", 0.8),
    _poly(((0.68, 0.18), (0.80, 0.20), (0.92, 0.56), (0.78, 0.58)), "body", 0.8),
    _poly(((0.24, 0.19), (0.76, 0.19), (0.70, 0.56), (0.30, 0.56)), "body", 0.85),
    _round(((0.31, 0.0), (0.69, 0.18)), "skin", 1.0),
)
_SURVIVOR = (
    _poly(((0.42, 0.62), (1.0, 0.66), (1.0, 0.95), (0.42, 0.98)), "trousers", 0.75),
    _poly(((0.10, 0.28), (0.40, 0.22), (0.52, 0.98), (0.06, 1.0)), "body", 0.85),
    _poly(((0.34, 0.36), (0.44, 0.34), (0.72, 0.66), (0.62, 0.74)), "body", 0.9),
    _round(((0.12, 0.0), (0.37, 0.32)), "skin", 1.0),
)
_CAR = (
    _poly(((0.16, 0.46), (0.28, 0.06), (0.72, 0.06), (0.88, 0.46)), "body", 0.35),
    _poly(((0.22, 0.42), (0.31, 0.13), (0.49, 0.13), (0.49, 0.42)), "glass", 0.2),
    _poly(((0.53, 0.42), (0.53, 0.13), (0.69, 0.13), (0.80, 0.42)), "glass", 0.2),
    _poly(
        ((0.0, 0.50), (0.06, 0.42), (0.96, 0.42), (1.0, 0.54), (1.0, 0.82), (0.0, 0.82)),
        "body",
        0.5,
    ),
    _poly(((0.80, 0.44), (0.96, 0.44), (1.0, 0.54), (1.0, 0.78), (0.80, 0.78)), "body", 1.0),
    _poly(_box(0.95, 0.52, 1.0, 0.62), "lamp", 0.9),
    _round(((0.12, 0.62), (0.30, 1.0)), "tyre", 0.9),
    _round(((0.70, 0.62), (0.88, 1.0)), "tyre", 0.9),
    _round(((0.17, 0.73), (0.25, 0.89)), "steel", 0.6),
    _round(((0.75, 0.73), (0.83, 0.89)), "steel", 0.6),
)
_BIKE = (
    _round(((0.0, 0.36), (0.42, 1.0)), "tyre", 0.8),
    _round(((0.06, 0.45), (0.36, 0.91)), "spokes", 0.4),
    _round(((0.58, 0.36), (1.0, 1.0)), "tyre", 0.8),
    _round(((0.64, 0.45), (0.94, 0.91)), "spokes", 0.4),
    _poly(((0.18, 0.70), (0.34, 0.26), (0.70, 0.26), (0.46, 0.76)), "body"),
    _poly(((0.27, 0.64), (0.37, 0.36), (0.60, 0.36), (0.45, 0.64)), "spokes", 0.4),
    _poly(((0.66, 0.10), (0.74, 0.10), (0.83, 0.68), (0.75, 0.70)), "body"),
    _poly(_box(0.26, 0.14, 0.46, 0.24), "tyre", 0.6),
    _poly(_box(0.60, 0.04, 0.84, 0.12), "tyre", 0.6),
)
_CONE = (
    _poly(_box(0.0, 0.88, 1.0, 1.0), "body"),
    _poly(((0.42, 0.0), (0.58, 0.0), (0.86, 0.90), (0.14, 0.90)), "body"),
    _poly(((0.34, 0.30), (0.66, 0.30), (0.73, 0.52), (0.27, 0.52)), "white"),
)
_EXTINGUISHER = (
    _poly(((0.44, 0.04), (0.92, 0.10), (0.92, 0.18), (0.44, 0.16)), "tyre"),
    _poly(_box(0.36, 0.06, 0.64, 0.26), "steel"),
    _round(((0.12, 0.18), (0.88, 0.42)), "body"),
    _poly(_box(0.12, 0.30, 0.88, 1.0), "body"),
    _poly(_box(0.12, 0.52, 0.88, 0.70), "white"),
)
_BACKPACK = (
    _round(((0.30, 0.0), (0.70, 0.22)), "tyre"),
    _round(((0.06, 0.06), (0.94, 0.60)), "body"),
    _poly(((0.06, 0.32), (0.94, 0.32), (1.0, 0.96), (0.0, 0.96)), "body"),
    _poly(((0.20, 0.56), (0.80, 0.56), (0.84, 0.88), (0.16, 0.88)), "trousers"),
)
_DRILL = (
    _poly(_box(0.0, 0.12, 0.26, 0.24), "steel", 0.8),
    _poly(((0.22, 0.02), (0.96, 0.0), (1.0, 0.38), (0.22, 0.36)), "body"),
    _poly(((0.58, 0.34), (0.86, 0.34), (0.94, 0.80), (0.68, 0.80)), "body", 0.7),
    _poly(_box(0.56, 0.78, 1.0, 1.0), "tyre", 0.9),
)

_SHIRTS = (
    (190, 40, 45),
    (40, 70, 170),
    (225, 220, 210),
    (45, 130, 80),
    (120, 60, 140),
    (35, 38, 45),
)

SHAPES: dict[str, Shape] = {
    "person": Shape(0.40, (0.24, 0.44), _PERSON, _SHIRTS, (0.55, 0.0, 0.45), (0.25, 0.0, 0.75)),
    "car": Shape(
        2.05,
        (0.17, 0.30),
        _CAR,
        ((200, 30, 35), (235, 235, 235), (35, 70, 150), (160, 165, 170), (215, 180, 40)),
        (0.45, 0.35, 0.20),
        (0.35, 0.25, 0.40),
    ),
    "bike": Shape(
        1.45,
        (0.17, 0.28),
        _BIKE,
        ((210, 40, 120), (30, 150, 190), (240, 200, 40)),
        (0.2, 0.8, 0.0),
        (0.2, 0.8, 0.0),
    ),
    "color_cone": Shape(
        0.72, (0.13, 0.24), _CONE, ((245, 95, 20),), (0.0, 1.0, 0.0), (0.0, 1.0, 0.0)
    ),
    "fire_extinguisher": Shape(
        0.42, (0.18, 0.32), _EXTINGUISHER, ((205, 25, 30),), (0.0, 1.0, 0.0), (0.0, 1.0, 0.0)
    ),
    "backpack": Shape(
        0.80,
        (0.17, 0.30),
        _BACKPACK,
        ((40, 120, 60), (60, 140, 110)),
        (0.3, 0.7, 0.0),
        (0.3, 0.7, 0.0),
    ),
    "hand_drill": Shape(
        1.05, (0.13, 0.22), _DRILL, ((30, 90, 200),), (0.3, 0.2, 0.5), (0.2, 0.2, 0.6)
    ),
    "survivor": Shape(
        1.15,
        (0.22, 0.36),
        _SURVIVOR,
        ((90, 80, 70), (200, 120, 40)),
        (0.4, 0.0, 0.6),
        (0.2, 0.0, 0.8),
    ),
}
