"""Predictions of models that answer prompts: one mask for each."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rgbx.cli.frame import Frame
from rgbx.cli.sheet import Picture, Row, sized
from rgbx.pictures import Colour, draw_prompts, generate_palette, overlay

__all__ = ["PromptedOutputs", "prompt_colours"]

COLOURS = 254  # 0 is no mask and 255 would be "ignore"; beyond that colours come again
LIST = "prompts.json"


class PromptedOutputs:
    """Writes a mask for every prompt, and what belongs to what.

    Prediction leaves ``masks/NAME_0.png``, ``masks/NAME_1.png``, ... (8 bits, 0 and 255, in the
    order of the prompts), ``overlays/NAME.png`` with all masks and prompts of the picture, and
    ``prompts.json``, which has the prompts in pixels of the pictures and the mask of each:
    ``{"NAME": [{"box": [12, 30, 200, 180], "mask": "masks/NAME_0.png"}]}``. A test leaves
    ``masks/NAME_KIND.png``, the answer to the first prompt of every kind.

    Args:
        folder: where to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._list: dict[str, list[dict[str, Any]]] = {}

    def predicted(
        self, batch: Mapping[str, Any], index: int, rgb: Picture, masks: Tensor, mode: str
    ) -> Row:
        """Write the masks for the prompts of one image.

        Args:
            batch: the image is one of it; `prompts` are in the network's pixels.
            index: which.
            rgb: (h,w,3), the picture.
            masks: (N,h,w) bool, in the order of the prompts.
            mode: how pictures came to the network's size, "squash" or "pad".

        Returns:
            Picture with prompts, masks, both together.
        """
        place = str(batch["name"][index])
        frame = Frame(rgb.shape[:2], batch["rgb"].shape[-2:], mode)
        prompts = [frame.to_picture(prompt) for prompt in batch["prompts"][index]]
        stack = masks.cpu().numpy().astype(bool)
        self._list[place] = [
            {**prompt, "mask": self._mask(f"{place}_{i}", mask)}
            for i, (mask, prompt) in enumerate(zip(stack, prompts, strict=True))
        ]
        colours = prompt_colours(len(prompts))
        ids, palette = flatten(stack, rgb.shape[:2]), ((0, 0, 0), *colours)
        shown = draw_prompts(overlay(rgb, ids, palette), prompts, colours)
        target = self.folder / "overlays" / f"{place}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(shown).save(target)
        painted = overlay(np.zeros_like(rgb), ids, palette, alpha=1)
        pictures = [draw_prompts(rgb, prompts, colours), painted, shown]
        return pictures, [f"{place} ({_counted(prompts)})", "masks", "overlay"]

    def tested(self, place: str, rgb: Picture, masks: Mapping[str, Tensor], truth: Tensor) -> Row:
        """Write the masks for the first prompt of every kind.

        Args:
            place: name of the files, without kind and suffix.
            rgb: (h,w,3), the picture.
            masks: kind -> (h,w), not 0 on the object.
            truth: (h,w), 1 on the object.

        Returns:
            Picture, masks by kind, ground truth.
        """
        pictures, titles = [sized(rgb, tuple(truth.shape[-2:]))], [place]
        for kind, mask in masks.items():
            found = mask.cpu().numpy() != 0
            self._mask(f"{place}_{kind}", found)
            pictures.append(_black_and_white(found))
            titles.append(kind)
        pictures.append(_black_and_white(truth.cpu().numpy() == 1))
        return pictures, [*titles, "ground truth"]

    def write_list(self) -> None:
        """Write ``prompts.json``, if there were prompts."""
        if self._list:
            text = json.dumps(self._list, indent=1, ensure_ascii=False)
            (self.folder / LIST).write_text(text + "\n", encoding="utf-8")

    def _mask(self, place: str, mask: NDArray[np.bool_]) -> str:
        """Write one mask; returns where, relative to the folder."""
        target = self.folder / "masks" / f"{place}.png"
        target.parent.mkdir(parents=True, exist_ok=True)  # names may hold folders ("day/0001")
        Image.fromarray(_black_and_white(mask)).save(target)
        return target.relative_to(self.folder).as_posix()


def prompt_colours(count: int) -> tuple[Colour, ...]:
    """A colour for each prompt of a picture."""
    distinct = generate_palette(min(count, COLOURS) + 1)[1:]
    return tuple(distinct[i % COLOURS] for i in range(count))


def flatten(masks: NDArray[np.bool_], size: Sequence[int]) -> NDArray[np.uint8]:
    """Lay masks (N,h,w) over each other, the largest first, so that small ones stay visible.

    Returns:
        (h,w): 0 where no mask is, else 1 + the mask's number, modulo the number of colours.
    """
    ids = np.zeros(tuple(size), dtype=np.uint8)
    for i in np.argsort(-masks.sum(axis=(1, 2)), kind="stable"):
        ids[masks[i]] = 1 + i % COLOURS
    return ids


def _black_and_white(mask: NDArray[np.bool_]) -> Picture:
    return np.where(mask, np.uint8(255), np.uint8(0))


def _counted(prompts: Sequence[Any]) -> str:
    return f"{len(prompts)} prompt{'' if len(prompts) == 1 else 's'}"
