"""One page with some of the predictions of every split, to look at first."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rgbx.disk import write_image
from rgbx.visualization.drawing import fit, panel

__all__ = ["CELL", "Draw", "Image", "Row", "Sheet", "sized"]

ImageArray = NDArray[np.uint8]
Row = tuple[list[ImageArray], list[str]]  # images of the sheet from left to right, their titles
Draw = Callable[[], Row]  # draws a row, for those that come on the sheet

ROWS = 8
CELL = (180, 240)  # height and width of an image on the page, in pixels


class Sheet:
    """Rows of images, spread over the splits and over the images of each."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Row]] = {}
        self._seen: dict[str, int] = {}

    def add(self, draw: Draw, split: str, size: int, splits: int) -> None:
        """Take the next image of a split, or pass it by; to be called for every image.

        Rows are kept at the size that they will have: whole images would fill the memory.

        Args:
            draw: called if the image is shown.
            split: its name.
            size: number of images in it.
            splits: how many splits share the page.
        """
        quota = -(-ROWS // splits)
        seen, rows = self._seen.get(split, 0), self._rows.setdefault(split, [])
        self._seen[split] = seen + 1
        if seen % max(1, size // quota) == 0 and len(rows) < quota:
            panels, titles = draw()
            rows.append(([np.asarray(fit(panel, CELL)) for panel in panels], titles))

    def save(self, path: Path, below: Image.Image | None = None) -> None:
        """Write the page, if there is anything on it.

        Args:
            path: file to write.
            below: a legend.
        """
        rows = [row for split in self._rows.values() for row in split]
        if not rows:
            return
        panels = [panel for row, _ in rows for panel in row]
        titles = [title for _, row in rows for title in row]
        page = panel(panels, titles, columns=len(rows[0][0]), cell=CELL)
        if below is not None:
            sheet = page
            size = (max(sheet.width, below.width), sheet.height + below.height)
            page = Image.new("RGB", size, "white")
            page.paste(sheet, (0, 0))
            page.paste(below, (0, sheet.height))
        write_image(page, path)


def sized(image: ImageArray, shape: tuple[int, ...]) -> ImageArray:
    """The image at (h,w); a test mask may have a size of its own."""
    if image.shape[:2] == shape:
        return image
    resized = Image.fromarray(image).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized)
