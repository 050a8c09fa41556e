"""Metrics, the evaluator that keeps one of them per split and subset, and the catalogue of scores.

Loaded when they are first asked for, so that the catalogue alone needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rgbx.metrics.boundary_overlap import boundary, boundary_iou, boundary_width
    from rgbx.metrics.evaluator import ALL, Evaluator
    from rgbx.metrics.mask_stability import stability
    from rgbx.metrics.overlap import OverlapScores
    from rgbx.metrics.prompts import PromptScores
    from rgbx.metrics.saliency import SaliencyScores
    from rgbx.metrics.semantic import Absent, SegmentationScores
    from rgbx.metrics.shadow import ShadowScores

__all__ = [
    "ALL",
    "Absent",
    "Evaluator",
    "OverlapScores",
    "PromptScores",
    "SaliencyScores",
    "SegmentationScores",
    "ShadowScores",
    "boundary",
    "boundary_iou",
    "boundary_width",
    "stability",
]
_MODULES = {
    "ALL": "evaluator",
    "Absent": "semantic",
    "Evaluator": "evaluator",
    "OverlapScores": "overlap",
    "PromptScores": "prompts",
    "SaliencyScores": "saliency",
    "SegmentationScores": "semantic",
    "ShadowScores": "shadow",
    "boundary": "boundary_overlap",
    "boundary_iou": "boundary_overlap",
    "boundary_width": "boundary_overlap",
    "stability": "mask_stability",
}


def __getattr__(name: str) -> Any:
    """A metric by its name (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
