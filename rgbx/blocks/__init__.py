"""Parts that papers share: LoRA, cross-modal fusion."""

from rgbx.blocks.fusion import ConcatFusion, DynamicFeatureFusion, SqueezeExcitation
from rgbx.blocks.lora import export_lora, inject_lora, merge_lora

__all__ = [
    "ConcatFusion",
    "DynamicFeatureFusion",
    "SqueezeExcitation",
    "export_lora",
    "inject_lora",
    "merge_lora",
]
