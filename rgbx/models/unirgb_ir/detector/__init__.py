"""UniRGB-IR for RGB-IR object detection: proposals, cascade, or a single-stage head."""

from rgbx.blocks.pyramid import SimpleFPN
from rgbx.models.unirgb_ir.detector.cascade import BoxHead, CascadeHeads, pool_boxes
from rgbx.models.unirgb_ir.detector.fcos import FCOSHead
from rgbx.models.unirgb_ir.detector.network import (
    CascadeDetector,
    FCOSDetector,
    build_detector,
    select_boxes,
)
from rgbx.models.unirgb_ir.detector.options import CascadeConfig, FCOSConfig, RPNConfig
from rgbx.models.unirgb_ir.detector.rpn import RPN
from rgbx.models.unirgb_ir.detector.targets import Target

__all__ = [
    "RPN",
    "BoxHead",
    "CascadeConfig",
    "CascadeDetector",
    "CascadeHeads",
    "FCOSConfig",
    "FCOSDetector",
    "FCOSHead",
    "RPNConfig",
    "SimpleFPN",
    "Target",
    "build_detector",
    "pool_boxes",
    "select_boxes",
]
