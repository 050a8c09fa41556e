"""UniRGB-IR: a feature pool of both cameras, injected into a frozen ViT, for dense tasks."""

from rgbx.models.unirgb_ir.backbone import UniRGBIRBackbone
from rgbx.models.unirgb_ir.build import build_backbone
from rgbx.models.unirgb_ir.detection import UniRGBIRDetection
from rgbx.models.unirgb_ir.head import MLAHead
from rgbx.models.unirgb_ir.neck import MLANeck
from rgbx.models.unirgb_ir.released import export_released, load_released
from rgbx.models.unirgb_ir.saliency import UniRGBIRSaliency
from rgbx.models.unirgb_ir.semantic import UniRGBIRSemantic

__all__ = [
    "MLAHead",
    "MLANeck",
    "UniRGBIRBackbone",
    "UniRGBIRDetection",
    "UniRGBIRSaliency",
    "UniRGBIRSemantic",
    "build_backbone",
    "export_released",
    "load_released",
]
