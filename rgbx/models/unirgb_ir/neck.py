"""Multi-level aggregation (SETR, arXiv 2012.15840): every output has seen all deeper maps."""

from collections.abc import Sequence
from itertools import accumulate

from torch import Tensor, nn

from rgbx.blocks.conv import ConvNormAct, Norm

__all__ = ["MLANeck"]


class _Aggregation(nn.Module):
    """Project every map, add up from the deepest one, convolve every sum."""

    def __init__(self, dim: int, out_dim: int, num_maps: int, norm: Norm) -> None:
        super().__init__()
        self.channel_proj = nn.ModuleList(
            ConvNormAct(dim, out_dim, 1, norm) for _ in range(num_maps)
        )
        self.feat_extract = nn.ModuleList(
            ConvNormAct(out_dim, out_dim, 3, norm) for _ in range(num_maps)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        projected = [layer(x) for layer, x in zip(self.channel_proj, maps, strict=True)]
        sums = accumulate(reversed(projected))
        return [layer(x) for layer, x in zip(self.feat_extract, sums, strict=True)]


class MLANeck(nn.Module):
    """The neck of UniRGB-IR's segmentation models; module names are the official ones.

    LayerNorm over channels and a 1x1 projection per map, a running sum from the deepest map to
    the shallowest, a 3x3 convolution per sum. All maps have one size, nothing is resized.

    Args:
        dim: channels of the maps.
        out_dim: channels of the outputs.
        num_maps: n.
        norm: of the convolutions, see `rgbx.blocks.conv.norm_layer`.

    Shape: n maps (B, dim, h, w) -> n maps (B, out_dim, h, w).
    """

    def __init__(
        self, dim: int = 768, out_dim: int = 256, num_maps: int = 4, norm: Norm = "bn"
    ) -> None:
        super().__init__()
        self.norm = nn.ModuleList(nn.LayerNorm(dim, eps=1e-6) for _ in range(num_maps))
        self.mla = _Aggregation(dim, out_dim, num_maps, norm)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Aggregate the stages' maps.

        Args:
            maps: n maps (B, dim, h, w), the shallowest first.

        Returns:
            n maps (B, out_dim, h, w): the first has seen the deepest map alone, the last all.
        """
        normed = [
            norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            for norm, x in zip(self.norm, maps, strict=True)
        ]
        return self.mla(normed)
