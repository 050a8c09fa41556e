"""What generated scenes are made of: grained surfaces, soft-edged shapes.

Here and in the modules that paint with it, `size` is (height, width) in pixels, and `rng` decides
everything random.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = [
    "Colour",
    "Plane",
    "Point",
    "Rng",
    "Size",
    "blend",
    "blob",
    "clouds",
    "draw",
    "grain",
    "paint",
    "patch",
    "smooth",
    "to_bytes",
]

Rng = np.random.Generator
Size = tuple[int, int]
Plane = NDArray[np.float32]
Colour = tuple[int, int, int]
Point = tuple[float, float]
_SHARP = 3  # shapes are drawn at three times their size: their borders become grey


def clouds(size: Size, rng: Rng, cells: Sequence[int] = (3, 6, 12)) -> Plane:
    """Smooth noise of several scales (cells per side), mean 0, std about 1, (H, W)."""
    total = np.zeros(size, dtype=np.float32)
    for count in cells:
        grid = rng.standard_normal((count + 1, count + 1)).astype(np.float32)
        total += cv2.resize(grid, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    return _standard(total)


def smooth(size: Size, rng: Rng, cells: Sequence[int]) -> Plane:
    """As `clouds`, but with the mean and std that come of it, and by PIL's bicubic."""
    total = np.zeros(size, dtype=np.float32)
    for count in cells:
        grid = Image.fromarray(rng.standard_normal((count, count)).astype(np.float32))
        total += np.asarray(grid.resize((size[1], size[0]), Image.Resampling.BICUBIC))
    return total / np.float32(len(cells) ** 0.5)


def grain(size: Size, rng: Rng, angle: float, length: float, width: float) -> Plane:
    """Noise with a direction, like bark, grass or scales, mean 0, std 1, (H, W).

    Its fibres run at `angle` (radians), and are `length` long and `width` wide (pixels).
    """
    noise = np.fft.rfft2(rng.standard_normal(size))
    v, u = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None]
    along = u * np.cos(angle) + v * np.sin(angle)
    across = v * np.cos(angle) - u * np.sin(angle)
    kept = np.exp(-2 * np.pi * (np.square(along * length) + np.square(across * width)))
    return _standard(np.fft.irfft2(noise * kept, size).astype(np.float32))


def _standard(plane: Plane) -> Plane:
    centred = plane - plane.mean(dtype=np.float64).astype(np.float32)
    return centred / np.float32(max(float(centred.std()), 1e-6))


def paint(plane: Plane, colours: Sequence[Colour]) -> NDArray[np.float32]:
    """Give each value a colour (H, W, 3): the first from -1.5 downwards, the last from 1.5 up."""
    places = np.linspace(-1.5, 1.5, len(colours))
    channels = [np.interp(plane, places, channel) for channel in zip(*colours, strict=True)]
    return np.stack(channels, axis=2).astype(np.float32)


def draw(size: Size, strokes: Callable[[ImageDraw.ImageDraw, float, float], None]) -> Plane:
    """Share of a shape in each pixel, (H, W) in [0, 1]; its borders are soft.

    `strokes` paints in 255 on a page, whose width and height it is told.
    """
    page = Image.new("L", (size[1] * _SHARP, size[0] * _SHARP))
    strokes(ImageDraw.Draw(page), float(page.width), float(page.height))
    small = page.resize((size[1], size[0]), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / np.float32(255)


def blob(
    rng: Rng, centre: Point, radius: Point, wobble: float = 0.15, turn: float = 0.0
) -> list[Point]:
    """Outline of an irregular ellipse around `centre` (x, y), turned by `turn` (radians).

    `radius` is (along, across); `wobble` says how far the outline leaves the ellipse, as a share.
    """
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    reach = np.ones_like(angles)
    for waves in (2, 3, 5):
        reach += wobble / waves * 2 * np.sin(waves * angles + rng.uniform(0, 2 * np.pi))
    x, y = radius[0] * reach * np.cos(angles), radius[1] * reach * np.sin(angles)
    across = centre[0] + x * np.cos(turn) - y * np.sin(turn)
    down = centre[1] + x * np.sin(turn) + y * np.cos(turn)
    return list(zip(across.tolist(), down.tolist(), strict=True))


def patch(size: Size, rng: Rng, centre: Point, radius: Point, wobble: float, turn: float) -> Plane:
    """A `blob` as `draw` paints it; `centre` in shares of the sides, `radius` of the shorter."""

    def strokes(pen: ImageDraw.ImageDraw, w: float, h: float) -> None:
        (x, y), (along, across), side = centre, radius, min(w, h)
        pen.polygon(blob(rng, (x * w, y * h), (along * side, across * side), wobble, turn), 255)

    return draw(size, strokes)


def blend(
    under: NDArray[np.float32], over: NDArray[np.float32], share: Plane
) -> NDArray[np.float32]:
    """Lay one image (H, W, 3) over another, where `share` (H, W) is 1."""
    weight = share[..., None]
    return under * (1 - weight) + over * weight


def to_bytes(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round to uint8, 0 to 255."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
