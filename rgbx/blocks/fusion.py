"""Fusion of a second modality into a stream of frozen transformer blocks."""

import torch
from torch import Tensor, nn

__all__ = ["ConcatFusion", "DynamicFeatureFusion", "SqueezeExcitation"]


class SqueezeExcitation(nn.Module):
    """Channel re-weighting from the global average (Hu et al., CVPR 2018).

    Args:
        channels: width c.
        reduction: the bottleneck is ``max(1, channels // reduction)`` wide.

    Shape: (B, H, W, c) -> (B, H, W, c).
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Scale every channel of ``x`` (B, H, W, c) by a number in (0, 1)."""
        pooled = x.mean(dim=(1, 2), keepdim=True)
        return x * torch.sigmoid(self.excite(torch.relu(self.squeeze(pooled))))


class DynamicFeatureFusion(nn.Module):
    """TASeg's DFFM, Eq. 2: ``conv_c(conv_a(fused) + SE(conv_b(stream)))``.

    The 1x1 convolutions are linears on channels-last maps. conv_c starts at zero, so that the
    stream it is added to starts as the pretrained network.

    Args:
        dim: width D of the stream.
        width: inner width c.

    Shape: fused (B,H,W,D), stream (B,H,W,D) -> (B,H,W,D).
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.conv_a = nn.Linear(dim, width)
        self.conv_b = nn.Linear(dim, width)
        self.attention = SqueezeExcitation(width)
        self.conv_c = nn.Linear(width, dim)
        nn.init.zeros_(self.conv_c.weight)
        nn.init.zeros_(self.conv_c.bias)

    def forward(self, fused: Tensor, stream: Tensor) -> Tensor:
        """The next fused features from the previous ones and the block stream."""
        return self.conv_c(self.conv_a(fused) + self.attention(self.conv_b(stream)))


class ConcatFusion(nn.Module):
    """TASeg's baseline (Table III, row 1): channel concatenation and a projection back to D.

    Starts as the identity on the first input, so that the network starts as RGB alone.

    Shape: rgb (B,H,W,D), x (B,H,W,D) -> (B,H,W,D).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(2 * dim, dim)
        with torch.no_grad():
            self.project.weight.zero_()
            self.project.weight[:, :dim].fill_diagonal_(1.0)
            self.project.bias.zero_()

    def forward(self, rgb: Tensor, x: Tensor) -> Tensor:
        """Concatenate on channels and project."""
        return self.project(torch.cat([rgb, x], dim=-1))
