"""What the plug-in changes, as the paper's Fig. 4: attention, sampled places, masks."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from rgbx.models.stable_sam.attention import AttentionMap
from rgbx.prompts import Prompt
from rgbx.tasks.batch_image import BatchImage
from rgbx.tasks.frame import Frame
from rgbx.visualization.drawing import Colour, draw_prompts, fit, heat, overlay, panel
from rgbx.visualization.sheet import ImageArray

__all__ = ["attention_panel"]

CELL = (400, 480)  # height and width of each of the six images, in pixels
LINES = 20  # at most so many along the longer side of the grid
PROMPT: Colour = (255, 220, 0)
_PALETTE: tuple[Colour, ...] = ((0, 0, 0), (235, 20, 130))  # of masks
_PEAK = 0.995  # quantile of the weights that is drawn as the strongest: one cell may hold most


def attention_panel(
    image: BatchImage, prompt: Prompt, shown: AttentionMap, title: str
) -> Image.Image:
    """Draw six images: above without, below with the plug-in.

    Above: the image with the prompt, attention, mask. Below: where the plug-in samples,
    attention, mask. Both attention maps are on one scale, red at the strongest. A line goes from a
    cell to a dot at the place its features come from; in each block of cells the one with the most
    attention is drawn, blue with little, then yellow, red with much.

    Args:
        image: what was asked about.
        prompt: in the network's pixels.
        shown: what to draw.
        title: printed above the first image.
    """
    small = np.asarray(fit(image.rgb, CELL))
    frame = image.frame.scaled(small.shape[:2])
    marked = draw_prompts(small, [frame.to_image(prompt)], [PROMPT])
    grey = np.asarray(Image.fromarray(small).convert("L"))[..., None].repeat(3, axis=2) // 2
    both = [shown.before.numpy(), shown.after.numpy()]
    peak = float(np.quantile(np.stack(both), _PEAK)) or 1.0
    maps = [np.clip(m / peak, 0, 1) for m in both]
    heated = [heat(grey, _over_image(m, frame).clip(0, 1), alpha=0.8) for m in maps]
    places = _draw_locations(grey, shown.locations.numpy(), maps[1], frame)
    masks = [
        overlay(small, (_over_image(m[0, 0].numpy(), frame) > 0).astype(np.uint8), _PALETTE)
        for m in (shown.logits_before, shown.logits_after)
    ]
    weights = f"sampled {shown.alpha[0]:.2f}, original {shown.alpha[1]:.2f}"
    titles = [title, "attention without plug-in", "mask without plug-in"]
    titles += [f"sampled places ({weights})", "attention with plug-in", "mask with plug-in"]
    panels = [marked, heated[0], masks[0], places, heated[1], masks[1]]
    return panel(panels, titles, columns=3, cell=(small.shape[0], small.shape[1]))


def _over_image(values: NDArray[np.floating], frame: Frame) -> NDArray[np.float32]:
    """A map of the network's input, at the size of the image in it; padding is left out."""
    grid = Image.fromarray(values.astype(np.float32))
    scale = (grid.width / frame.network[1], grid.height / frame.network[0])
    part = (0.0, 0.0, frame.content[1] * scale[0], frame.content[0] * scale[1])
    size = (frame.size[1], frame.size[0])
    return np.asarray(grid.resize(size, Image.Resampling.BILINEAR, box=part))


def _draw_locations(
    grey: ImageArray,
    locations: NDArray[np.floating],
    weights: NDArray[np.floating],
    frame: Frame,
) -> ImageArray:
    """Lines from cells to sampled places, the strongest of each block, the weakest first."""
    height, width = weights.shape
    step = max(1, -(-max(height, width) // LINES))
    cell = np.array([frame.network[1] / width, frame.network[0] / height])
    panel = Image.fromarray(grey)
    draw = ImageDraw.Draw(panel)
    for y, x in sorted(_strongest(weights, step), key=lambda place: weights[place]):
        start, end = frame.points(
            np.stack(((np.array([x, y]) + 0.5) * cell - 0.5, locations[y, x]))
        )
        if (start > np.array([frame.size[1], frame.size[0]])).any():
            continue  # a cell of the padding
        _draw_line(draw, start, end, float(weights[y, x]))
    return np.asarray(panel)


def _strongest(weights: NDArray[np.floating], step: int) -> list[tuple[int, int]]:
    """Row and column of the greatest weight in every block of `step` x `step` cells."""
    places = []
    for top in range(0, weights.shape[0], step):
        for left in range(0, weights.shape[1], step):
            block = weights[top : top + step, left : left + step]
            row, column = divmod(int(block.argmax()), block.shape[1])
            places.append((top + row, left + column))
    return places


def _draw_line(
    draw: ImageDraw.ImageDraw,
    start: NDArray[np.floating],
    end: NDArray[np.floating],
    weight: float,
) -> None:
    """A line with a dot at its end, which grows with the weight."""
    colour = _ramp(weight)
    draw.line((*start.tolist(), *end.tolist()), colour, 1)
    radius = 1.5 + 2.5 * weight
    x, y = end.tolist()
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)


def _ramp(weight: float) -> Colour:
    """Blue at 0, yellow at one half, red at 1."""
    stops = np.array([(60, 90, 230), (255, 235, 40), (255, 30, 20)], dtype=float)
    place = min(max(weight, 0.0), 1.0) * 2
    first = min(int(place), 1)
    r, g, b = stops[first] + (stops[first + 1] - stops[first]) * (place - first)
    return round(r), round(g), round(b)
