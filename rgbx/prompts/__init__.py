"""Prompts: boxes, points and coarse masks, drawn from masks or read from files."""

from rgbx.prompts.boxes import box_iou, move_boxes, noisy_box, tight_box
from rgbx.prompts.evaluation import COUNTS, KINDS, check_kind, evaluation_prompts
from rgbx.prompts.files import PromptFile, read_prompts, scale_prompt
from rgbx.prompts.masks import Mask, MaskScale, as_share, coarse_mask, foreground
from rgbx.prompts.mixture import HQ, RTS, PromptMixture
from rgbx.prompts.points import random_points
from rgbx.prompts.prompt import Prompt, PromptStack, stack_prompts

__all__ = [
    "COUNTS",
    "HQ",
    "KINDS",
    "RTS",
    "Mask",
    "MaskScale",
    "Prompt",
    "PromptFile",
    "PromptMixture",
    "PromptStack",
    "as_share",
    "box_iou",
    "check_kind",
    "coarse_mask",
    "evaluation_prompts",
    "foreground",
    "move_boxes",
    "noisy_box",
    "random_points",
    "read_prompts",
    "scale_prompt",
    "stack_prompts",
    "tight_box",
]
