"""Prompts of evaluation: a pure function of image, kind and number, the same for every model."""

import hashlib
import re

import numpy as np
import torch

from rgbx.errors import RGBXError
from rgbx.prompts.boxes import box_around, noisy_box
from rgbx.prompts.masks import Mask, MaskScale, coarse_mask, foreground, object_pixels
from rgbx.prompts.points import choose_points
from rgbx.prompts.prompt import Prompt

__all__ = ["COUNTS", "KINDS", "check_kind", "evaluation_prompts"]

#: kind -> number of prompts per image in the paper's tables
COUNTS = {"box": 1, "noisy_box": 20, "point_1": 20, "point_3": 20, "point_5": 20, "point_10": 20}
KINDS = tuple(COUNTS)
_POINTS = re.compile(r"point_([1-9]\d*)")


def check_kind(kind: str) -> None:
    """Refuse what is no kind of prompt.

    Raises:
        RGBXError: names the kinds there are.
    """
    if kind not in ("box", "noisy_box", "coarse_mask") and not _POINTS.fullmatch(kind):
        raise RGBXError(
            f"{kind!r} is no kind of prompt; give box, noisy_box, coarse_mask or point_K (K "
            "points, for instance point_3)"
        )


def evaluation_prompts(
    mask: Mask,
    kind: str,
    count: int,
    key: str,
    noise: float = 0.4,
    iou_range: tuple[float, float] | None = None,
    mask_scale: MaskScale = "hq",
) -> list[Prompt]:
    """Draw the prompts of one image and kind.

    Prompt i is drawn from a generator seeded by the SHA-256 of (key, kind, i), so it depends
    neither on the model, nor on other prompts, nor on the order of the images.

    Args:
        mask: (H, W) at the network's size, scaled as in `rgbx.prompts.as_share`.
        kind: "box" (the tight one, always the same), "noisy_box", "point_K" or "coarse_mask".
        count: how many.
        key: of the image, "DATASET/NAME".
        noise: scale of a noisy box's noise.
        iou_range: overlap [low, high) of a noisy box with the tight one; by default any.
        mask_scale: values of a coarse mask.

    Raises:
        DataError: the mask is empty; the text names the key.
        RGBXError: there is no such kind.
    """
    check_kind(kind)
    inside = foreground(mask)
    pixels = object_pixels(inside, f"The mask of {key}")
    tight = box_around(pixels)
    prompts: list[Prompt] = []
    for i in range(count):
        rng = _generator(key, kind, i)
        if kind == "box":
            prompts.append(Prompt(kind=kind, box=tight.clone()))
        elif kind == "noisy_box":
            size = (inside.shape[0], inside.shape[1])
            box = noisy_box(tight, rng, size, noise, iou_range=iou_range)
            prompts.append(Prompt(kind=kind, box=box))
        elif kind == "coarse_mask":
            drawn = coarse_mask(mask, rng, scale=mask_scale)
            prompts.append(Prompt(kind=kind, mask=drawn))
        else:
            k = int(kind.removeprefix("point_"))
            labels = torch.ones(k, dtype=torch.int64)
            points = choose_points(pixels, k, rng)
            prompts.append(Prompt(kind=kind, points=points, labels=labels))
    return prompts


def _generator(key: str, kind: str, i: int) -> np.random.Generator:
    text = f"{key}\n{kind}\n{i}".encode("utf-8", "surrogateescape")  # names may be no UTF-8
    digest = hashlib.sha256(text).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
