"""What a prompt is, and prompts of one form joined to the tensors that SAM's encoder takes."""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import torch
from torch import Tensor

from rgbx.errors import RGBXError

__all__ = ["Prompt", "PromptStack", "stack_prompts"]


class Prompt(TypedDict, total=False):
    """One prompt; exactly one of `box`, `points` (with `labels`) and `mask` is there.

    All coordinates are pixels of the network's input frame (H, W), x to the right, y down; the
    centre of the first pixel is (0, 0).

    Keys:
        kind: "box", "noisy_box", "point_K", "coarse_mask"; of one's own prompts "box" or "points".
        box: (4,) float32: x_min, y_min, x_max, y_max.
        points: (k, 2) float32: x, y.
        labels: (k,) int64: 1 on the object, 0 next to it.
        mask: (1, H/4, W/4) float32, as SAM's ``mask_inputs``.
    """

    kind: str
    box: Tensor
    points: Tensor
    labels: Tensor
    mask: Tensor


class PromptStack(NamedTuple):
    """Prompts of one form, ready for one pass through SAM's prompt encoder and mask decoder.

    Args:
        positions: where these N prompts stand in the sequence that was stacked.
        boxes: (N, 4) float32, or None.
        points: (N, k, 2) float32, or None.
        labels: (N, k) int64, or None.
        masks: (N, 1, H/4, W/4) float32, or None.
    """

    positions: list[int]
    boxes: Tensor | None = None
    points: Tensor | None = None
    labels: Tensor | None = None
    masks: Tensor | None = None


def _form(prompt: Prompt) -> tuple[str, tuple[int, ...]]:
    present = [key for key in ("box", "points", "mask") if key in prompt]
    if len(present) != 1:
        raise RGBXError(
            f"A prompt holds {' and '.join(present) or 'nothing'}; give exactly one of box, points "
            "and mask"
        )
    if present == ["box"]:
        return "box", tuple(prompt["box"].shape)
    if present == ["mask"]:
        return "mask", tuple(prompt["mask"].shape)
    return "points", tuple(prompt["points"].shape)


def stack_prompts(
    prompts: Sequence[Prompt], device: torch.device | str | None = None
) -> list[PromptStack]:
    """Group prompts of one form: boxes, points of the same number, masks of the same size.

    Points of different numbers stay apart: SAM's decoder attends to every token, so that filling up
    the shorter ones would change their masks.

    Args:
        prompts: of one image, of any kinds, in any order.
        device: where the tensors go; by default they stay.

    Returns:
        One stack for each form, in the order in which the forms first appear.

    Raises:
        RGBXError: a prompt holds nothing, or more than one of box, points and mask.
    """
    groups: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for position, prompt in enumerate(prompts):
        groups.setdefault(_form(prompt), []).append(position)
    return [_stack(form, prompts, where, device) for (form, _), where in groups.items()]


def _stack(
    form: str, prompts: Sequence[Prompt], positions: list[int], device: torch.device | str | None
) -> PromptStack:
    chosen = [prompts[i] for i in positions]
    if form == "box":
        return PromptStack(positions, boxes=torch.stack([p["box"] for p in chosen]).to(device))
    if form == "mask":
        return PromptStack(positions, masks=torch.stack([p["mask"] for p in chosen]).to(device))
    points = torch.stack([p["points"] for p in chosen]).to(device)
    labels = torch.stack([p["labels"] for p in chosen]).to(device)
    return PromptStack(positions, points=points, labels=labels)
