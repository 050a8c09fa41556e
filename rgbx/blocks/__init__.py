"""Parts that papers share: adapters, LoRA, fusion, deformable attention, contrast."""

from rgbx.blocks.adapters import DecoupledAdapter, VanillaAdapter
from rgbx.blocks.contrastive import InfoNCE, NegativeQueue, gather_batch, info_nce
from rgbx.blocks.conv import ConvNormAct, norm_layer
from rgbx.blocks.deformable import DeformableAttention, deformable_attention, reference_points
from rgbx.blocks.fusion import ConcatFusion, DynamicFeatureFusion, SqueezeExcitation
from rgbx.blocks.lora import export_lora, inject_lora, merge_lora

__all__ = [
    "ConcatFusion",
    "ConvNormAct",
    "DecoupledAdapter",
    "DeformableAttention",
    "DynamicFeatureFusion",
    "InfoNCE",
    "NegativeQueue",
    "SqueezeExcitation",
    "VanillaAdapter",
    "deformable_attention",
    "export_lora",
    "gather_batch",
    "info_nce",
    "inject_lora",
    "merge_lora",
    "norm_layer",
    "reference_points",
]
