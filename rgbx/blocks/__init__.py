"""Parts that papers share: adapters, LoRA, cross-modal fusion."""

from rgbx.blocks.adapters import DecoupledAdapter, VanillaAdapter
from rgbx.blocks.fusion import ConcatFusion, DynamicFeatureFusion, SqueezeExcitation
from rgbx.blocks.lora import export_lora, inject_lora, merge_lora

__all__ = [
    "ConcatFusion",
    "DecoupledAdapter",
    "DynamicFeatureFusion",
    "SqueezeExcitation",
    "VanillaAdapter",
    "export_lora",
    "inject_lora",
    "merge_lora",
]
