"""Predictions of models that take prompts: one mask for each."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rgbx.disk import write_bytes, write_image
from rgbx.prompts import Prompt
from rgbx.tasks.batch_image import BatchImage
from rgbx.tasks.dense_files import target_path, write_target
from rgbx.tasks.frame import Frame
from rgbx.tasks.prediction_files import PredictionFiles
from rgbx.visualization.drawing import Colour, draw_prompts, fit, generate_palette, overlay
from rgbx.visualization.sheet import CELL, Draw, ImageArray, Row

__all__ = [
    "PromptFiles",
    "prompt_colours",
    "prompt_on",
    "prompted_row",
]

COLOURS = 254  # 0 is no mask and 255 would be "ignore"; beyond that colours come again
LIST = "prompts.json"
PROMPT: Colour = (255, 150, 0)


class PromptFiles(PredictionFiles):
    """Writes a mask for every prompt, and what belongs to what.

    Prediction leaves ``masks/NAME_0.png``, ``masks/NAME_1.png``, ... (8 bits, 0 and 255, in the
    order of the prompts), ``overlays/NAME.png`` with all masks and prompts of the image, and
    ``prompts.json``, which has the prompts in pixels of the images and the mask of each:
    ``{"NAME": [{"box": [12, 30, 200, 180], "mask": "masks/NAME_0.png"}]}``. A test leaves
    ``masks/NAME_KIND.png``, the mask of the first prompt of a kind, ``masks/NAME_KIND_1.png`` and
    so on of the others, and ``truth/NAME.png``: what every score is computed from.

    Args:
        folder: where to.
        first_prompt: image, kind -> the first prompt of that kind which a test gave the image.
    """

    contents = "masks by prompt and overlays"

    def __init__(self, folder: Path, first_prompt: Callable[[BatchImage, str], Prompt]) -> None:
        super().__init__(folder)
        self._first_prompt = first_prompt
        self._list: dict[str, list[dict[str, Any]]] = {}

    def write(
        self, image: BatchImage, prediction: Any, scored: Mapping[str, Tensor] | None = None
    ) -> Draw:
        """Write the masks of one image.

        Args:
            image: what was predicted.
            prediction: (N,h,w) bool in the order of the prompts of a prediction; in a test kind ->
                (n,h,w), not 0 on the object.
            scored: nothing here.

        Returns:
            Draws image with prompts, masks, both together; in a test image, masks with the first
            prompt of each kind, ground truth.
        """
        if isinstance(prediction, Mapping):
            return self._tested(image, prediction)
        return self._predicted(image, prediction)

    @classmethod
    def paths(cls, image: BatchImage, prediction: Any) -> dict[str, str]:
        """The mask of the first prompt of each kind, and the ground truth."""
        found = {f"prediction/{kind}": f"masks/{image.stem}_{kind}.png" for kind in prediction}
        return {**found, **target_path(image)}

    def _predicted(self, image: BatchImage, masks: Tensor) -> Draw:
        place, rgb, frame = image.stem, image.rgb, image.frame
        prompts = [frame.to_image(prompt) for prompt in image["prompts"]]
        stack = masks.cpu().numpy().astype(bool)
        self._list[str(image["name"])] = [
            {**prompt, "mask": self._mask(f"{place}_{i}", mask)}
            for i, (mask, prompt) in enumerate(zip(stack, prompts, strict=True))
        ]
        colours = prompt_colours(len(prompts))
        ids, palette = flatten(stack, rgb.shape[:2]), prompt_palette(len(prompts))
        covered = overlay(rgb, ids, palette)
        target = self.folder / "overlays" / f"{place}.png"
        write_image(draw_prompts(covered, prompts, colours), target)

        def row() -> Row:
            painted = overlay(np.zeros_like(rgb), ids, palette, alpha=1)
            titles = [f"{place} ({_counted(prompts)})", "masks", "overlay"]
            asked = image["prompts"]
            panels = [_small(rgb, frame, asked, colours), painted]
            return [*panels, _small(covered, frame, asked, colours)], titles

        return row

    def _tested(self, image: BatchImage, masks: Mapping[str, Tensor]) -> Draw:
        found = {kind: mask.cpu().numpy() != 0 for kind, mask in masks.items()}
        for kind, stack in found.items():
            for number, mask in enumerate(stack):
                self._mask(f"{image.stem}_{kind}{f'_{number}' * (number > 0)}", mask)
        write_target(self.folder, image)

        def row() -> Row:
            panels = [image.rgb]
            for kind, stack in found.items():
                asked = [self._first_prompt(image, kind)]
                panels.append(_small(_black_and_white(stack[0]), image.frame, asked, [PROMPT]))
            truth = image["mask"].cpu().numpy() == 1
            return [*panels, _black_and_white(truth)], [image.stem, *found, "ground truth"]

        return row

    def close(self) -> None:
        """Write ``prompts.json``, if there were prompts."""
        if self._list:
            text = json.dumps(self._list, indent=1, ensure_ascii=False)
            # names that are no text become JSON's escapes
            write_bytes(self.folder / LIST, f"{text}\n".encode("utf-8", "backslashreplace"))

    def _mask(self, place: str, mask: NDArray[np.bool_]) -> str:
        """Write one mask; returns where, relative to the folder."""
        target = self.folder / "masks" / f"{place}.png"
        write_image(_black_and_white(mask), target)  # names may hold folders ("day/0001")
        return target.relative_to(self.folder).as_posix()


def prompt_on(prompt: Prompt, device: torch.device) -> Prompt:
    """The same prompt with its tensors on a device."""
    moved: Any = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in prompt.items()}
    return Prompt(**moved)


def prompted_row(
    image: BatchImage, prompt: Prompt, kind: str, mask: Tensor, cell: tuple[int, int]
) -> Row:
    """Image with a prompt, its mask, and the ground truth.

    Args:
        image: what was asked about.
        prompt: in the network's pixels.
        kind: of the prompt.
        mask: (h,w), not 0 on the object.
        cell: height and width into which the image is fitted before the prompt is drawn.
    """
    truth = image["mask"].cpu().numpy().reshape(mask.shape) > 0
    panels = [
        _small(image.rgb, image.frame, [prompt], [PROMPT], cell),
        _black_and_white(mask.cpu().numpy() != 0),
        _black_and_white(truth),
    ]
    return panels, [image.stem, f"prediction ({kind})", "ground truth"]


def prompt_colours(count: int) -> tuple[Colour, ...]:
    """A colour for each prompt of an image."""
    distinct = generate_palette(min(count, COLOURS) + 1)[1:]
    return tuple(distinct[i % COLOURS] for i in range(count))


def prompt_palette(count: int) -> tuple[Colour, ...]:
    """The colours of `flatten`'s ids: black, and those of the prompts before they come again."""
    return ((0, 0, 0), *prompt_colours(min(count, COLOURS)))


def flatten(masks: NDArray[np.bool_], size: Sequence[int]) -> NDArray[np.uint8]:
    """Lay masks (N,h,w) over each other, the largest first, so that small ones stay visible.

    Returns:
        (h,w): 0 where no mask is, else 1 + the mask's number, modulo the number of colours.
    """
    ids = np.zeros(tuple(size), dtype=np.uint8)
    for i in np.argsort(-masks.sum(axis=(1, 2)), kind="stable"):
        ids[masks[i]] = 1 + i % COLOURS
    return ids


def _small(
    panel: ImageArray,
    frame: Frame,
    prompts: Sequence[Prompt],
    colours: Sequence[Colour],
    cell: tuple[int, int] = CELL,
) -> ImageArray:
    """The image as large as on the sheet, with prompts in lines that suit this size."""
    small = np.asarray(fit(panel, cell))
    scaled = frame.scaled(small.shape[:2])
    return draw_prompts(small, [scaled.to_image(prompt) for prompt in prompts], colours)


def _black_and_white(mask: NDArray[np.bool_]) -> ImageArray:
    return np.where(mask, np.uint8(255), np.uint8(0))


def _counted(prompts: Sequence[Any]) -> str:
    return f"{len(prompts)} prompt{'' if len(prompts) == 1 else 's'}"
