"""COCO instances prompted with noisy boxes: one encoder pass per image, all boxes decoded."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
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
from rgbx.tasks.base import RGBXModule, resize
from rgbx.tasks.promptable import PromptableModule

__all__ = ["CocoScores", "Range", "Score", "evaluate", "promptable"]

Range: TypeAlias = tuple[float, float]
Score: TypeAlias = Literal["one", "pred_iou"]

_TOGETHER = 16  # masks that are resized to the image's size at once


@dataclass(frozen=True)
class CocoScores:
    """What one annotation file gave.

    Attributes:
        numbers: "noisy_box_LOW-HIGH/AP" and ".../AP50" in [0, 1].
        instances: instances that were prompted.
        empty: instances without a pixel, which count as missed.
        outside: boxes for which no draw fell into the range.
    """

    numbers: dict[str, float]
    instances: int
    empty: int
    outside: int


def promptable(model: RGBXModule) -> PromptableModule:
    """The model, if it can be evaluated here.

    Raises:
        RGBXError: it takes no prompts.
    """
    if not isinstance(model, PromptableModule):
        raise RGBXError(f"{type(model).__name__} takes no prompts; give a model such as StableSAM.")
    return model


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
    """Prompt every instance with one box per range, and score the masks.

    Annotations count in pixels of the images as viewers show them, turned by their EXIF
    orientation. An image is resized so that its longer side is `size`, and padded on the right and
    below. A box is drawn in the image's own pixels, by a generator seeded from (name, annotation,
    range), so that every model sees the same. The predicted class is the true one.

    Args:
        model: on its device, in eval mode.
        instances: the ground truth.
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
    kinds = {f"noisy_box_{low:g}-{high:g}": (low, high) for low, high in ranges}
    results = {kind: CocoResults(instances) for kind in kinds}
    seen = outside = 0
    with _confidence(model) if score == "pred_iou" else nullcontext() as confidence:
        for group in tqdm(instances, total=len(instances), desc=name, unit="image"):
            seen += len(group)
            drawn = [_draw(one, name, kind, kinds[kind]) for kind in kinds for one in group]
            outside += sum(missed for _, missed in drawn)
            prompts = [prompt for prompt, _ in drawn]
            masks = _predict(model, group[0], prompts, size, colours)
            scores = confidence() if confidence else [1.0] * len(prompts)
            targets = group * len(kinds)
            for prompt, one, mask, value in zip(prompts, targets, masks, scores, strict=True):
                results[prompt["kind"]].add(one.image_id, one.category_id, mask, value)
    numbers = {
        f"{kind}/{key}": value
        for kind, found in results.items()
        for key, value in found.compute().items()
    }
    return CocoScores(numbers, seen, instances.empty, outside)


def _draw(one: CocoInstance, name: str, kind: str, limits: Range) -> tuple[Prompt, bool]:
    """A box in the image's pixels, and whether its overlap missed the range."""
    key = f"{name}\n{one.id}\n{kind}".encode()
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest()[:16], "big"))
    box = noisy_box(one.box, rng, one.mask.shape, iou_range=limits)
    overlap = box_iou(box.double().numpy()[None], one.box.double().numpy())[0]
    return Prompt(kind=kind, box=box), not limits[0] <= overlap < limits[1]


def _predict(
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


@contextmanager
def _confidence(model: PromptableModule) -> Iterator[Callable[[], list[float]]]:
    """Listen to a mask decoder, and ask SAM's head how good its masks are.

    Boxes all have one form, so the decoder takes them in their own order.

    Yields:
        A function: predicted IoU of every mask since its last call.
    """
    decoder = next((part for part in model.modules() if isinstance(part, MaskDecoder)), None)
    if decoder is None:
        raise RGBXError(
            f"{type(model).__name__} has no mask decoder of SAM that predicts IoU; use --score one."
        )
    head, kept = decoder.iou_prediction_head, list[Tensor]()

    def keep(module: nn.Module, inputs: object, output: tuple[Tensor, Tensor]) -> None:
        # token 0 of the states is the quality token, number 0 of its output the single mask's
        kept.append(head(output[0][:, 0])[:, 0])

    def take() -> list[float]:
        found: list[float] = torch.cat(kept).tolist()
        kept.clear()
        return found

    handle = decoder.transformer.register_forward_hook(keep)
    try:
        yield take
    finally:
        handle.remove()
