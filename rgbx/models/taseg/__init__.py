"""TASeg: text-aware RGB-T semantic segmentation on SAM."""

from rgbx.models.taseg.module import TASeg
from rgbx.models.taseg.network import TASegEncoder, TASegNetwork

__all__ = ["TASeg", "TASegEncoder", "TASegNetwork"]
