"""COCO instances asked for with noisy boxes: one encoder pass per image, all boxes decoded."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import MaskDecoder
from torch import Tensor, nn
from tqdm import tqdm

from rgbx.data.decoding.files import look, read_rgb
from rgbx.data.prompt_dataset import content_size
from rgbx.data.source import Source
from rgbx.data.transforms.jitter import resize_image
from rgbx.data.transforms.normalise import Triple
from rgbx.errors import DataError, RGBXError
from rgbx.metrics.coco import CocoResults
from rgbx.metrics.coco_files import CocoInstance, CocoInstances
from rgbx.prompts import Prompt, box_iou, noisy_box, scale_prompt
from rgbx.tasks.base import resize
from rgbx.tasks.promptable import PromptableModule

__all__ = ["CocoScores", "Range", "Score", "evaluate", "kind_of"]

Range: TypeAlias = tuple[float, float]
Score: TypeAlias = Literal["one", "pred_iou"]

_TOGETHER = 16  # masks that are resized to the image's size at once


@dataclass(frozen=True)
class CocoScores:
    """What one annotation file gave.

    Attributes:
        numbers: "noisy_box_LOW-HIGH/AP" and ".../AP50" in [0, 1].
        instances: Instances asked for.
        empty: Instances without a pixel, which count as missed.
        outside: Boxes for which no draw fell into the range.
    """

    numbers: dict[str, float]
    instances: int
    empty: int
    outside: int


def kind_of(limits: Range) -> str:
    """Name of the prompts of a range, e.g. "noisy_box_0.5-0.6"."""
    return f"noisy_box_{limits[0]:g}-{limits[1]:g}"


@torch.inference_mode()
def evaluate(
    model: PromptableModule,
    instances: CocoInstances,
    name: str,
    ranges: Sequence[Range],
    size: int = 1024,
    score: Score = "one",
    colours: tuple[Triple, Triple] = (Source.rgb_mean, Source.rgb_std),
) -> CocoScores:
    """Ask for every instance with one box per range, and score the masks.

    Annotations count in pixels of the images as viewers show them, turned by their EXIF
    orientation. An image is resized so that its longer side is `size`, and padded on the right and
    below. A box is drawn in the image's own pixels, by a generator seeded from (name, annotation,
    range), so that every model sees the same. The predicted class is the true one.

    Args:
        model: on its device, in eval mode.
        instances: what to ask for.
        name: of the data set.
        ranges: [low, high) of a noisy box's overlap with the true box.
        size: side of the network's input, a multiple of 16.
        score: confidence of a mask: 1 for all, or the IoU that SAM's own head predicts.
        colours: mean and std of red, green and blue that the model was trained with, for
            values in [0, 1].

    Raises:
        DataError: an image cannot be read, or its size differs from the file's.
        RGBXError: `score` is "pred_iou" and the model has no such head.
    """
    results = {kind_of(limits): CocoResults(instances) for limits in ranges}
    quality = _Quality(model) if score == "pred_iou" else None
    seen = outside = 0
    try:
        for group in tqdm(instances, total=len(instances), desc=name, unit="image"):
            prompts, strays = _draw(group, name, ranges)
            seen, outside = seen + len(group), outside + strays
            masks = _answer(model, group[0], prompts, size, colours)
            kinds = [kind for kind in results for _ in group]
            scores = quality.take() if quality else [1.0] * len(prompts)
            for kind, one, mask, value in zip(
                kinds, group * len(results), masks, scores, strict=True
            ):
                results[kind].add(one.image_id, one.category_id, mask, value)
    finally:
        if quality:
            quality.remove()
    numbers = {
        f"{kind}/{key}": value
        for kind, found in results.items()
        for key, value in found.compute().items()
    }
    return CocoScores(numbers, seen, instances.empty, outside)


def _draw(
    group: Sequence[CocoInstance], name: str, ranges: Sequence[Range]
) -> tuple[list[Prompt], int]:
    """One box per range and instance in the image's pixels, range by range; how many missed."""
    prompts, strays = [], 0
    for limits in ranges:
        for one in group:
            key = f"{name}\n{one.id}\n{kind_of(limits)}".encode()
            rng = np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest()[:16], "big"))
            height, width = one.mask.shape
            box = noisy_box(one.box, rng, (height, width), iou_range=limits)
            overlap = box_iou(box.double().numpy()[None], one.box.double().numpy())[0]
            strays += not limits[0] <= overlap < limits[1]
            prompts.append(Prompt(kind=kind_of(limits), box=box))
    return prompts, strays


def _answer(
    model: PromptableModule,
    first: CocoInstance,
    prompts: Sequence[Prompt],
    side: int,
    colours: tuple[Triple, Triple],
) -> Iterator[Tensor]:
    """Masks (h, w) bool on the CPU, one per prompt."""
    rgb = read_rgb(first.path)
    height, width = first.mask.shape
    if rgb.shape[:2] != (height, width):
        entry = look(first.path).orientation
        shown = f" as its EXIF orientation ({entry}) turns it" if entry > 1 else ""
        raise DataError(
            f"{first.path} is {rgb.shape[0]} x {rgb.shape[1]}{shown}, but its annotations say "
            f"{height} x {width}; give the images that the file was made for"
        )
    frame = (side, side)
    content = content_size((height, width), frame, "pad")
    pixels = _framed(resize_image(rgb, content), frame, colours)
    embedding = model.embed(pixels.to(model.device))
    moved = [scale_prompt(prompt, (height, width), content) for prompt in prompts]
    logits = model.decode(embedding, moved, frame)
    return _masks(logits, frame, content, (height, width))


def _framed(
    rgb: NDArray[np.uint8], frame: tuple[int, int], colours: tuple[Triple, Triple]
) -> Tensor:
    """An image (h, w, 3), normalised, in the upper left corner of the input (1, 3, H, W)."""
    mean, std = np.asarray(colours, np.float32)
    values = (rgb.astype(np.float32) / np.float32(255) - mean) / std
    framed = torch.zeros(1, 3, *frame)
    framed[0, :, : rgb.shape[0], : rgb.shape[1]] = torch.from_numpy(values).permute(2, 0, 1)
    return framed


def _masks(
    logits: Tensor, frame: tuple[int, int], content: tuple[int, int], size: tuple[int, int]
) -> Iterator[Tensor]:
    for part in logits.split(_TOGETHER):
        inside = resize(part, frame)[..., : content[0], : content[1]]
        yield from (resize(inside, size)[:, 0] > 0).cpu()


class _Quality:
    """Listens to a mask decoder, and asks SAM's head how good the masks are.

    Boxes all have one form, so the decoder answers them in their own order.
    """

    def __init__(self, model: PromptableModule) -> None:
        decoders = [part for part in model.modules() if isinstance(part, MaskDecoder)]
        if not decoders:
            raise RGBXError(
                f"{type(model).__name__} has no mask decoder of SAM that predicts IoU; use --score "
                "one."
            )
        self._head = decoders[0].iou_prediction_head
        self._scores: list[Tensor] = []
        self._handle = decoders[0].transformer.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: object, output: tuple[Tensor, Tensor]) -> None:
        # token 0 of the states is the quality token, number 0 of the answer the single mask's
        self._scores.append(self._head(output[0][:, 0])[:, 0])

    def take(self) -> list[float]:
        """Predicted IoU of every mask since the last call."""
        found: list[float] = torch.cat(self._scores).tolist()
        self._scores.clear()
        return found

    def remove(self) -> None:
        self._handle.remove()
