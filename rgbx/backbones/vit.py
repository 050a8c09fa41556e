"""The plain ViT image encoder of SAM and ViTDet at any input size.

Same weights and same meaning as the image encoder of the segment-anything package ("Segment
Anything", arXiv 2304.02643; "Exploring Plain Vision Transformer Backbones for Object Detection",
arXiv 2203.16527), with three differences: attention goes through fused kernels
(`rgbx.backbones.attention`), height and width are free multiples of the patch, and q, k, v are
three linear layers so that LoRA can reach each alone (`split_qkv`, `join_qkv`). ViTDet's own
weights have a row for a class token in the position table and no neck (`class_row`, `out_dim`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from segment_anything.modeling.common import LayerNorm2d, MLPBlock
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rgbx.backbones.attention import biased_attention, relative_terms
from rgbx.errors import RGBXError


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
        pretrain_size: side in pixels of the square pictures the position table was made for.
        patch: side of a patch in pixels.
        mlp_ratio: hidden width of the MLP over `dim`.
        table_size: side in pixels of the square pictures that the relative tables of the global
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
            drop: probability that a picture skips the attention or the MLP (stochastic depth,
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


class ViT(nn.Module):
    """SAM's image encoder, and ViTDet's.

    `forward` is `embed`, every block through `run_block`, `project`; a method that works between
    the blocks runs its own loop over these parts.

    Args:
        config: hyper-parameters.
        checkpoint_blocks: recompute each block in the backward pass instead of keeping its
            activations (non-reentrant; the gradients are the same).

    Attributes:
        patch_embed: `PatchEmbed`.
        pos_embed: (1, g, g, dim) parameter, g = pretrain_size / patch, or (1, 1 + g * g, dim)
            with a class row; see `position`.
        blocks: list of `Block`, each callable on (B, h, w, dim).
        neck: (B, dim, h, w) -> (B, out_dim, h, w); does nothing without `out_dim`.
    """

    def __init__(self, config: ViTConfig, checkpoint_blocks: bool = False) -> None:
        super().__init__()
        self.config = config
        self.checkpoint_blocks = checkpoint_blocks
        self.patch_embed = PatchEmbed(config.dim, config.patch)
        rows = (1 + config.grid**2,) if config.class_row else (config.grid, config.grid)
        self.pos_embed = nn.Parameter(torch.zeros(1, *rows, config.dim))
        self.blocks = nn.ModuleList(
            Block(config, 0 if index in config.global_blocks else config.window)
            for index in range(config.depth)
        )
        self.neck = _neck(config.dim, config.out_dim) if config.out_dim else nn.Sequential()

    def forward(self, images: Tensor) -> Tensor:
        """Encode pictures.

        Args:
            images: (B, 3, H, W) normalised; H and W are multiples of the patch.

        Returns:
            (B, out_dim, H / patch, W / patch), `dim` channels without a neck.

        Raises:
            RGBXError: H or W is not a multiple of the patch.
        """
        x = self.embed(images)
        for block in self.blocks:
            x = self.run_block(block, x)
        return self.project(x)

    def embed(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> tokens with absolute position, (B, H / patch, W / patch, dim)."""
        self.check_size(*images.shape[-2:])
        x = self.patch_embed(images)
        return x + self.position(x.shape[1], x.shape[2])

    def position(self, h: int, w: int) -> Tensor:
        """Absolute position embedding for an h x w token grid: (1, h, w, dim), bicubic."""
        table = self.pos_embed
        if self.config.class_row:
            table = table[:, 1:].unflatten(1, (self.config.grid, -1))
        if tuple(table.shape[1:3]) == (h, w):
            return table
        grid = table.permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=(h, w), mode="bicubic", align_corners=False)
        return grid.permute(0, 2, 3, 1)

    def run_block(self, block: nn.Module, x: Tensor, drop: float = 0.0) -> Tensor:
        """`block(x)`, recomputed in the backward pass when `checkpoint_blocks` is set.

        `drop` above 0 is handed on, see `Block.forward`; the recomputation draws the same.
        """
        arguments = (x, drop) if drop else (x,)
        if self.checkpoint_blocks and torch.is_grad_enabled():
            return checkpoint(block, *arguments, use_reentrant=False)
        return block(*arguments)

    def project(self, x: Tensor) -> Tensor:
        """Tokens (B, h, w, dim) through the neck: (B, out_dim, h, w)."""
        return self.neck(x.permute(0, 3, 1, 2))

    def check_size(self, height: int, width: int) -> None:
        """Refuse a picture size that is not a multiple of the patch, and name the next one."""
        patch = self.config.patch
        if height % patch or width % patch or not height or not width:
            up = [max(1, -(-side // patch)) * patch for side in (height, width)]
            raise RGBXError(
                f"The picture is {height} x {width} (height x width) but this encoder needs "
                f"multiples of {patch}; the next valid size is {up[0]} x {up[1]}."
            )


def split_qkv(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fused `*.attn.qkv.*` tensors of SAM's files to this package's `q`, `k`, `v`.

    The three parts are views of the fused tensor; every other entry is passed through.
    """
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        head, found, tail = name.rpartition(".attn.qkv.")
        if not found:
            out[name] = tensor
            continue
        for part, third in zip("qkv", tensor.chunk(3), strict=True):
            out[f"{head}.attn.{part}.{tail}"] = third
    return out


def join_qkv(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of `split_qkv`: the official names, as segment-anything itself loads them."""
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        head, found, tail = name.rpartition(".attn.q.")
        if found:
            parts = [state[f"{head}.attn.{part}.{tail}"] for part in "qkv"]
            out[f"{head}.attn.qkv.{tail}"] = torch.cat(parts)
        elif not any(f".attn.{part}." in name for part in "kv"):
            out[name] = tensor
    return out


def _neck(dim: int, out_dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(dim, out_dim, kernel_size=1, bias=False),
        LayerNorm2d(out_dim),
        nn.Conv2d(out_dim, out_dim, kernel_size=3, padding=1, bias=False),
        LayerNorm2d(out_dim),
    )


def _skip(branch: Tensor, drop: float) -> Tensor:
    """Zero the branch of some pictures and scale the others, (B, h, w, C) -> the same."""
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
