"""One's own prompts, from a JSON or CSV file.

JSON maps the names of images to lists of prompts; ``labels`` may be left out and are 1 then::

    {"cat": [{"box": [12, 30, 200, 180]},
             {"points": [[100, 90], [20, 15]], "labels": [1, 0]}]}

CSV has one of two heads. A row is one box, or one point; points of the same name and with the same
entry in the column ``prompt`` make one prompt, and without that column all points of an image do::

    name,x_min,y_min,x_max,y_max          name,x,y,label,prompt
    cat,12,30,200,180                     cat,100,90,1,a
    cat,20,40,60,90                       cat,20,15,0,a

Coordinates are pixels of the image as viewers and labelling tools show it (turned by its EXIF
orientation), and must lie in it; what lies outside by less than a pixel, as other programs round,
is moved to the border. Names are stems; a suffix of an image (``cat.jpg``) is taken off. Commas in
names need quotes in CSV.
"""

import unicodedata
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import torch

from rgbx.errors import DataError
from rgbx.prompts.csv_file import read_csv
from rgbx.prompts.entries import Entry
from rgbx.prompts.json_file import read_json
from rgbx.prompts.prompt import Prompt
from rgbx.text import printable, read_utf8

__all__ = ["PromptFile", "read_prompts", "scale_prompt"]

_IMAGES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm", ".pnm")
)


class PromptFile:
    """The prompts of a file.

    Args:
        path: where they were read, for messages.
        entries: prompts by name as it stands in the file.
    """

    def __init__(self, path: Path, entries: Mapping[str, list[Entry]]) -> None:
        self.path = path
        self._entries: dict[str, list[Entry]] = {}
        for name, found in entries.items():
            self._entries.setdefault(_stem(name), []).extend(found)

    @property
    def names(self) -> list[str]:
        """Names of the images that have prompts."""
        return [name for name, found in self._entries.items() if found]

    def check_names(self, known: Iterable[str]) -> None:
        """Refuse prompts for images that are not there.

        Raises:
            DataError: names file, line and image.
        """
        there = set(known)
        for name in self.names:
            if name not in there:
                ends = [n for n in there if n.rpartition("/")[2] == name.rpartition("/")[2]]
                also = [n for n in there if n.casefold() == name.casefold()]
                near = ", ".join(printable(n) for n in sorted(also or ends)[:5])
                hint = f"there is {near}" if near else "use the file name of an image"
                raise DataError(
                    f"{self._entries[name][0].where}: there is no image {name!r}; {hint} without "
                    "its suffix"
                )

    def prompts(self, name: str, size: tuple[int, int]) -> list[Prompt]:
        """The prompts of one image, in the file's order.

        Args:
            name: stem of the image.
            size: (h, w) of the image, upright.

        Raises:
            DataError: a prompt lies a pixel or more outside the image.
        """
        return [_inside(entry, name, size)[0] for entry in self._entries.get(name, [])]

    def warn_moved(self, name: str, size: tuple[int, int]) -> None:
        """Say which prompts of an image lie outside it by less than a pixel, and are moved onto it.

        Raises:
            DataError: a prompt lies further outside.
        """
        moved = [e.where for e in self._entries.get(name, []) if _inside(e, name, size)[1]]
        if moved:
            warnings.warn(
                f"{moved[0]}: {len(moved)} prompt{'s' * (len(moved) > 1)} of {name} lie outside it "
                "by less than a pixel, as rounding leaves them; they are moved onto its border.",
                stacklevel=2,
            )


def read_prompts(path: str | Path) -> PromptFile:
    """Read a ``.json`` or ``.csv`` file of prompts.

    Raises:
        DataError: the file is missing or no text, or holds a mistake; the text names the line.
    """
    path = Path(path)
    readers = {".json": read_json, ".csv": read_csv}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: prompts are read from .json and .csv files only")
    text = read_utf8(path, "the prompts")
    return PromptFile(path, readers[path.suffix.lower()](path, text))


def scale_prompt(prompt: Prompt, size: tuple[int, int], content: tuple[int, int]) -> Prompt:
    """Move a box or points from an image's pixels to the network's.

    Args:
        prompt: in pixels of the image.
        size: (h, w) of the image.
        content: (h, w) that the image fills in the network's input, from its upper left corner.
    """
    factors = torch.tensor([content[1] / size[1], content[0] / size[0]], dtype=torch.float32)
    moved = Prompt(**prompt)
    if "box" in prompt:
        moved["box"] = prompt["box"] * factors.repeat(2)
    if "points" in prompt:
        moved["points"] = prompt["points"] * factors
    return moved


def _stem(name: str) -> str:
    name = unicodedata.normalize("NFC", name)  # as the names of images
    suffix = Path(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in _IMAGES else name


def _inside(entry: Entry, name: str, size: tuple[int, int]) -> tuple[Prompt, bool]:
    """The prompt in its image of size (h, w), and whether it had to be moved.

    A box may end at the image's width and height, a point must lie on a pixel. What other programs
    round to less than a pixel outside is moved to the border.

    Raises:
        DataError: it lies further outside, or has no area left.
    """
    limits = torch.tensor([size[1], size[0]], dtype=torch.float32)
    kind: Literal["box", "points"] = "box" if "box" in entry.prompt else "points"
    places = entry.prompt[kind].reshape(-1, 2)
    moved = places.clamp(min=torch.zeros(2), max=limits)
    if kind == "points":
        moved = torch.where(places < limits, moved, limits - 0.5)  # centre of the last pixel
    if torch.equal(places, moved):
        return entry.prompt, False
    wrong = torch.maximum(places - limits, -places) >= 1
    if kind == "box" and not (moved[0] < moved[1]).all():
        wrong = places != moved
    if wrong.any():
        x, y = places[wrong.any(dim=1)][0].tolist()
        raise DataError(
            f"{entry.where}: ({x:g}, {y:g}) lies outside {name}, which is {size[1]} pixels wide "
            f"and {size[0]} high; coordinates are x, y in pixels of the image as shown"
        )
    changed = Prompt(**entry.prompt)
    changed[kind] = moved.reshape(entry.prompt[kind].shape)
    return changed, True
