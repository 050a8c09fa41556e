"""The papers, one class each. Importing this package makes their short names known to the CLI."""

from rgbx.models.mca_sam import MCASAM
from rgbx.models.samsod import SAMSOD
from rgbx.models.stable_sam import StableSAM
from rgbx.models.taseg import TASeg
from rgbx.models.unirgb_ir import UniRGBIRDetection, UniRGBIRSaliency, UniRGBIRSemantic

__all__ = [
    "MCASAM",
    "SAMSOD",
    "StableSAM",
    "TASeg",
    "UniRGBIRDetection",
    "UniRGBIRSaliency",
    "UniRGBIRSemantic",
]
