"""Generated animals in the colours and the texture of what they sit on."""

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbx.data.synthetic.animals import ANIMALS, draw_animal
from rgbx.data.synthetic.textures import (
    Colour,
    Plane,
    Rng,
    Size,
    blend,
    clouds,
    grain,
    paint,
    patch,
    to_bytes,
)

__all__ = ["make_camouflage"]

_GROUNDS = (
    ((46, 38, 26), (104, 82, 52), (142, 122, 78), (92, 104, 54)),  # forest floor
    ((128, 104, 74), (182, 156, 116), (206, 186, 148), (226, 212, 180)),  # sand
    ((30, 52, 60), (66, 98, 96), (112, 130, 108), (160, 150, 124)),  # reef
    ((58, 54, 50), (104, 98, 90), (140, 134, 124), (176, 170, 160)),  # bark, rock
    ((30, 56, 24), (62, 96, 38), (96, 128, 54), (144, 158, 84)),  # leaves
)


def make_camouflage(size: Size, rng: Rng) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Generate one animal, or two, in hiding.

    The animal has the palette and the kind of grain of its surroundings, but its grain runs in
    another direction and is finer, its brightness differs a little, and it throws a faint shadow.
    What stands out (pale stones, bright leaves) carries no label.

    Returns:
        rgb (H, W, 3) and mask (H, W) of 0 and 255, both uint8.
    """
    palette = _GROUNDS[rng.integers(len(_GROUNDS))]
    fibre = float(rng.uniform(0.035, 0.05)) * min(size)
    angle = float(rng.uniform(0, np.pi))
    rgb = _surface(size, rng, palette, angle, fibre)
    for _ in range(int(rng.integers(1, 4))):
        rgb = _eye_catcher(rgb, rng)
    whole = np.zeros(size, dtype=np.float32)
    for i in range(1 if rng.random() < 0.75 else 2):
        body = draw_animal(size, rng, ANIMALS[rng.integers(len(ANIMALS))])
        if i and (np.minimum(body, whole) > 0).any():
            continue
        turned = angle + float(rng.choice([-1, 1]) * rng.uniform(0.6, 1.5))
        coat = _surface(size, rng, palette, turned, 0.5 * fibre)
        coat += np.float32(rng.choice([-1, 1]) * rng.uniform(4, 10))
        rgb = blend(_shadowed(rgb, body), coat, body)
        whole = np.maximum(whole, body)
    light = 1 + 0.07 * clouds(size, rng, (2, 3))
    rgb = rgb * light[..., None] + rng.normal(0, 3, rgb.shape).astype(np.float32)
    return to_bytes(rgb), np.where(whole > 0.5, 255, 0).astype(np.uint8)


def _surface(
    size: Size, rng: Rng, palette: tuple[Colour, ...], angle: float, fibre: float
) -> NDArray[np.float32]:
    coarse = clouds(size, rng, (4, 7, 11))
    fine = grain(size, rng, angle, fibre, fibre / 4)
    return paint(0.45 * coarse + 0.75 * fine, palette)


def _shadowed(rgb: NDArray[np.float32], body: Plane) -> NDArray[np.float32]:
    """Darken the ground around the body a little, more below it."""
    reach = max(1.0, 0.012 * min(body.shape))
    below = np.roll(body, round(1.5 * reach), axis=0)
    shade = cv2.GaussianBlur(np.maximum(below, body), (0, 0), reach)
    return rgb * (1 - np.float32(0.28) * shade[..., None])


def _eye_catcher(rgb: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    """A pale stone or a bright leaf, which nobody asks for."""
    size = (rgb.shape[0], rgb.shape[1])
    x, y, turn = (float(rng.uniform(0, high)) for high in (1, 1, np.pi))
    long = float(rng.uniform(0.04, 0.1))
    colour = ((214, 206, 190), (206, 176, 52), (176, 84, 40))[rng.integers(3)]
    flat = np.full_like(rgb, colour) + 8 * clouds(size, rng, (9, 17))[..., None]
    return blend(rgb, flat, patch(size, rng, (x, y), (long, 0.55 * long), 0.1, turn))
