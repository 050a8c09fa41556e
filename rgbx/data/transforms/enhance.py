"""SAMSOD's photometric augmentation: light, contrast, colour and sharpness of each camera alone.

A network that sums the features of two cameras leans on the better one. Changing each camera's
image on its own makes either of them unreliable now and then.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

__all__ = ["RANGES", "Factors", "draw_factors", "enhance_grey", "enhance_rgb", "enhance_x"]

Factors = tuple[float, float, float, float]
RANGES = ((0.5, 1.5), (0.5, 1.5), (0.0, 2.0), (0.0, 3.0))
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], dtype=np.float32) / np.float32(13)
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def draw_factors(seed: int, stream: int) -> Factors:
    """Draw the factors of brightness, contrast, colour and sharpness, uniformly from `RANGES`.

    Args:
        seed: of the sample.
        stream: 0 for rgb, 1 for x; each has draws of its own.
    """
    rng = np.random.default_rng([seed, stream, 0xE4])
    brightness, contrast, colour, sharpness = (float(rng.uniform(*limits)) for limits in RANGES)
    return brightness, contrast, colour, sharpness


def enhance_rgb(rgb: NDArray[np.uint8], factors: Factors) -> NDArray[np.uint8]:
    """Change a visible image (H, W, 3) as PIL's ImageEnhance does, in the order of the factors.

    A factor of 1 changes nothing; 0 gives black, flat grey, no colour, or a smoothed image;
    above 1 the change is turned round.
    """
    kinds = (
        ImageEnhance.Brightness,
        ImageEnhance.Contrast,
        ImageEnhance.Color,
        ImageEnhance.Sharpness,
    )
    image = Image.fromarray(rgb)
    for kind, factor in zip(kinds, factors, strict=True):
        image = kind(image).enhance(factor)
    return np.asarray(image)


def enhance_grey(x: NDArray[np.float32], factors: Factors) -> NDArray[np.float32]:
    """The same for one channel (H, W) in [0, 1], without rounding to 8 bits.

    Colour has no meaning here and is passed over. As in PIL, the outermost pixels keep their
    sharpness and every step is clipped to [0, 1].
    """
    brightness, contrast, _, sharpness = (np.float32(factor) for factor in factors)
    x = np.clip(x * brightness, 0, 1)
    mean = x.mean(dtype=np.float64).astype(np.float32)
    x = np.clip(mean + contrast * (x - mean), 0, 1)
    return _sharpened(x, sharpness)


def enhance_x(x: NDArray[np.float32], factors: Factors) -> NDArray[np.float32]:
    """The same for one channel (H, W), or for three (H, W, 3) with their colour.

    Contrast and colour move about the luminance, as PIL weighs it; where the channels are equal,
    each becomes what `enhance_grey` makes of it.
    """
    if x.ndim == 2:
        return enhance_grey(x, factors)
    brightness, contrast, colour, sharpness = (np.float32(factor) for factor in factors)
    x = np.clip(x * brightness, 0, 1)
    mean = (x @ _LUMA).mean(dtype=np.float64).astype(np.float32)
    x = np.clip(mean + contrast * (x - mean), 0, 1)
    grey = (x @ _LUMA)[..., None]
    x = np.clip(grey + colour * (x - grey), 0, 1)
    return _sharpened(x, sharpness)


def _sharpened(x: NDArray[np.float32], factor: np.float32) -> NDArray[np.float32]:
    smooth = x.copy()
    smooth[1:-1, 1:-1] = cv2.filter2D(x, -1, _SMOOTH)[1:-1, 1:-1]
    return np.clip(smooth + factor * (x - smooth), 0, 1).astype(np.float32)
