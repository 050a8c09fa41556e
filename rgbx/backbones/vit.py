"""The plain ViT image encoder of SAM and ViTDet at any input size.

Same weights and same meaning as the image encoder of the segment-anything package ("Segment
Anything", arXiv 2304.02643; "Exploring Plain Vision Transformer Backbones for Object Detection",
arXiv 2203.16527), with three differences: attention goes through fused kernels
(`rgbx.backbones.attention`), height and width are free multiples of the patch, and q, k, v are
three linear layers so that LoRA can reach each alone (`split_qkv`, `join_qkv`). ViTDet's own
weights have a row for a class token in the position table and no neck (`class_row`, `out_dim`).
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rgbx.backbones.vit_parts import Block, PatchEmbed, ViTConfig
from rgbx.errors import RGBXError


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
        """Encode images.

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
        """Refuse an image size that is not a multiple of the patch, and name the next one."""
        patch = self.config.patch
        if height % patch or width % patch or not height or not width:
            up = [max(1, -(-side // patch)) * patch for side in (height, width)]
            raise RGBXError(
                f"The image is {height} x {width} (height x width) but this encoder needs "
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
