"""The plain ViT's hyper-parameters, patch embedding, attention and block."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from segment_anything.modeling.common import MLPBlock
from torch import Tensor, nn

from rgbx.backbones.attention import biased_attention, relative_terms


@dataclass(frozen=True)
class ViTConfig:
    """Hyper-parameters of one encoder.

    Attributes:
        dim: token width.
        depth: number of blocks.
        heads: attention heads (`dim` is a multiple).
        global_blocks: indexes of the blocks that attend to the whole image.
        window: side of the attention window of all other blocks, in tokens.
        out_dim: channels of the neck; None for an encoder without one.
        pretrain_size: side in pixels of the square images the position table was made for.
        patch: side of a patch in pixels.
        mlp_ratio: hidden width of the MLP over `dim`.
        table_size: side in pixels of the square images that the relative tables of the global
            blocks are made for; None for `pretrain_size`.
        class_row: the position table is one list of rows whose first belongs to a class token;
            it is kept for the file's sake and never used.
    """

    dim: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    window: int = 14
    out_dim: int | None = 256
    pretrain_size: int = 1024
    patch: int = 16
    mlp_ratio: float = 4.0
    table_size: int | None = None
    class_row: bool = False

    @property
    def grid(self) -> int:
        """Side of the pretrained position grid in tokens."""
        return self.pretrain_size // self.patch

    @property
    def table_grid(self) -> int:
        """Side in tokens of the grid that the global blocks' relative tables are made for."""
        return (self.table_size or self.pretrain_size) // self.patch


class PatchEmbed(nn.Module):
    """Non-overlapping patches to tokens: (B, 3, H, W) -> (B, H/patch, W/patch, dim)."""

    def __init__(self, dim: int, patch: int = 16, in_channels: int = 3) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, kernel_size=patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        """Project each patch."""
        return self.proj(images).permute(0, 2, 3, 1)


class Attention(nn.Module):
    """Multi-head attention over a grid, with decomposed relative positions.

    Args:
        dim: token width.
        heads: number of heads.
        side: side in tokens of the grid that the relative tables were made for.
    """

    def __init__(self, dim: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, dim // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, dim // heads))

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, dim) -> (B, h, w, dim): every token attends to every token of its grid."""
        batch, h, w, dim = x.shape
        tokens = x.reshape(batch, h * w, dim)
        q, k, v = (
            linear(tokens).view(batch, h * w, self.heads, -1).transpose(1, 2)
            for linear in (self.q, self.k, self.v)
        )
        rel_h, rel_w = relative_terms(q, self.rel_pos_h, self.rel_pos_w, (h, w))
        out = biased_attention(q, k, v, rel_h, rel_w)
        return self.proj(out.transpose(1, 2).reshape(batch, h, w, dim))


class Block(nn.Module):
    """Pre-norm transformer block; attention within windows unless `window` is 0.

    Args:
        config: the encoder it belongs to.
        window: side of the windows in tokens, 0 for global attention.
    """

    def __init__(self, config: ViTConfig, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(config.dim, eps=1e-6)
        self.attn = Attention(config.dim, config.heads, window or config.table_grid)
        self.norm2 = nn.LayerNorm(config.dim, eps=1e-6)
        self.mlp = MLPBlock(config.dim, int(config.dim * config.mlp_ratio))

    def forward(self, x: Tensor, drop: float = 0.0) -> Tensor:
        """(B, h, w, dim) -> (B, h, w, dim).

        Args:
            x: tokens.
            drop: probability that an image skips the attention or the MLP (stochastic depth,
                arXiv 1603.09382); a branch that stays is scaled by 1 / (1 - drop). The caller
                decides, not the mode: a frozen block is always in eval mode.
        """
        y = self.norm1(x)
        if self.window:
            windows = _partition(y, self.window)
            y = _merge(self.attn(windows), self.window, x.shape[1], x.shape[2])
        else:
            y = self.attn(y)
        x = x + _skip(y, drop)
        return x + _skip(self.mlp(self.norm2(x)), drop)


def _skip(branch: Tensor, drop: float) -> Tensor:
    """Zero the branch of some images and scale the others, (B, h, w, C) -> the same."""
    if not drop:
        return branch
    kept = torch.rand(branch.shape[0], 1, 1, 1, device=branch.device) >= drop
    return branch * (kept / (1 - drop)).to(branch.dtype)


def _partition(x: Tensor, window: int) -> Tensor:
    """(B, h, w, C) -> (B * windows, window, window, C), zero-padded at the bottom and right.

    Padded cells take part in the attention as in SAM: there is no mask.
    """
    x = F.pad(x, (0, 0, 0, -x.shape[2] % window, 0, -x.shape[1] % window))
    x = x.unflatten(1, (-1, window)).unflatten(3, (-1, window))
    return x.transpose(2, 3).flatten(0, 2)


def _merge(windows: Tensor, window: int, h: int, w: int) -> Tensor:
    """Inverse of `_partition` for an h x w grid; the padding is cut off."""
    rows, columns = -(-h // window), -(-w // window)
    x = windows.unflatten(0, (-1, rows, columns)).transpose(2, 3)
    return x.flatten(3, 4).flatten(1, 2)[:, :h, :w]
