"""Generated RGB-thermal and RGB-depth scenes in which neither camera is enough.

Cold things (cones, bikes, parked cars) are visible only in RGB; people in the dark or in clothes of
the background's colours only in thermal. Unlabelled distractors exist in each: life-size dummies of
people in RGB, warm pipes and gratings in thermal. The two images are aligned to the pixel.

With a depth camera (near is bright), a thing visible only in RGB is a flat print, and one visible
only in depth wears the colours of what lies behind it; posts and boxes are distractors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from rgbx.data.synthetic.backgrounds import SHARP, Canvas, nearness, shade, street, tunnel, yard
from rgbx.data.synthetic.shapes import SHAPES, Shape
from rgbx.data.synthetic.textures import Colour, Rng, Size, smooth, to_bytes

__all__ = [
    "SALIENT",
    "SALIENT_DEPTH",
    "STREET",
    "TUNNEL",
    "Scene",
    "Theme",
    "make_instances",
    "make_scene",
]

_PAINTS: dict[str, Colour] = {
    "trousers": (50, 52, 62),
    "skin": (222, 176, 148),
    "glass": (52, 66, 82),
    "lamp": (255, 246, 200),
    "tyre": (26, 26, 28),
    "steel": (168, 172, 178),
    "spokes": (128, 130, 132),
    "white": (244, 244, 240),
}


class Scene(NamedTuple):
    """One generated pair: rgb (H, W, 3), thermal or depth x (H, W) and ids (H, W), all uint8."""

    rgb: NDArray[np.uint8]
    x: NDArray[np.uint8]
    ids: NDArray[np.uint8]


@dataclass(frozen=True)
class Theme:
    """What scenes of a data set show.

    Args:
        objects: class id of each kind of object.
        dummy: kind of object that also stands about as a cold dummy (RGB only, no label).
        background: paints the empty scene and returns its horizon in [0, 1].
        count: fewest objects, and one more than the most.
        enlarge: factor on the objects' usual height.
        depth: x is distance, not heat.
    """

    objects: dict[str, int]
    dummy: str
    background: Callable[[Canvas, Rng, bool], float]
    count: tuple[int, int] = (4, 8)
    enlarge: float = 1.0
    depth: bool = False


STREET = Theme({"car": 1, "person": 2, "bike": 3, "color_cone": 7}, "person", street)
TUNNEL = Theme(
    {"fire_extinguisher": 1, "backpack": 2, "hand_drill": 3, "survivor": 4}, "survivor", tunnel
)
_SALIENT = {"car": 1, "person": 1, "bike": 1, "color_cone": 1}
SALIENT = Theme(_SALIENT, "person", street, count=(1, 4), enlarge=1.5)
SALIENT_DEPTH = Theme(_SALIENT, "person", yard, count=(1, 4), enlarge=1.5, depth=True)


def _paint_object(
    canvas: Canvas,
    rng: Rng,
    shape: Shape,
    place: tuple[float, float, float],
    mode: str,
    label: int,
    near: int | None = None,
) -> None:
    """Paint one object.

    `place` is its centre and its foot in [0, 1] and its height in pixels; `near` is its value in
    x if that is depth, and None if x is heat.
    """
    centre, foot, height = place
    width = height * shape.aspect
    origin = (centre * canvas.width - width / 2, foot * canvas.height - height)
    mirrored = rng.random() < 0.5
    paints = _PAINTS | {
        "body": shade(shape.body[rng.integers(len(shape.body))], rng.uniform(0.8, 1.1))
    }
    hot, ambient = int(rng.integers(205, 245)), 85
    before = canvas.rgb.copy()
    shadow = (origin[0] - 0.04 * width, origin[1] + 0.93 * height)
    far = (origin[0] + 1.04 * width, origin[1] + 1.04 * height)
    canvas.draw_rgb.ellipse((*shadow, *far), (58, 57, 56))
    for part in shape.parts:
        points = [
            (origin[0] + (1 - x if mirrored else x) * width, origin[1] + y * height)
            for x, y in part.points
        ]
        heat = round(ambient + (hot - ambient) * part.heat) if near is None else near
        for draw, value in _targets(canvas, mode, paints[part.colour], heat, label):
            if part.kind == "ellipse":
                (x0, y0), (x1, y1) = points
                draw.ellipse([(min(x0, x1), y0), (max(x0, x1), y1)], value)
            else:
                draw.polygon(points, value)
    if mode == "x":
        # Clothes in the colours of what lies behind: a faint trace is all that RGB shows.
        canvas.rgb.paste(Image.blend(before, canvas.rgb, 0.08))


def _targets(
    canvas: Canvas, mode: str, colour: Colour, heat: int, label: int
) -> list[tuple[ImageDraw.ImageDraw, Colour | int]]:
    targets: list[tuple[ImageDraw.ImageDraw, Colour | int]] = [(canvas.draw_rgb, colour)]
    if mode != "rgb":
        targets.append((canvas.draw_x, heat))
    return [*targets, (ImageDraw.Draw(canvas.ids), label)] if label >= 0 else targets


def _place(
    canvas: Canvas, rng: Rng, shape: Shape, foot: float, height: float
) -> tuple[float, float, float] | None:
    """Find a free place for an object of a height in [0, 1]; None if there is hardly any."""
    half = height * canvas.height * shape.aspect / canvas.width / 2
    for _ in range(20):
        centre = float(rng.uniform(0.06, 0.94))
        if canvas.claim(centre - half, foot - height, centre + half, foot):
            return centre, foot, height * canvas.height
    return None


def _distractors(canvas: Canvas, rng: Rng, theme: Theme, horizon: float) -> None:
    """Cold dummies (RGB only) and warm pipes and gratings (thermal mostly); none has a label.

    With depth: flat prints of people, and posts and slabs that stick out.
    """
    shape = SHAPES[theme.dummy]
    for _ in range(int(rng.integers(0, 3))):
        height = float(rng.uniform(*shape.height)) * 0.9
        place = _place(canvas, rng, shape, float(rng.uniform(horizon + 0.05, 0.9)), height)
        if place is not None:
            _paint_object(canvas, rng, shape, place, "rgb", -1)
    for _ in range(int(rng.integers(1, 4))):
        x, y = float(rng.uniform(0.02, 0.9)), float(rng.uniform(horizon, 0.85))
        warm = int(rng.integers(150, 235))
        heat = nearness(y, horizon) if theme.depth else warm
        if rng.random() < 0.5:
            tall = float(rng.uniform(0.15, 0.35))
            if canvas.claim(x, y - tall, x + 0.025, y):
                canvas.box((x, y - tall, x + 0.025, y), (120, 122, 126), heat)
            continue
        wide = float(rng.uniform(0.06, 0.14))
        if canvas.claim(x, y, x + wide, y + wide * 0.45):
            canvas.oval((x, y, x + wide, y + wide * 0.45), (84, 84, 86), heat)


def _expose(canvas: Canvas, size: Size, rng: Rng, night: bool) -> Scene:
    """Scale down, and give each image its camera's light, texture and noise."""
    shape = (size[1], size[0])
    rgb = np.asarray(canvas.rgb.resize(shape, Image.Resampling.BOX), dtype=np.float32)
    blurred = canvas.x.filter(ImageFilter.GaussianBlur(SHARP * size[0] / 240))
    x = np.asarray(blurred.resize(shape, Image.Resampling.BOX), dtype=np.float32)
    ids = np.asarray(canvas.ids)[::SHARP, ::SHARP]
    ramp = np.linspace(-1, 1, size[1], dtype=np.float32) * np.float32(rng.uniform(-0.2, 0.2))
    light = 1 + ramp[None] + 0.06 * smooth(size, rng, (4, 9, 40))
    rgb *= light[..., None]
    if night:
        glow = np.clip(0.34 + 0.1 * smooth(size, rng, (3, 4)), 0.2, 0.6)
        rgb = rgb * glow[..., None] * np.array([0.95, 0.95, 1.1], dtype=np.float32)
    rgb += rng.normal(0, 7 if night else 4, rgb.shape)
    x += 5 * smooth(size, rng, (3, 6, 24)) + rng.normal(0, 3, x.shape)
    return Scene(to_bytes(rgb), to_bytes(x), np.ascontiguousarray(ids))


def make_scene(theme: Theme, size: Size, rng: Rng, night: bool = False) -> Scene:
    """Generate one scene of `STREET`, `TUNNEL`, `SALIENT` or `SALIENT_DEPTH`.

    By `night`, RGB is dark and noisy, and most people are visible only in thermal.
    """
    return _make(theme, size, rng, night, None)


def make_instances(
    theme: Theme, size: Size, rng: Rng, night: bool = False
) -> tuple[Scene, list[str]]:
    """As `make_scene`; ids are 1, 2, ... of the objects, whose kinds are the second result."""
    names: list[str] = []
    return _make(theme, size, rng, night, names), names


def _make(theme: Theme, size: Size, rng: Rng, night: bool, painted: list[str] | None) -> Scene:
    """One scene; objects are numbered, and their kinds noted, where there is a list for them."""
    canvas = Canvas(size)
    horizon = theme.background(canvas, rng, night)
    names = list(theme.objects)
    feet = np.sort(rng.uniform(horizon + 0.12, 0.97, int(rng.integers(*theme.count))))
    for foot in feet:
        name = names[int(rng.integers(len(names)))]
        shape = SHAPES[name]
        low, high = (theme.enlarge * limit for limit in shape.height)
        near = (float(foot) - horizon) / (1 - horizon)
        height = low + (high - low) * float(np.clip(near + rng.normal(0, 0.1), 0, 1))
        mode = str(rng.choice(["both", "rgb", "x"], p=shape.night if night else shape.modes))
        place = _place(canvas, rng, shape, float(foot), height)
        if place is not None:
            depth = nearness(float(foot), horizon) if theme.depth else None
            label = theme.objects[name]
            if painted is not None:
                painted.append(name)
                label = len(painted)
            _paint_object(canvas, rng, shape, place, mode, label, depth)
    _distractors(canvas, rng, theme, horizon)
    return _expose(canvas, size, rng, night)
