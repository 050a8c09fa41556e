"""What evaluation asks a promptable model, and masks at the size they are scored at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rgbx.errors import RGBXError
from rgbx.prompts import KINDS, MaskScale, Prompt, check_kind, evaluation_prompts
from rgbx.tasks.base import resize

__all__ = ["EvaluationPrompts", "PromptEvalConfig", "masks_at", "mean_scores"]

_CHUNK = 2**26  # pixels of masks that are resized together (256 MiB of logits)


@dataclass(frozen=True)
class PromptEvalConfig:
    """Which prompts evaluation gives, and parameters of the scores.

    Args:
        kinds: of prompts in a test: box, noisy_box, coarse_mask, point_K, see
            `rgbx.prompts.evaluation_prompts`.
        prompts: per image and kind; a tight box is one prompt.
        iou: overlap [low, high) of evaluation's noisy boxes with the tight one; None for any.
        val_kinds: kinds of prompts in validation.
        val_prompts: per image and kind in validation.
        mask_prompt_scale: values of coarse masks in evaluation: ``hq`` (0 and 255) or ``logits``
            (-10 and 10); for training it is part of the data module's mixture.
        boundary: width of the boundary in mBIoU, as a share of the image's diagonal.
        empty_union: mSF where all masks of an image are empty, 0 to 1.
    """

    kinds: list[str] = field(default_factory=lambda: list(KINDS))
    prompts: int = 20
    iou: list[float] | None = None
    val_kinds: list[str] = field(default_factory=lambda: ["noisy_box"])
    val_prompts: int = 3
    mask_prompt_scale: MaskScale = "hq"
    boundary: float = 0.02
    empty_union: float = 0.0


@dataclass(frozen=True)
class EvaluationPrompts:
    """The prompts that every image of a set gets.

    Args:
        kinds: see `rgbx.prompts.evaluation_prompts`.
        count: prompts per image and kind; a tight box is one prompt.
        iou: overlap [low, high) of noisy boxes with the tight one; None for any.
        mask_scale: values of coarse masks.

    Raises:
        RGBXError: there is no such kind of prompt, or the count is below 1.
    """

    kinds: tuple[str, ...]
    count: int
    iou: tuple[float, float] | None = None
    mask_scale: MaskScale = "hq"

    def __post_init__(self) -> None:
        for kind in self.kinds:
            check_kind(kind)
        if self.count < 1:
            raise RGBXError(
                f"{self.count} prompts per image cannot be scored: give 1 or more "
                "as evaluation.prompts and evaluation.val_prompts."
            )

    def of(self, mask: Tensor, key: str) -> dict[str, list[Prompt]]:
        """Kind -> prompts.

        Args:
            mask: (H,W) in [0,1], at the network's size.
            key: of the image; the same key and mask give the same prompts.

        Raises:
            DataError: the mask is empty.
        """
        share = mask.float().cpu()
        return {
            kind: evaluation_prompts(
                share,
                kind,
                1 if kind == "box" else self.count,
                key,
                iou_range=self.iou,
                mask_scale=self.mask_scale,
            )
            for kind in self.kinds
        }


def masks_at(
    logits: Tensor, frame: Sequence[int], size: Sequence[int], padded: bool = False
) -> Tensor:
    """Masks at the original size.

    Args:
        logits: (N,1,h,w) at the decoder's own stride.
        frame: (H,W) of the network's input.
        size: (height, width) of the image.
        padded: the image lies in the upper left corner of the frame with its proportions kept,
            and the padding is cut off; otherwise it fills the frame.

    Returns:
        (N,height,width) bool: logits, resized bilinearly, above 0.
    """
    height, width = int(size[0]), int(size[1])
    scale = min(frame[0] / height, frame[1] / width)
    inside = (max(1, round(height * scale)), max(1, round(width * scale)))
    masks = torch.empty(len(logits), height, width, dtype=torch.bool, device=logits.device)
    step = max(1, _CHUNK // (height * width))
    for first in range(0, len(logits), step):
        part = logits[first : first + step]
        if padded:
            part = resize(part, frame)[..., : inside[0], : inside[1]]
        masks[first : first + step] = resize(part, (height, width))[:, 0] > 0
    return masks


def mean_scores(splits: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Unweighted mean of the scores that all splits have."""
    common = [name for name in splits[0] if all(name in other for other in splits)]
    return {name: sum(float(s[name]) for s in splits) / len(splits) for name in common}
