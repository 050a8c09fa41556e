"""One pass through any model, whatever its task, and a made-up input for it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rgbx.prompts import Prompt
from rgbx.tasks import PromptableModule, RGBXModule, SaliencyModule

__all__ = ["Question", "answer", "made_up"]


@dataclass(frozen=True)
class Question:
    """What a model is given.

    Attributes:
        rgb: (B,3,H,W), normalised.
        x: the same of the second modality; None for a model that needs none.
        prompts: for each image its prompts, in pixels of `rgb`; for models that answer prompts.
    """

    rgb: Tensor
    x: Tensor | None
    prompts: Sequence[Sequence[Prompt]] = ()


def made_up(model: RGBXModule, size: tuple[int, int], batch: int = 1) -> Question:
    """Noise as images, and a box in the middle of each as its one prompt.

    Args:
        model: what it is for.
        size: (H,W).
        batch: B.
    """
    height, width = size
    images = [torch.randn(batch, 3, height, width) for _ in range(2 if model.needs_x else 1)]
    prompts: list[list[Prompt]] = []
    if isinstance(model, PromptableModule):
        box = torch.tensor([0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height])
        prompts = [[Prompt(kind="box", box=box)] for _ in range(batch)]
    return Question(images[0], images[1] if model.needs_x else None, prompts)


def answer(model: RGBXModule, question: Question) -> Tensor | list[Tensor]:
    """Logits at the size of the input.

    Returns:
        (B,K,H,W) of classes, (B,1,H,W) of salient objects, or for each image (N,1,H,W) of its
        prompts.
    """
    if isinstance(model, PromptableModule):
        return model(question.rgb, question.prompts)
    if isinstance(model, SaliencyModule):
        return model.logits(question.rgb, question.x)
    logits: Tensor = model(question.rgb, question.x)
    return logits
