"""The files that a model becomes: one for a dense task, three for prompts."""

import copy
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from rgbx.blocks.lora import merge_lora
from rgbx.errors import RGBXError
from rgbx.export.inputs import images
from rgbx.export.part import RGB, Part, Port, Sizes
from rgbx.export.prompted import prompted_parts
from rgbx.models import StableSAM
from rgbx.tasks import PromptableModule, RGBXModule, SaliencyModule, SemanticModule

__all__ = ["parts_of"]

_X = "second modality: (values in [0, 1] - x_mean) / x_std, one channel repeated three times"


class _Dense(nn.Module):
    """Logits at the size of the input, whatever the task."""

    def __init__(self, model: RGBXModule) -> None:
        super().__init__()
        self.model = model

    def forward(self, rgb: Tensor, x: Tensor | None = None) -> Tensor:
        model = self.model
        if isinstance(model, SaliencyModule):
            return model.logits(rgb, x)
        logits: Tensor = model(rgb, x)
        return logits


def parts_of(model: RGBXModule, size: tuple[int, int]) -> list[Part]:
    """Copy a model, merge its LoRA, and cut it into what goes into a file each.

    Args:
        model: ready to predict, in eval mode; it is not changed.
        size: (H,W) of the network's input, which the files are made for.

    Raises:
        RGBXError: the model has a task that cannot be exported.
    """
    merged = copy.deepcopy(model)
    merge_lora(merged)
    if isinstance(merged, StableSAM) and isinstance(model, StableSAM):
        return prompted_parts(model.network, merged.network, size)
    if isinstance(model, PromptableModule) or not isinstance(
        model, SaliencyModule | SemanticModule
    ):
        raise RGBXError(f"{type(model).__name__} cannot be exported: its task is not known.")
    return [_dense_part(model, merged, size)]


def _dense_part(model: RGBXModule, merged: RGBXModule, size: tuple[int, int]) -> Part:
    count = 2 if model.needs_x else 1
    shape = ("batch", 3, *size)
    return Part(
        name="",
        module=_Dense(merged),
        reference=_Dense(model),
        inputs=(Port("rgb", shape, RGB), Port("x", shape, _X))[:count],
        output=_logits(model, size),
        least={"batch": 1},
        example=_images(count, size),
        traced={"batch": 2},
        checked=({"batch": 1}, {"batch": 3}),
    )


def _logits(model: RGBXModule, size: tuple[int, int]) -> Port:
    if isinstance(model, SemanticModule):
        meaning = "of each class; resize to the image, then the largest is the class id"
        return Port("logits", ("batch", model.num_classes, *size), meaning)
    meaning = "before the sigmoid; resize to the image, then the sigmoid is the saliency"
    return Port("logits", ("batch", 1, *size), meaning)


def _images(count: int, size: tuple[int, int]) -> Callable[[Sizes, Generator], tuple[Tensor, ...]]:
    def example(sizes: Sizes, generator: torch.Generator) -> tuple[Tensor, ...]:
        return tuple(images(sizes["batch"], size, generator) for _ in range(count))

    return example
