"""UniRGB-IR for dense tasks: adapted backbone, MLA neck, SETR-MLA head, auxiliary heads."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from rgbx.backbones.weights import Weights
from rgbx.blocks.conv import Norm
from rgbx.models.unirgb_ir.backbone import UniRGBIRBackbone
from rgbx.models.unirgb_ir.build import build_backbone
from rgbx.models.unirgb_ir.head import MLAHead
from rgbx.models.unirgb_ir.neck import MLANeck
from rgbx.tasks.base import resize

__all__ = ["UniRGBIRNetwork", "at_input_size", "build_network"]

_PATCH = 16
_WIDEST_NECK = 256


class UniRGBIRNetwork(nn.Module):
    """Backbone, neck and heads; runs without Lightning.

    The neck has 256 channels and each branch of the head 128, as the authors'; behind a backbone
    of fewer channels the neck is as wide as the backbone, and a branch half of it.

    Args:
        backbone: the frozen ViT with its adapter.
        num_classes: K.
        norm: of neck and head, see `rgbx.blocks.conv.norm_layer`.
        auxiliary: also build one 1x1 classifier for each map of the neck, for training.

    Shape: rgb (B,3,H,W), ir (B,1|3,H,W) -> logits (B,K,4h,4w), h = ceil(H/16), w = ceil(W/16).
    """

    def __init__(
        self, backbone: UniRGBIRBackbone, num_classes: int, norm: Norm, auxiliary: bool
    ) -> None:
        super().__init__()
        dim, maps = backbone.vit.config.dim, len(backbone.adapter_stages)
        width = min(dim, _WIDEST_NECK)
        self.backbone = backbone
        self.neck = MLANeck(dim, width, maps, norm)
        self.head = MLAHead(width, width // 2, num_classes, maps, norm)
        self.auxiliary_heads = nn.ModuleList(
            _classifier(width, num_classes) for _ in range(maps if auxiliary else 0)
        )

    def forward(self, rgb: Tensor, ir: Tensor) -> Tensor:
        """Logits of the main head, (B,K,4h,4w)."""
        return self.head(self.neck(self.backbone(rgb, ir)))

    def all_logits(self, rgb: Tensor, ir: Tensor) -> list[Tensor]:
        """What is trained: the main head's (B,K,4h,4w), then one (B,K,h,w) per auxiliary head."""
        maps = self.neck(self.backbone(rgb, ir))
        # strict only where there are heads: without auxiliary losses there are none
        auxiliary = [head(x) for head, x in zip(self.auxiliary_heads, maps, strict=False)]
        return [self.head(maps), *auxiliary]


def at_input_size(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Logits of an image of ``size``, of which the backbone saw a padded copy, at that size.

    The padded copy's sides are the next multiples of 16; it lies at the top left. Resizing is
    bilinear with half-pixel centres, in float32 or wider.

    Args:
        logits: (B,K,h,w), any stride.
        size: (H, W).

    Returns:
        (B,K,H,W).
    """
    height, width = size
    padded = [-(-side // _PATCH) * _PATCH for side in (height, width)]
    return resize(logits, padded)[..., :height, :width]


def build_network(
    encoder: str,
    weights: Weights | None,
    num_classes: int,
    norm: Norm,
    auxiliary: bool,
    **options: Any,
) -> UniRGBIRNetwork:
    """The network on a preset's backbone.

    Args:
        encoder: ``vit_b`` or ``tiny``.
        weights: of the backbone; None for random numbers (announced).
        num_classes: K.
        norm: of every convolution behind and next to the ViT.
        auxiliary: build the auxiliary heads.
        **options: further arguments of `UniRGBIRBackbone`.

    Raises:
        RGBXError: no such encoder, or an option that cannot work.
        WeightsError: the weight file is missing, damaged or of another model.
    """
    backbone = build_backbone(encoder, weights, norm=norm, **options)
    return UniRGBIRNetwork(backbone, num_classes, norm, auxiliary)


def _classifier(channels: int, num_classes: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, num_classes, 1)
    weight, bias = layer.parameters()
    nn.init.normal_(weight, std=0.01)
    nn.init.zeros_(bias)
    return layer
