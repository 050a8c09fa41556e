"""Boxes on images, with the names of their classes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rgbx.visualization.drawing import Colour

__all__ = ["draw_boxes"]

_GREY: Colour = (170, 170, 170)


def draw_boxes(
    image: NDArray[np.uint8],
    boxes: NDArray[np.floating],
    labels: Sequence[int],
    class_names: Sequence[str],
    palette: Sequence[Colour],
    scores: Sequence[float] | None = None,
    ignore: Sequence[bool] | None = None,
) -> NDArray[np.uint8]:
    """Draw boxes and what they hold.

    Args:
        image: (H, W, 3) or (H, W) uint8.
        boxes: (n, 4) x1, y1, x2, y2 in pixels of the image.
        labels: n ids.
        class_names: of id 0, 1, ...
        palette: colour of id 0, 1, ...
        scores: n confidences in [0, 1], written next to the names.
        ignore: n flags; ignored regions are grey and have no name.

    Returns:
        (H, W, 3) uint8, a copy.
    """
    canvas = Image.fromarray(image).convert("RGB")
    draw = ImageDraw.Draw(canvas)
    width = max(1, round(min(canvas.size) / 240))
    font = ImageFont.load_default(size=max(10, round(min(canvas.size) / 40)))
    order = range(len(boxes)) if scores is None else np.argsort(scores)  # the surest on top
    for i in order:
        x1, y1, x2, y2 = (float(v) for v in boxes[i])
        ignored = ignore is not None and bool(ignore[i])
        colour = _GREY if ignored else tuple(palette[labels[i]])
        draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=width)
        if ignored:
            continue
        text = class_names[labels[i]]
        if scores is not None:
            text = f"{text} {scores[i]:.2f}"
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        place = (x1, max(0, y1 - (bottom - top) - 3))
        draw.rectangle(
            (*place, place[0] + right - left + 3, place[1] + bottom - top + 3), fill=colour
        )
        ink = (0, 0, 0) if sum(colour) > 380 else (255, 255, 255)
        draw.text((place[0] + 1 - left, place[1] + 1 - top), text, fill=ink, font=font)
    return np.asarray(canvas)
