"""Images and masks at another size: with OpenCV, or as PIL does it."""

from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rgbx.data.transforms.normalise import Mask, Raw

__all__ = ["Resize", "pil_resized", "resize_image", "resize_mask", "resize_soft", "resized_like"]

#: "opencv": normalised values, area mean to shrink, bilinear to grow. "pil": as PIL's
#: `Image.resize(..., BILINEAR)` (and torchvision's `Resize` on PIL images): before normalising, all
#: covered pixels weigh, and what holds 8-bit levels is rounded to 8 bits again.
Resize: TypeAlias = Literal["opencv", "pil"]

_BILINEAR = Image.Resampling.BILINEAR


def resize_image(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize (H, W) or (H, W, C) to `size` (h, w): area mean to shrink, bilinear to grow."""
    if image.shape[:2] == tuple(size):
        return image
    if image.ndim == 3 and image.shape[2] > 4:  # more than OpenCV's area mean can take
        parts = [np.ascontiguousarray(image[..., i : i + 3]) for i in range(0, image.shape[2], 3)]
        return np.concatenate([resize_image(part, size) for part in parts], axis=2)
    shrinks = size[0] <= image.shape[0] and size[1] <= image.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=way), dtype=np.float32)


def pil_resized(raw: Raw, size: tuple[int, int]) -> Raw:
    """The images at `size` (h, w) as PIL resizes them; the mask is left as it is.

    An x whose values are all n / 255 comes from an 8-bit file and is resized in 8 bits; others
    (16-bit files, means of channels, augmented ones) are resized in float32, without rounding.
    """
    rgb = np.asarray(Image.fromarray(raw.rgb).resize((size[1], size[0]), _BILINEAR))
    return raw._replace(rgb=rgb, x=None if raw.x is None else _in_unit(raw.x, size))


def resize_mask(mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize class ids (H, W) to `size` (h, w) by nearest neighbour, never mixing ids.

    INTER_NEAREST_EXACT samples at pixel centres like the image's resize; plain INTER_NEAREST
    would shift the mask by up to half a pixel against it.
    """
    if mask.shape == tuple(size):
        return mask
    way = cv2.INTER_NEAREST_EXACT
    return np.asarray(cv2.resize(mask, (size[1], size[0]), interpolation=way), dtype=np.uint8)


def resize_soft(
    mask: NDArray[np.float32], size: tuple[int, int], how: Resize = "opencv"
) -> NDArray[np.float32]:
    """Resize a soft mask (H, W) to `size` (h, w) bilinearly; borders stay grey.

    When shrinking, the weights of all covered pixels count (as PIL does), not of four neighbours.
    With "pil", 8-bit masks are rounded to 8 bits again.
    """
    if mask.shape == tuple(size):
        return mask
    if how == "pil":
        return _in_unit(mask, size)
    resized = Image.fromarray(mask).resize((size[1], size[0]), _BILINEAR)
    return np.clip(np.asarray(resized, dtype=np.float32), 0, 1)


def resized_like(mask: Mask, size: tuple[int, int], how: Resize = "opencv") -> Mask:
    """A soft mask bilinearly, class ids by nearest neighbour."""
    if mask.dtype == np.float32:
        return resize_soft(mask.astype(np.float32, copy=False), size, how)
    return resize_mask(mask.astype(np.uint8, copy=False), size)


def _in_unit(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W) or (H, W, C) in [0, 1] as PIL resizes it: 8-bit levels in 8 bits, others in float."""
    levels = np.rint(image * np.float32(255))
    whole = bool(np.abs(image * np.float32(255) - levels).max(initial=0) < 1e-3)
    planes = (levels.astype(np.uint8) if whole else image).reshape(*image.shape[:2], -1)
    resized = [
        np.asarray(Image.fromarray(plane).resize((size[1], size[0]), _BILINEAR), dtype=np.float32)
        for plane in np.ascontiguousarray(np.moveaxis(planes, 2, 0))
    ]
    stacked = np.stack(resized, axis=2) / np.float32(255 if whole else 1)
    return np.clip(stacked, 0, 1).reshape(*size, *image.shape[2:])
