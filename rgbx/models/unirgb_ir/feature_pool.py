"""UniRGB-IR's multi-modal feature pool: a small CNN over both modalities, three levels."""

import torch
from torch import Tensor, nn

from rgbx.blocks.conv import Norm, norm_layer
from rgbx.errors import RGBXError

__all__ = ["FeaturePool", "MixFusion"]

_KERNELS = (3, 3, 5, 7)  # of the four channel groups; the first two are alike in the original


class MixFusion(nn.Module):
    """Blend two maps, four groups of channels with a receptive field each (UniRGB-IR, MFP).

    In every group r and t are the convolved maps and a = sigmoid(fc(r + t)) weighs them, per pixel
    and channel: a r + (1 - a) t. `fc` is shared by the groups.

    Args:
        channels: of each map, a multiple of 4.

    Shape: rgb (B, channels, h, w), ir (B, channels, h, w) -> (B, channels, h, w).

    Raises:
        RGBXError: the channels cannot be split into four groups.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        width, rest = divmod(channels, len(_KERNELS))
        if rest or not width:
            raise RGBXError(f"conv_dim is {channels} but must be a multiple of {len(_KERNELS)}.")
        self.convs_rgb = nn.ModuleList(_same(width, kernel) for kernel in _KERNELS)
        self.convs_ir = nn.ModuleList(_same(width, kernel) for kernel in _KERNELS)
        self.fc = nn.Conv2d(width, width, 1)

    def forward(self, rgb: Tensor, ir: Tensor) -> Tensor:
        """Blend."""
        groups = zip(
            self.convs_rgb, self.convs_ir, rgb.chunk(4, dim=1), ir.chunk(4, dim=1), strict=True
        )
        blended = []
        for conv_rgb, conv_ir, part_rgb, part_ir in groups:
            r, t = conv_rgb(part_rgb), conv_ir(part_ir)
            share = self.fc(r + t).sigmoid()
            blended.append(share * r + (1 - share) * t)
        return torch.cat(blended, dim=1)


class FeaturePool(nn.Module):
    """Both modalities through a stem each, fused at stride 4, then strides 8, 16 and 32.

    Module names are the official ones. Convolutions start Kaiming-normal (fan out).

    Args:
        conv_dim: channels of the stems, a multiple of 4.
        dim: channels of the levels, the ViT's width.
        norm: of the convolutions, see `rgbx.blocks.conv.norm_layer`.

    Shape: rgb (B, 3, H, W), ir (B, 3, H, W) -> three maps (B, dim, ceil(H / s), ceil(W / s)) for
    s = 8, 16, 32.
    """

    def __init__(self, conv_dim: int = 64, dim: int = 768, norm: Norm = "bn") -> None:
        super().__init__()
        self.stem_vis = _stem(conv_dim, norm)
        self.stem_ir = _stem(conv_dim, norm)
        self.mix_fusion = MixFusion(conv_dim)
        self.conv2 = nn.Sequential(*_conv_norm_act(conv_dim, 2 * conv_dim, 2, norm))
        self.conv3 = nn.Sequential(*_conv_norm_act(2 * conv_dim, 4 * conv_dim, 2, norm))
        self.conv4 = nn.Sequential(*_conv_norm_act(4 * conv_dim, 4 * conv_dim, 2, norm))
        self.out_8 = nn.Conv2d(2 * conv_dim, dim, 1)
        self.out_16 = nn.Conv2d(4 * conv_dim, dim, 1)
        self.out_32 = nn.Conv2d(4 * conv_dim, dim, 1)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def forward(self, rgb: Tensor, ir: Tensor) -> list[Tensor]:
        """The levels, the finest first."""
        fused = self.mix_fusion(self.stem_vis(rgb), self.stem_ir(ir))
        at_8 = self.conv2(fused)
        at_16 = self.conv3(at_8)
        at_32 = self.conv4(at_16)
        return [self.out_8(at_8), self.out_16(at_16), self.out_32(at_32)]


def _stem(channels: int, norm: Norm) -> nn.Sequential:
    """Three convolutions and a pooling: an image to stride 4."""
    return nn.Sequential(
        *_conv_norm_act(3, channels, 2, norm),
        *_conv_norm_act(channels, channels, 1, norm),
        *_conv_norm_act(channels, channels, 1, norm),
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
    )


def _conv_norm_act(
    in_channels: int, out_channels: int, stride: int, norm: Norm
) -> tuple[nn.Module, nn.Module, nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
    return conv, norm_layer(norm, out_channels), nn.ReLU(inplace=True)


def _same(width: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(width, width, kernel, padding=kernel // 2)
