"""Generated surfaces of rails with defects, seen in RGB and in depth.

Flat rust is visible only in RGB and clean dents only in depth; spalling shows in both. Oil stains
(RGB) and bumps (depth) carry no label, so that neither camera is enough.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbx.data.synthetic.textures import Colour, Plane, Rng, Size, to_bytes

__all__ = ["make_rail"]

_KINDS = ("both", "rust", "dent")


def make_rail(size: Size, rng: Rng) -> tuple[NDArray[np.uint8], Plane, NDArray[np.uint8]]:
    """Generate one surface.

    Returns:
        rgb (H, W, 3) uint8; depth (H, W) float32 in millimetres, deeper is larger; mask (H, W)
        uint8, 255 on defects.
    """
    rgb, depth = _steel(size, rng)
    mask = np.zeros(size, dtype=np.uint8)
    taken = np.zeros(size, dtype=bool)
    for i in range(int(rng.integers(1, 4))):
        blob = _blob(size, rng, (0.08, 0.2))
        if i and (blob > 0.05)[taken].any():
            continue
        taken |= blob > 0.05
        mask[blob > 0.5] = 255
        kind = _KINDS[rng.integers(3)]
        if kind != "dent":
            _tint(rgb, blob, (126, 74, 48) if kind == "rust" else (62, 56, 54), 0.85)
        if kind != "rust":
            depth += blob * np.float32(rng.uniform(1.2, 2.0))
    for sign in (0, 1):
        blob = _blob(size, rng, (0.06, 0.14))
        if not (blob > 0.05)[taken].any():
            taken |= blob > 0.05
            if sign:
                depth -= blob * np.float32(rng.uniform(1.0, 1.8))
            else:
                _tint(rgb, blob, (48, 60, 84), 0.8)
    rgb += rng.normal(0, 4, rgb.shape).astype(np.float32)
    depth += rng.normal(0, 0.04, size).astype(np.float32)
    return to_bytes(rgb), depth, mask


def _steel(size: Size, rng: Rng) -> tuple[NDArray[np.float32], Plane]:
    """Ground steel with scratches along the rail, worn more in the middle."""
    height, width = size
    across = np.linspace(-1, 1, width, dtype=np.float32) - np.float32(rng.uniform(-0.2, 0.2))
    shine = 130 + 70 * np.exp(-np.square(across / np.float32(0.45)))
    lines = rng.normal(0, 9, width).astype(np.float32)
    along = np.linspace(-1, 1, height, dtype=np.float32) * np.float32(rng.uniform(-25, 25))
    grey = (shine + lines)[None] + along[:, None]
    rgb = grey[..., None] * np.array([1.0, 0.99, 0.96], dtype=np.float32)
    depth = 10 + np.float32(0.6) * np.square(across)[None] + along[:, None] / np.float32(80)
    return rgb, depth.astype(np.float32)


def _blob(size: Size, rng: Rng, radius: tuple[float, float]) -> Plane:
    """An irregular patch, 1 inside and 0 outside, with a soft border of a pixel or two."""
    height, width = size
    x, y = (float(rng.uniform(0.12, 0.88)) * side for side in (width, height))
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    reach = float(rng.uniform(*radius)) * min(size)
    reaches = reach * (1 + 0.3 * np.sin(angles * rng.integers(2, 5) + rng.uniform(0, 6)))
    stretch = float(rng.uniform(0.8, 1.8))
    points = np.stack([x + reaches * np.cos(angles), y + stretch * reaches * np.sin(angles)], 1)
    patch = np.zeros(size, dtype=np.float32)
    cv2.fillPoly(patch, [np.rint(points).astype(np.int32)], 1.0)
    return np.asarray(cv2.GaussianBlur(patch, (3, 3), 0), dtype=np.float32)


def _tint(rgb: NDArray[np.float32], blob: Plane, colour: Colour, strength: float) -> None:
    weight = (blob * np.float32(strength))[..., None]
    rgb *= 1 - weight
    rgb += weight * np.array(colour, dtype=np.float32)
