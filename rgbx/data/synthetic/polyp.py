"""Generated views of the colon with polyps."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from rgbx.data.synthetic.textures import (
    Colour,
    Plane,
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

__all__ = ["make_polyp"]

_MUCOSA = (
    ((138, 52, 44), (188, 92, 76), (216, 130, 106)),
    ((150, 70, 52), (200, 118, 88), (228, 160, 122)),
    ((126, 44, 50), (172, 78, 80), (206, 118, 114)),
)
_REDDER = np.array([1.02, 0.95, 0.94], dtype=np.float32)
_YELLOWER = np.array([0.98, 1.08, 0.88], dtype=np.float32)


def make_polyp(size: Size, rng: Rng) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Generate one view with one polyp, or two.

    A polyp is a lump in nearly the colour of the mucosa, a little redder, lit from above and dark
    at its lower border, some more, some less. Folds are dark and bright too, the lumen is darker,
    yellowish residue forms lumps as well, and reflections lie everywhere; none of them carries a
    label. The corners are black.

    Returns:
        rgb (H, W, 3) and mask (H, W) of 0 and 255, both uint8.
    """
    tones = _MUCOSA[rng.integers(len(_MUCOSA))]
    rgb = _mucosa(size, rng, tones, lumen=True)
    taken, whole = (np.zeros(size, dtype=np.float32) for _ in range(2))
    polyps = 1 if rng.random() < 0.8 else 2
    for i in range(polyps + int(rng.integers(0, 3))):
        share = _lump(size, rng, 1.0 if i < polyps else 0.7)
        if (np.minimum(share, taken) > 0).any():
            continue
        taken = np.maximum(taken, share)
        if i < polyps:
            whole = np.maximum(whole, share)
        tint = _REDDER if i < polyps else _YELLOWER
        rgb = _grow(rgb, share, rng, _mucosa(size, rng, tones, lumen=False) * tint)
    rgb = _reflect(rgb, rng)
    rgb = rgb + rng.normal(0, 3, rgb.shape).astype(np.float32)
    frame = draw(size, _octagon)
    rgb = rgb * frame[..., None] + 6 * (1 - frame[..., None])
    if rng.random() < 0.3:  # the position of the instrument, shown in many images
        box = draw(size, lambda pen, w, h: pen.rectangle((0, 0.72 * h, 0.26 * w, h), 255))
        rgb = blend(rgb, np.full_like(rgb, (40, 110, 60)), box)
        whole = whole * (1 - box)
    return to_bytes(rgb), np.where(whole * frame > 0.5, 255, 0).astype(np.uint8)


def _octagon(pen: ImageDraw.ImageDraw, w: float, h: float) -> None:
    cut, edge = 0.12 * min(w, h), 0.02 * min(w, h)
    left, top, right, bottom = edge, edge, w - edge, h - edge
    corners = [(left + cut, top), (right - cut, top), (right, top + cut), (right, bottom - cut)]
    corners += [(right - cut, bottom), (left + cut, bottom), (left, bottom - cut)]
    pen.polygon([*corners, (left, top + cut)], 255)


def _mucosa(size: Size, rng: Rng, tones: tuple[Colour, ...], lumen: bool) -> NDArray[np.float32]:
    """Wet skin with vessels and with folds round the lumen, which is dark or out of sight."""
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float32) / np.float32(min(size))
    middle = rng.uniform(0.1, 0.9, 2) * np.array([width, height]) / min(size)
    warp = 0.06 * clouds(size, rng, (3, 5))
    far = np.hypot(x - np.float32(middle[0]), y - np.float32(middle[1])) + warp
    folds = np.sin(far * np.float32(rng.uniform(10, 16)) + np.float32(rng.uniform(0, 6)))
    rgb = paint(0.6 * clouds(size, rng, (2, 4, 8)) + 0.6 * folds, tones)
    vessels = np.abs(grain(size, rng, float(rng.uniform(0, np.pi)), 0.12 * height, 0.03 * height))
    rgb *= 1 - 0.16 * np.exp(-np.square(vessels / 0.12))[..., None]
    if lumen:
        dark = np.exp(-np.square(far / np.float32(rng.uniform(0.12, 0.25))))
        rgb *= 1 - np.float32(0.75) * dark[..., None]
    return rgb


def _lump(size: Size, rng: Rng, factor: float) -> Plane:
    """Share of a polyp in each pixel, or of something else of `factor` its length."""
    x, y = (float(v) for v in rng.uniform(0.26, 0.74, 2))
    long = factor * float(rng.uniform(0.1, 0.26))
    wide, turn = long * float(rng.uniform(0.6, 0.95)), float(rng.uniform(0, np.pi))
    return patch(size, rng, (x, y), (long, wide), 0.1, turn)


def _grow(
    rgb: NDArray[np.float32], share: Plane, rng: Rng, skin: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Lay a lump on the mucosa: height from the distance to its border, light from above."""
    side = min(share.shape)
    strength = float(rng.uniform(0.15, 0.6))
    inside = cv2.distanceTransform((share > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    high = np.sqrt(np.clip(inside / max(float(inside.max()), 1.0), 0, 1))
    high = cv2.GaussianBlur(high, (0, 0), max(1.0, 0.02 * side))
    slope = np.clip(np.gradient(high, axis=0) * side / 10, -0.45, 0.3) * strength
    lit = skin * np.float32(rng.uniform(0.95, 1.08)) * (1 + slope)[..., None]
    ring = cv2.GaussianBlur(np.roll(share, max(1, side // 60), axis=0), (0, 0), 0.02 * side)
    around = rgb * (1 - np.float32(0.3 * strength) * ring[..., None])
    return blend(around, np.asarray(lit, dtype=np.float32), share)


def _reflect(rgb: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    """Small white reflections of the lamp, anywhere."""
    spots = rng.uniform(0.1, 0.9, (int(rng.integers(6, 16)), 2)).tolist()

    def strokes(pen: ImageDraw.ImageDraw, w: float, h: float) -> None:
        for x, y in spots:
            reach = float(rng.uniform(0.004, 0.016)) * min(w, h)
            pen.polygon(blob(rng, (x * w, y * h), (2 * reach, reach), 0.2), 255)

    return blend(rgb, np.full_like(rgb, 248), draw((rgb.shape[0], rgb.shape[1]), strokes))
