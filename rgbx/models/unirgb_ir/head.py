"""SETR-MLA head (arXiv 2012.15840): two convolutions per map, x4, one classifier for all."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rgbx.blocks.conv import ConvNormAct, Norm

__all__ = ["MLAHead"]


class MLAHead(nn.Module):
    """Classifies the neck's maps at a quarter of the image's size; official module names.

    The original enlarges every map x4 (bilinear, align_corners False), joins their channels and
    applies the 1x1 classifier. Both are linear, and the weights of the enlargement add up to 1,
    so the classifier comes first here: the same numbers, a sixteenth of the work and memory.

    Args:
        dim: channels of the maps.
        width: channels of each branch.
        num_classes: K.
        num_maps: n.
        norm: of the convolutions, see `rgbx.blocks.conv.norm_layer`.

    Shape: n maps (B, dim, h, w) -> logits (B, K, 4h, 4w).
    """

    def __init__(
        self,
        dim: int = 256,
        width: int = 128,
        num_classes: int = 9,
        num_maps: int = 4,
        norm: Norm = "bn",
    ) -> None:
        super().__init__()
        self.up_convs = nn.ModuleList(
            nn.Sequential(ConvNormAct(dim, width, 3, norm), ConvNormAct(width, width, 3, norm))
            for _ in range(num_maps)
        )
        self.conv_seg = nn.Conv2d(num_maps * width, num_classes, 1)
        nn.init.normal_(self.conv_seg.weight, std=0.01)
        nn.init.zeros_(self.conv_seg.get_parameter("bias"))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits (B, K, 4h, 4w) of n maps (B, dim, h, w) in the neck's order."""
        branches = [branch(x) for branch, x in zip(self.up_convs, maps, strict=True)]
        logits = self.conv_seg(torch.cat(branches, dim=1))
        return F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
