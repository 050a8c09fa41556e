"""Scores, and the evaluator that keeps one of them per split and subset."""

from rgbx.metrics.evaluator import ALL, Evaluator
from rgbx.metrics.saliency import SaliencyScores
from rgbx.metrics.semantic import Absent, SegmentationScores

__all__ = ["ALL", "Absent", "Evaluator", "SaliencyScores", "SegmentationScores"]
