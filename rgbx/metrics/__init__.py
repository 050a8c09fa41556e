"""Scores, and the evaluator that keeps one of them per split and subset."""

from rgbx.metrics.boundary import boundary, boundary_iou, boundary_width
from rgbx.metrics.evaluator import ALL, Evaluator
from rgbx.metrics.overlap import OverlapScores
from rgbx.metrics.prompts import PromptScores
from rgbx.metrics.saliency import SaliencyScores
from rgbx.metrics.semantic import Absent, SegmentationScores
from rgbx.metrics.shadow import ShadowScores
from rgbx.metrics.stability import stability

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
