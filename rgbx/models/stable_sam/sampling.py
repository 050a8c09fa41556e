"""Where image features are read, and how much of them: DSP and what it is compared with."""

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["DSP", "Amp", "Border", "Init", "SpatialAttention", "resample"]

Amp: TypeAlias = Literal["project", "gate"]
Border: TypeAlias = Literal["clamp", "zeros"]
Init: TypeAlias = Literal["identity", "default"]

_OPEN = 4.0  # sigmoid(4) = 0.982: a gate cannot start at 1 and still learn


def resample(features: Tensor, offsets: Tensor, border: Border = "clamp") -> Tensor:
    """Features at p + offset, bilinear.

    The arithmetic is in float32 or wider: a coordinate of 8 bits is a quarter of a cell off.

    Args:
        features: (N,C,H,W).
        offsets: (N,2,H,W) in cells, channel 0 along x, channel 1 along y.
        border: "clamp" brings positions back onto the grid; "zeros" reads zeros outside.

    Returns:
        (N,C,H,W), channels last in memory, as the decoder's tokens are.
    """
    height, width = features.shape[-2:]
    wide = torch.promote_types(features.dtype, torch.float32)
    with torch.autocast(features.device.type, enabled=False):
        moves = offsets.to(wide)
        x = torch.arange(width, device=moves.device) + moves[:, 0]
        y = torch.arange(height, device=moves.device)[:, None] + moves[:, 1]
        if border == "clamp":
            x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
        # positions in units of the image; exact on the grid if its sides are powers of two, so
        # that an offset of 0 changes no bit
        grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
        padding = "border" if border == "clamp" else "zeros"
        sampled = F.grid_sample(
            features.to(wide), grid, mode="bilinear", padding_mode=padding, align_corners=False
        )
        return sampled.contiguous(memory_format=torch.channels_last)


class DSP(nn.Module):
    """Deformable sampling plug-in: amplitudes and an offset for every cell.

    ``x* = conv1x1(x)``; ``offset = s_p tanh(conv1x1(GELU(LN(dwconv5x5(x*)))))``. One offset per
    cell, shared by all channels. The block is that of Xia et al., "Vision Transformer with
    Deformable Attention", CVPR 2022.

    Args:
        dim: channels.
        max_offset: s_p, the largest offset in cells.
        amp: "project": x* is the convolution's output; "gate": x (1 + convolution's output).
        init: "identity": x* = x and no offset; "default": the framework's.

    Shape: (N,C,H,W) -> x* (N,C,H,W), offsets (N,2,H,W).
    """

    def __init__(
        self, dim: int, max_offset: float = 5.0, amp: Amp = "project", init: Init = "identity"
    ) -> None:
        super().__init__()
        self.max_offset = max_offset
        self.amp = amp
        self.conv_amp = nn.Conv2d(dim, dim, 1)
        self.depthwise = nn.Conv2d(dim, dim, 5, padding=2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.off = nn.Conv2d(dim, 2, 1)
        if init == "identity":
            for parameter in (*self.conv_amp.parameters(), *self.off.parameters()):
                nn.init.zeros_(parameter)
            if amp == "project":
                nn.init.dirac_(self.conv_amp.weight)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Re-weighted features and where to read them."""
        amplified = self.conv_amp(features)
        if self.amp == "gate":
            amplified = features * (1 + amplified)
        # contiguous: gradients of depth-wise filters of another layout make DDP warn
        local = self.norm(self.depthwise(amplified.contiguous()).permute(0, 2, 3, 1))
        offsets = self.off(F.gelu(local).permute(0, 3, 1, 2))
        return amplified, self.max_offset * offsets.tanh()


class SpatialAttention(nn.Module):
    """What the paper compares DSP with (Table 11): one weight per cell, nothing moves.

    ``x* = x sigmoid(conv7x7([mean_c(x), max_c(x)]))``, as in Woo et al., "CBAM", ECCV 2018.

    Args:
        init: "identity": starts at 0.982 x, as near to x as a gate that still learns can be.

    Shape: (N,C,H,W) -> (N,C,H,W).
    """

    def __init__(self, init: Init = "identity") -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3)
        if init == "identity":
            nn.init.zeros_(self.conv.weight)
            nn.init.constant_(self.conv.bias, _OPEN)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """Features weighted per cell."""
        summary = torch.cat([features.mean(1, keepdim=True), features.amax(1, keepdim=True)], dim=1)
        return features * self.conv(summary).sigmoid()
