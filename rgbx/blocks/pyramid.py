"""A feature pyramid from the last map of a plain ViT (ViTDet, Li et al., arXiv 2203.16527)."""

from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

from rgbx.errors import RGBXError

__all__ = ["ConvNorm", "SimpleFPN"]

_EPS = 1e-5  # of all norms, as in the released detectors
_STRIDES = (4, 8, 16, 32, 64)


class ConvNorm(nn.Module):
    """A convolution without bias ("same" size), then LayerNorm over channels; names as in mmdet."""

    def __init__(self, in_channels: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=False)
        self.norm_layer = LayerNorm2d(channels, _EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, normalise."""
        return self.norm_layer(self.conv(x))


class SimpleFPN(nn.Module):
    """Maps of strides 4 to 64 from one of stride 16; no top-down path, no activation at the end.

    Strides 4 and 8 are transposed convolutions, 32 a maximum of 2 x 2, 64 every second pixel of
    the map of stride 32. Every level has a 1x1 and a 3x3 convolution with LayerNorm behind. Module
    names are those of the released UniRGB-IR detectors (mmdet's ViTDet project); its norms have
    an eps of 1e-5.

    Args:
        dim: channels d of the input, a multiple of 4.
        channels: c of every output.
        first_stride: 4, or 8 to leave the finest level out.

    Shape: (B,d,h,w) -> [(B,c,4h,4w), (B,c,2h,2w), (B,c,h,w), (B,c,h//2,w//2), (B,c,ceil(h/4),...)],
    without the first for ``first_stride`` 8.

    Raises:
        RGBXError: an option has another value.
    """

    def __init__(self, dim: int = 768, channels: int = 256, first_stride: int = 4) -> None:
        super().__init__()
        if first_stride not in _STRIDES[:2]:
            raise RGBXError(f"first_stride of the pyramid is {first_stride}: give 4 or 8.")
        if dim % 4:
            raise RGBXError(f"dim of the pyramid is {dim}, but must be a multiple of 4.")
        self.channels = channels
        self.strides = _STRIDES[_STRIDES.index(first_stride) :]
        widths = [dim // 4, dim // 2, dim, dim][-len(self.strides) + 1 :]
        if first_stride == 4:
            self.fpn1 = nn.Sequential(
                nn.ConvTranspose2d(dim, dim // 2, 2, 2),
                LayerNorm2d(dim // 2, _EPS),
                nn.GELU(),
                nn.ConvTranspose2d(dim // 2, dim // 4, 2, 2),
            )
        self.fpn2 = nn.Sequential(nn.ConvTranspose2d(dim, dim // 2, 2, 2))
        self.lateral_convs = nn.ModuleList(ConvNorm(width, channels, 1) for width in widths)
        self.fpn_convs = nn.ModuleList(ConvNorm(channels, channels, 3) for _ in widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The pyramid, the finest level first."""
        scaled = [self.fpn2(x), x, nn.functional.max_pool2d(x, 2)]
        if len(self.strides) == len(_STRIDES):
            scaled.insert(0, self.fpn1(x))
        convs = zip(scaled, self.lateral_convs, self.fpn_convs, strict=True)
        maps = [output(lateral(level)) for level, lateral, output in convs]
        return [*maps, maps[-1][..., ::2, ::2]]
