"""Images for people: coloured masks, overlays, panels with captions, legends.

Pure numpy and PIL; knows nothing of data sets or models.
"""

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rgbx.text import printable

__all__ = [
    "Colour",
    "colourise",
    "draw_prompts",
    "fit",
    "generate_palette",
    "heat",
    "legend",
    "overlay",
    "panel",
]

Colour = tuple[int, int, int]
_IGNORE = 255
_IGNORE_COLOUR: Colour = (211, 211, 211)
_INK: Colour = (30, 30, 30)
_PAPER: Colour = (255, 255, 255)


def generate_palette(count: int) -> tuple[Colour, ...]:
    """Make distinct colours: black for id 0, then hues that differ as much as possible.

    The hue advances by the golden section, so that neighbouring ids are far apart, and every
    seventh colour is darker.

    Args:
        count: number of classes.
    """
    colours: list[Colour] = [(0, 0, 0)]
    for i in range(max(count - 1, 0)):
        value = (1.0, 0.7, 0.85)[i // 7 % 3]
        r, g, b = colorsys.hsv_to_rgb((0.02 + 0.618034 * i) % 1.0, 0.85, value)
        colours.append((round(r * 255), round(g * 255), round(b * 255)))
    return tuple(colours[:count])


def colourise(ids: NDArray[np.integer], palette: Sequence[Colour]) -> NDArray[np.uint8]:
    """Paint class ids.

    Args:
        ids: (H, W); 255 (ignore) becomes light grey.
        palette: colour of id 0, 1, ...

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: an id is neither in the palette nor 255.
    """
    values = np.unique(ids)
    foreign = [int(v) for v in values if v != _IGNORE and not 0 <= v < len(palette)]
    if foreign:
        raise ValueError(f"ids {foreign} have no colour in a palette of {len(palette)}")
    table = np.full((256, 3), _IGNORE_COLOUR, dtype=np.uint8)
    table[: len(palette)] = palette
    table[_IGNORE] = _IGNORE_COLOUR
    return table[ids]


def overlay(
    rgb: NDArray[np.uint8],
    ids: NDArray[np.integer],
    palette: Sequence[Colour],
    alpha: float = 0.5,
) -> NDArray[np.uint8]:
    """Lay coloured ids over an image; pixels of id 0 are left as they are.

    Args:
        rgb: (H, W, 3) uint8.
        ids: (H, W).
        palette: colour of id 0, 1, ...
        alpha: weight of the colour, 0 to 1.

    Returns:
        (H, W, 3) uint8.
    """
    mixed = rgb * (1 - alpha) + colourise(ids, palette) * alpha
    return np.where((ids != 0)[..., None], np.rint(mixed), rgb).astype(np.uint8)


def heat(
    rgb: NDArray[np.uint8], values: NDArray[np.floating], alpha: float = 0.7
) -> NDArray[np.uint8]:
    """Lay a map of probabilities over an image: nothing at 0, yellow at one half, red at 1.

    Colour and opacity grow with the value, so that what the map leaves out stays as it is.

    Args:
        rgb: (H, W, 3) uint8.
        values: (H, W), 0 to 1.
        alpha: weight of the colour at 1.

    Returns:
        (H, W, 3) uint8.
    """
    strength = values[..., None].astype(np.float32)
    green = np.clip(2 - 2 * strength, 0, 1)
    colour = 255 * np.concatenate((np.ones_like(green), green, np.zeros_like(green)), axis=-1)
    weight = alpha * strength
    return np.rint(rgb * (1 - weight) + colour * weight).astype(np.uint8)


def draw_prompts(
    rgb: NDArray[np.uint8], prompts: Sequence[Mapping[str, Any]], colours: Sequence[Colour]
) -> NDArray[np.uint8]:
    """Draw what a user pointed at: boxes as rectangles, points as rings, or crosses if negative.

    Lines and rings grow with the image, and have a dark or light edge to stand out.

    Args:
        rgb: (H, W, 3) uint8.
        prompts: in pixels of the image; `box` (4,) x_min, y_min, x_max, y_max, or `points` (k, 2)
            x, y with `labels` (k,), 1 on the object and 0 off it. Others, such as masks, are not
            drawn. What lies outside the image is cut off.
        colours: one for each prompt.

    Returns:
        (H, W, 3) uint8.
    """
    panel = Image.fromarray(rgb)
    draw = ImageDraw.Draw(panel)
    unit = max(1, round(min(rgb.shape[:2]) / 200))
    for prompt, colour in zip(prompts, colours, strict=True):
        if "box" in prompt:
            x0, y0, x1, y1 = (round(float(value)) for value in prompt["box"])
            draw.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=_INK, width=unit + 2)
            draw.rectangle((x0, y0, x1, y1), outline=colour, width=unit)
        labels = prompt.get("labels", ())
        for (x, y), label in zip(prompt.get("points", ()), labels, strict=True):
            _draw_point(draw, (round(float(x)), round(float(y))), bool(label), colour, unit)
    return np.asarray(panel)


def _draw_point(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], positive: bool, colour: Colour, unit: int
) -> None:
    """A ring with a dot, or a cross."""
    x, y = place
    radius = 3 * unit + 1
    if positive:
        for r, fill in ((radius + unit, _INK), (radius, _PAPER), (radius - unit, colour)):
            draw.ellipse((x - r, y - r, x + r, y + r), fill)
        draw.ellipse((x - unit, y - unit, x + unit, y + unit), _PAPER)
        return
    for fill, width in ((_PAPER, 3 * unit + 1), (colour, unit + 1)):
        draw.line((x - radius, y - radius, x + radius, y + radius), fill, width)
        draw.line((x - radius, y + radius, x + radius, y - radius), fill, width)


def fit(image: NDArray[np.uint8], cell: tuple[int, int]) -> Image.Image:
    """Scale an image into a cell, keeping its proportions.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        cell: (height, width) in pixels; one of the two is reached.

    Returns:
        An RGB image.
    """
    panel = Image.fromarray(image).convert("RGB")
    factor = min(cell[0] / panel.height, cell[1] / panel.width)
    size = (max(1, round(panel.width * factor)), max(1, round(panel.height * factor)))
    return panel.resize(size, Image.Resampling.BILINEAR)


def panel(
    images: Sequence[NDArray[np.uint8]],
    titles: Sequence[str],
    columns: int,
    cell: tuple[int, int] = (180, 240),
) -> Image.Image:
    """Arrange images in rows with a caption above each.

    Args:
        images: (H, W) or (H, W, 3) uint8, of any sizes.
        titles: one caption for each; too long ones are cut.
        columns: images per row.
        cell: (height, width) in pixels into which each image is fitted.

    Returns:
        An RGB image with ceil(n / columns) rows.
    """
    gap, head = 6, 16
    rows = -(-len(images) // columns)
    width = columns * (cell[1] + gap) + gap
    sheet = Image.new("RGB", (width, rows * (cell[0] + head + gap) + gap), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for i, (image, title) in enumerate(zip(images, map(printable, titles), strict=True)):
        left = gap + i % columns * (cell[1] + gap)
        top = gap + i // columns * (cell[0] + head + gap)
        while title and draw.textlength(title, font) > cell[1]:
            title = title[:-1]
        draw.text((left, top), title, _INK, font)
        panel = fit(image, cell)
        centre = ((cell[1] - panel.width) // 2, (cell[0] - panel.height) // 2)
        sheet.paste(panel, (left + centre[0], top + head + centre[1]))
    return sheet


def legend(class_names: Sequence[str], palette: Sequence[Colour]) -> Image.Image:
    """Draw one row of coloured squares with the class names.

    Args:
        class_names: name of id 0, 1, ...
        palette: colour of id 0, 1, ...
    """
    font = ImageFont.load_default(12)
    side, gap = 14, 6
    names = [printable(name) for name in class_names]
    widths = [side + 3 * gap + round(font.getlength(name)) for name in names]
    panel = Image.new("RGB", (sum(widths) + gap, side + 2 * gap), _PAPER)
    draw, left = ImageDraw.Draw(panel), gap
    for name, colour, width in zip(names, palette, widths, strict=True):
        draw.rectangle((left, gap, left + side, gap + side), colour, _INK)
        draw.text((left + side + gap, gap - 1), name, _INK, font)
        left += width
    return panel
