"""The papers, one class each. Importing this package makes their short names known to the CLI."""

from rgbx.models.base import RGBXModule
from rgbx.models.promptable import PromptableModule
from rgbx.models.saliency import SaliencyModule
from rgbx.models.samsod import SAMSOD
from rgbx.models.semantic import SemanticModule
from rgbx.models.stable_sam import StableSAM
from rgbx.models.taseg import TASeg
from rgbx.models.unirgb_ir import UniRGBIRSaliency, UniRGBIRSemantic

__all__ = [
    "SAMSOD",
    "PromptableModule",
    "RGBXModule",
    "SaliencyModule",
    "SemanticModule",
    "StableSAM",
    "TASeg",
    "UniRGBIRSaliency",
    "UniRGBIRSemantic",
]
