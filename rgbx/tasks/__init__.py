"""What a task is, once per task: its losses, predictions, metrics, panels and files."""

from rgbx.tasks.base import RGBXModule
from rgbx.tasks.detection import DetectionModule
from rgbx.tasks.prediction_files import PredictionFiles
from rgbx.tasks.promptable import PromptableModule
from rgbx.tasks.saliency import SaliencyModule
from rgbx.tasks.semantic import SemanticModule

__all__ = [
    "DetectionModule",
    "PredictionFiles",
    "PromptableModule",
    "RGBXModule",
    "SaliencyModule",
    "SemanticModule",
]
