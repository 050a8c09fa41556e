"""The empty places of generated scenes, painted in RGB and in thermal or depth at once."""

import numpy as np
from PIL import Image, ImageDraw

from rgbx.data.synthetic.textures import Colour, Rng, Size

__all__ = ["SHARP", "Canvas", "nearness", "shade", "street", "tunnel", "yard"]

Box = tuple[float, float, float, float]  # left, top, right, bottom in [0, 1]
SHARP = 2  # images are painted at twice their size, for smooth edges


class Canvas:
    """RGB, thermal and ids, painted together at `SHARP` times their size."""

    def __init__(self, size: Size) -> None:
        self.height, self.width = size[0] * SHARP, size[1] * SHARP
        shape = (self.width, self.height)
        self.rgb = Image.new("RGB", shape)
        self.x = Image.new("L", shape)
        self.ids = Image.new("L", shape)
        self.draw_rgb = ImageDraw.Draw(self.rgb)
        self.draw_x = ImageDraw.Draw(self.x)
        self._taken: list[Box] = []

    def claim(self, left: float, top: float, right: float, bottom: float) -> bool:
        """Reserve a rectangle (in [0, 1]); False if it meets one that is taken.

        Without this, a cold thing in front of a warm one would let its heat shine through.
        """
        for a, b, c, d in self._taken:
            across, down = min(right, c) - max(left, a), min(bottom, d) - max(top, b)
            if across > 0.01 and down > 0.01:
                return False
        self._taken.append((left, top, right, bottom))
        return True

    def box(self, place: Box, colour: Colour, heat: int) -> None:
        """Paint an unlabelled rectangle."""
        self.draw_rgb.rectangle(self._pixels(place), colour)
        self.draw_x.rectangle(self._pixels(place), heat)

    def oval(self, place: Box, colour: Colour, heat: int) -> None:
        """Paint an unlabelled ellipse."""
        self.draw_rgb.ellipse(self._pixels(place), colour)
        self.draw_x.ellipse(self._pixels(place), heat)

    def _pixels(self, place: Box) -> Box:
        left, top, right, bottom = place
        return left * self.width, top * self.height, right * self.width, bottom * self.height


def shade(colour: Colour, factor: float) -> Colour:
    """Brighten or darken a colour."""
    r, g, b = (int(np.clip(v * factor, 0, 255)) for v in colour)
    return r, g, b


def nearness(y: float, horizon: float) -> int:
    """Depth value of a thing that stands on the ground at height `y` of the image; near = 240."""
    return round(30 + 210 * float(np.clip((y - horizon) / (1 - horizon), 0, 1)))


def yard(canvas: Canvas, rng: Rng, night: bool) -> float:
    """The street seen by a depth camera: far sky and houses, ground that comes nearer."""
    horizon = street(canvas, rng, night)
    rows = (np.arange(canvas.height) / canvas.height).tolist()
    depth = np.array([nearness(y, horizon) for y in rows], dtype=np.uint8)
    depth[: round(canvas.height * max(horizon - 0.2, 0.05))] = 10
    canvas.x.paste(Image.fromarray(np.repeat(depth[:, None], canvas.width, axis=1)))
    return horizon


def street(canvas: Canvas, rng: Rng, night: bool) -> float:
    """Sky, a row of houses with windows, trees, pavement and road; returns the horizon."""
    horizon = float(rng.uniform(0.36, 0.46))
    canvas.box((0, 0, 1, horizon), (38, 44, 70) if night else (168, 196, 226), 18)
    left = -0.05
    while left < 1:
        right = left + float(rng.uniform(0.12, 0.3))
        top = float(rng.uniform(0.02, horizon - 0.12))
        wall = shade(((150, 120, 100), (128, 128, 132), (176, 160, 132))[rng.integers(3)], 0.9)
        canvas.box((left, top, right, horizon), wall, int(rng.integers(62, 84)))
        _windows(canvas, rng, (left, top, right, horizon), night)
        left = right + float(rng.choice([0.0, 0.03]))
    canvas.box((0, horizon, 1, horizon + 0.07), (140, 136, 130), 80)
    canvas.box((0, horizon + 0.07, 1, 1), (92, 94, 98), 92 if not night else 74)
    for _ in range(int(rng.integers(1, 4))):
        _tree(canvas, rng, horizon)
    for i in range(6):
        x = i / 5 + float(rng.uniform(-0.03, 0.03))
        canvas.box((x, 0.80, x + 0.09, 0.82), (206, 206, 198), 90)
    return horizon


def _windows(canvas: Canvas, rng: Rng, house: Box, night: bool) -> None:
    left, top, right, bottom = house
    for x in np.arange(left + 0.02, right - 0.03, 0.05):
        for y in np.arange(top + 0.03, bottom - 0.05, 0.08):
            lit = night and rng.random() < 0.3
            glass = (236, 206, 130) if lit else (70, 84, 100)
            warm = int(rng.integers(88, 112)) if rng.random() < 0.35 else 60
            canvas.box((float(x), float(y), float(x) + 0.025, float(y) + 0.045), glass, warm)


def _tree(canvas: Canvas, rng: Rng, horizon: float) -> None:
    x, size = float(rng.uniform(0, 1)), float(rng.uniform(0.10, 0.18))
    canvas.box((x - 0.01, horizon - size * 0.6, x + 0.01, horizon + 0.06), (88, 66, 48), 66)
    for _ in range(14):
        cx = (x + float(rng.normal(0, size * 0.3))) * canvas.width
        cy = (horizon - size + float(rng.normal(0, size * 0.35))) * canvas.height
        r = float(rng.uniform(0.2, 0.4)) * size * canvas.height
        green = shade((66, 104, 52), float(rng.uniform(0.7, 1.25)))
        canvas.draw_rgb.ellipse((cx - r, cy - r, cx + r, cy + r), green)
        canvas.draw_x.ellipse((cx - r, cy - r, cx + r, cy + r), int(rng.integers(54, 66)))


def tunnel(canvas: Canvas, rng: Rng, night: bool) -> float:
    """Rock walls, pipes, a floor of rubble; returns the horizon."""
    horizon = float(rng.uniform(0.34, 0.44))
    canvas.box((0, 0, 1, 1), (104, 92, 80), 84)
    centre = float(rng.uniform(0.35, 0.65))
    canvas.box((centre - 0.13, horizon - 0.2, centre + 0.13, horizon), (26, 24, 24), 70)
    canvas.box((0, horizon, 1, 1), (118, 106, 92), 92)
    for _ in range(70):
        x, y = float(rng.uniform(0, 1)), float(rng.uniform(0, 1))
        w, h = float(rng.uniform(0.01, 0.05)), float(rng.uniform(0.01, 0.04))
        rock = shade((112, 100, 86), float(rng.uniform(0.6, 1.25)))
        canvas.oval((x, y, x + w, y + h), rock, int(rng.integers(78, 98)))
    for y in rng.uniform(0.04, horizon - 0.08, 2):
        canvas.box((0, float(y), 1, float(y) + 0.02), (140, 110, 84), int(rng.integers(84, 120)))
    return horizon
