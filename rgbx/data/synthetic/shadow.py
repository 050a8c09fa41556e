"""Generated grounds with shadows that people, trees, poles and houses throw on them."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from rgbx.data.synthetic.textures import (
    Rng,
    Size,
    blend,
    blob,
    clouds,
    draw,
    grain,
    paint,
    patch,
    to_bytes,
)

__all__ = ["add_shadow", "make_ground"]

_GROUNDS = (
    ((112, 112, 116), (138, 138, 140), (160, 160, 160)),  # asphalt
    ((150, 144, 134), (176, 170, 160), (196, 192, 182)),  # concrete
    ((72, 104, 44), (104, 138, 60), (142, 166, 88)),  # grass
    ((164, 138, 104), (192, 168, 130), (212, 192, 160)),  # sand
    ((140, 84, 66), (168, 106, 84), (188, 130, 106)),  # brick
)
_STAINS = ((58, 46, 40), (40, 52, 84), (34, 62, 36), (96, 34, 34))


def make_ground(size: Size, rng: Rng) -> NDArray[np.float32]:
    """Generate a ground in the sun, with joints, marks and dark stains that are no shadows.

    Returns:
        (H, W, 3) float32, 0 to 255.
    """
    colours = _GROUNDS[rng.integers(len(_GROUNDS))]
    fibre = 0.02 * min(size)
    angle = float(rng.uniform(0, np.pi))
    rough = 0.5 * clouds(size, rng, (3, 6, 12)) + 0.6 * grain(size, rng, angle, fibre, fibre / 2)
    rgb = paint(rough, colours)
    if rng.random() < 0.5:
        rgb = _jointed(rgb, rng)
    for _ in range(int(rng.integers(2, 5))):
        rgb = _stained(rgb, rng)
    return rgb


def _jointed(rgb: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    """Dark lines between slabs."""
    step, start = float(rng.uniform(0.2, 0.35)), float(rng.uniform(0, 0.2))

    def strokes(pen: ImageDraw.ImageDraw, w: float, h: float) -> None:
        for k in range(8):
            place, thick = (start + k * step) * min(w, h), max(1, round(min(w, h) / 120))
            pen.line(((place, 0), (place, h)), 255, thick)
            pen.line(((0, place), (w, place)), 255, thick)

    lines = draw((rgb.shape[0], rgb.shape[1]), strokes)
    return rgb * (1 - np.float32(0.35) * lines[..., None])


def _stained(rgb: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    """Damp earth, as dark as a shadow but browner, sharply bounded and without grain; or paint."""
    size = (rgb.shape[0], rgb.shape[1])
    x, y, turn = (float(rng.uniform(0, high)) for high in (1, 1, np.pi))
    long, wide = (float(v) for v in rng.uniform(0.06, 0.2, 2))
    if rng.random() < 0.6:
        tint = np.array([1.1, 0.97, 0.78], dtype=np.float32) * np.float32(rng.uniform(0.42, 0.65))
        flat = cv2.GaussianBlur(rgb, (0, 0), 0.06 * min(size)) * tint
    else:
        flat = np.full_like(rgb, _STAINS[rng.integers(len(_STAINS))])
    flat = flat + 4 * clouds(size, rng, (15, 25))[..., None]
    return blend(rgb, flat, patch(size, rng, (x, y), (long, wide), 0.2, turn))


def add_shadow(
    ground: NDArray[np.float32], rng: Rng
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Throw a shadow on a ground.

    Shadows darken whatever they fall on, stains and joints included, and leave it a little bluer;
    their borders are blurred.

    Returns:
        rgb (H, W, 3), mask (H, W) with narrow grey borders, and rgb without the shadow, all uint8.
    """
    size = (ground.shape[0], ground.shape[1])
    kind = (_pole, _person, _tree, _house)[rng.integers(4)]
    share = draw(size, lambda pen, w, h: kind(pen, w, h, rng))
    penumbra = cv2.GaussianBlur(share, (0, 0), max(0.6, 0.006 * min(size)))
    left = np.array([0.86, 0.94, 1.12], dtype=np.float32) * np.float32(rng.uniform(0.42, 0.7))
    sun = (1 + 0.12 * clouds(size, rng, (2, 3, 4)))[..., None]
    bright = ground * sun + rng.normal(0, 3, ground.shape).astype(np.float32)
    dark = bright * (1 - penumbra[..., None] * (1 - left))
    # the annotator's line runs in the middle of the penumbra and is a little grey
    mask = np.clip((penumbra - np.float32(0.5)) * 5 + np.float32(0.5), 0, 1)
    return to_bytes(dark), to_bytes(mask * 255), to_bytes(bright)


def _foot(rng: Rng, w: float, h: float) -> tuple[float, float, float, float]:
    """Where a shadow begins, (x, y), and in which direction it runs, (dx, dy) of its length."""
    x, y = float(rng.uniform(0.15, 0.85)) * w, float(rng.uniform(0.75, 1.05)) * h
    lean, long = float(rng.uniform(-0.7, 0.7)), float(rng.uniform(0.6, 0.9)) * h
    return x, y, lean * long, -long


def _pole(pen: ImageDraw.ImageDraw, w: float, h: float, rng: Rng) -> None:
    for _ in range(int(rng.integers(1, 3))):
        x, y, dx, dy = _foot(rng, w, h)
        thick = float(rng.uniform(0.035, 0.07)) * min(w, h)
        end = (x + 1.5 * dx, y + 1.5 * dy)
        pen.line(((x, y), end), 255, round(thick))
        sign = x + 0.8 * dx, y + 0.8 * dy
        pen.polygon(blob(rng, sign, (2.5 * thick, 2 * thick), 0.02), 255)


def _person(pen: ImageDraw.ImageDraw, w: float, h: float, rng: Rng) -> None:
    x, y, dx, dy = _foot(rng, w, h)
    side = float(rng.uniform(0.08, 0.12)) * min(w, h)

    def at(along: float, across: float) -> tuple[float, float]:
        return x + along * dx + across * side, y + along * dy

    for foot in (-0.5, 0.5):
        pen.line((at(0, foot * 1.6), at(0.45, foot)), 255, round(0.7 * side))
    pen.polygon((at(0.4, -0.9), at(0.4, 0.9), at(0.8, 1.2), at(0.8, -1.2)), 255)
    pen.line((at(0.78, -1.1), at(0.45, -1.8)), 255, round(0.5 * side))
    pen.line((at(0.78, 1.1), at(0.45, 1.8)), 255, round(0.5 * side))
    pen.polygon(blob(rng, at(0.92, 0), (0.75 * side, 0.09 * abs(dy)), 0.03), 255)


def _tree(pen: ImageDraw.ImageDraw, w: float, h: float, rng: Rng) -> None:
    x, y, dx, dy = _foot(rng, w, h)
    side = min(w, h)
    pen.line(((x, y), (x + 0.6 * dx, y + 0.6 * dy)), 255, round(0.05 * side))
    for _ in range(24):
        leaf = x + 0.7 * dx + rng.normal(0, 0.1) * side, y + 0.7 * dy + rng.normal(0, 0.1) * side
        reach = float(rng.uniform(0.05, 0.12)) * side
        pen.polygon(blob(rng, leaf, (reach, 0.8 * reach), 0.2), 255)


def _house(pen: ImageDraw.ImageDraw, w: float, h: float, rng: Rng) -> None:
    left, right = (float(v) * h for v in rng.uniform(0.2, 0.5, 2))
    ridge = float(rng.uniform(0.3, 0.7))
    peak = (left + (right - left) * ridge) + float(rng.uniform(0.08, 0.22)) * h
    corners = [(0.0, left), ((ridge - 0.15) * w, left), (ridge * w, peak)]
    corners += [((ridge + 0.15) * w, right), (w, right)]
    if rng.random() < 0.5:
        corners = [(x, h - y) for x, y in corners]
        pen.polygon([(0, h), *corners, (w, h)], 255)
    else:
        pen.polygon([(0, 0), *corners, (w, 0)], 255)
