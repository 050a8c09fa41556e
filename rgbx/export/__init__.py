"""Trained models as files that run without rgbx: ONNX, and torch.export's .pt2."""

from rgbx.export.check import TOLERANCE, Difference
from rgbx.export.facts import facts_of
from rgbx.export.job import Exported, Format, export
from rgbx.export.onnx_file import MAX_OPSET, MIN_OPSET, check_opset

__all__ = [
    "MAX_OPSET",
    "MIN_OPSET",
    "TOLERANCE",
    "Difference",
    "Exported",
    "Format",
    "check_opset",
    "export",
    "facts_of",
]
