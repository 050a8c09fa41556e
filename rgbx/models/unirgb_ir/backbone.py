"""UniRGB-IR's backbone: a frozen plain ViT, and next to it what reads the second modality."""

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rgbx.backbones.freeze import freeze
from rgbx.backbones.vit import ViT
from rgbx.backbones.vit_parts import ViTConfig
from rgbx.blocks.conv import Norm
from rgbx.blocks.deformable import reference_points
from rgbx.errors import RGBXError
from rgbx.models.unirgb_ir.feature_pool import FeaturePool
from rgbx.models.unirgb_ir.injector import Injector, UpdateGate
from rgbx.tasks.image_input import check_rgb, check_x

__all__ = ["UniRGBIRBackbone"]

_PATCH = 16


class UniRGBIRBackbone(nn.Module):
    """UniRGB-IR (Yuan et al., ACM MM 2025, arXiv 2404.17360) without neck and head.

    The ViT sees one modality. A feature pool is made of both, once. Before every stage (a run of
    ViT blocks) an `Injector` reads the pool for each token, an `UpdateGate` blends that with what
    was read before the last stage, and the result is added to the tokens. At initialisation the
    output is that of the plain ViT, whatever the other modality shows.

    Args:
        dim: width d of the ViT.
        depth: number of its blocks.
        num_heads: its attention heads.
        img_size: side in pixels for which the global blocks' relative tables are made; images
            may have any size.
        pretrain_img_size: the same for the position table.
        window_size: side in tokens of the attention windows.
        global_blocks: indexes of the blocks that attend to the whole image.
        num_stages: number n of stages; the blocks are split as evenly as possible.
        conv_dim: channels of the pool's stems, a multiple of 4.
        deform_heads: heads of the deformable attention.
        deform_points: points that each head reads in each of the three levels.
        deform_ratio: width of its values over d.
        drop_path: stochastic depth of the last block in training; 0 in the first, linear between
            (in the frozen blocks, as the original).
        train_rel_pos: train the ViT's relative position tables (the code of the paper); False
            freezes the whole ViT (its text).
        main_modality: what the ViT sees, "rgb" or "ir"; the pool always takes both.
        norm: of the pool's convolutions: "bn" or "gn".
        checkpoint_blocks: recompute each ViT block in the backward pass.

    Attributes:
        vit: `rgbx.backbones.vit.ViT`, frozen and always in eval mode.
        adapter_spm: `FeaturePool`.
        adapter_level_embed: (3, d), added to the pool's levels.
        adapter_stages: n `Injector`s.
        adapter_grus: n - 1 `UpdateGate`s.

    Shape: rgb (B, 3, H, W), ir (B, 1 or 3, H, W) -> n maps (B, d, ceil(H / 16), ceil(W / 16)).

    Raises:
        RGBXError: the options do not fit together.
    """

    def __init__(
        self,
        dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        img_size: int = 512,
        pretrain_img_size: int = 224,
        window_size: int = 14,
        global_blocks: tuple[int, ...] = (2, 5, 8, 11),
        num_stages: int = 4,
        conv_dim: int = 64,
        deform_heads: int = 12,
        deform_points: int = 4,
        deform_ratio: float = 0.5,
        drop_path: float = 0.3,
        train_rel_pos: bool = True,
        main_modality: Literal["rgb", "ir"] = "rgb",
        norm: Norm = "bn",
        checkpoint_blocks: bool = False,
    ) -> None:
        super().__init__()
        _check(depth, num_stages, img_size, drop_path, main_modality)
        config = ViTConfig(
            dim=dim,
            depth=depth,
            heads=num_heads,
            global_blocks=tuple(global_blocks),
            window=window_size,
            out_dim=None,
            pretrain_size=pretrain_img_size,
            patch=_PATCH,
            table_size=img_size,
            class_row=True,
        )
        self.main_modality = main_modality
        self.drop_path = drop_path
        edges = [depth * stage // num_stages for stage in range(num_stages + 1)]
        self.stages = [range(*edge) for edge in pairwise(edges)]
        self.vit = freeze(ViT(config, checkpoint_blocks))
        for name, parameter in self.vit.named_parameters():
            parameter.requires_grad_(train_rel_pos and "rel_pos" in name)
        self.adapter_spm = FeaturePool(conv_dim, dim, norm)
        self.adapter_level_embed = nn.Parameter(torch.empty(3, dim))
        nn.init.normal_(self.adapter_level_embed)
        self.adapter_stages = nn.ModuleList(
            Injector(dim, deform_heads, deform_points, deform_ratio) for _ in range(num_stages)
        )
        self.adapter_grus = nn.ModuleList(UpdateGate(dim) for _ in range(num_stages - 1))

    def forward(self, rgb: Tensor, ir: Tensor) -> list[Tensor]:
        """The tokens after every stage, as maps.

        Args:
            rgb: (B, 3, H, W), normalised. A side that is no multiple of 16 is filled up with
                zeros at the bottom or on the right.
            ir: (B, 1, H, W) or (B, 3, H, W), normalised; one channel is repeated.

        Returns:
            n maps (B, d, ceil(H / 16), ceil(W / 16)).

        Raises:
            RGBXError: shapes do not fit.
        """
        check_rgb("UniRGBIRBackbone", rgb)
        rgb, ir = _pad(rgb), _pad(check_x("UniRGBIRBackbone", rgb, ir))
        tokens = self.vit.embed(rgb if self.main_modality == "rgb" else ir)
        h, w = tokens.shape[1:3]
        reference = reference_points(h, w, tokens.device)
        pool, levels = self._pool(rgb, ir)
        maps: list[Tensor] = []
        injected: Tensor | None = None
        for stage, blocks in enumerate(self.stages):
            new = self.adapter_stages[stage](tokens.flatten(1, 2), reference, pool, levels)
            injected = new if injected is None else self.adapter_grus[stage - 1](new, injected)
            tokens = tokens + injected.unflatten(1, (h, w))
            for index in blocks:
                tokens = self.vit.run_block(self.vit.blocks[index], tokens, self._drop(index))
            maps.append(tokens.permute(0, 3, 1, 2))
        return maps

    def _pool(self, rgb: Tensor, ir: Tensor) -> tuple[Tensor, list[tuple[int, int]]]:
        """All levels one after the other (B, N, d), and (h, w) of each."""
        levels = self.adapter_spm(rgb, ir)
        tokens = [
            level.flatten(2).transpose(1, 2) + embedding
            for level, embedding in zip(levels, self.adapter_level_embed, strict=True)
        ]
        return torch.cat(tokens, dim=1), [(level.shape[2], level.shape[3]) for level in levels]

    def _drop(self, index: int) -> float:
        """Stochastic depth of a block; asked here because the ViT itself never trains."""
        if not self.training:
            return 0.0
        return self.drop_path * index / max(1, self.vit.config.depth - 1)


def _pad(images: Tensor) -> Tensor:
    """Zeros at the bottom and on the right, up to multiples of the patch."""
    h, w = images.shape[-2:]
    return F.pad(images, (0, -w % _PATCH, 0, -h % _PATCH))


def _check(depth: int, num_stages: int, img_size: int, drop_path: float, modality: str) -> None:
    if modality not in ("rgb", "ir"):
        raise RGBXError(f"main_modality is {modality!r}: the ViT sees rgb or ir.")
    if not 1 <= num_stages <= depth:
        raise RGBXError(
            f"num_stages is {num_stages} but the ViT has {depth} blocks: give 1 to {depth}."
        )
    if img_size < _PATCH or img_size % _PATCH:
        raise RGBXError(f"img_size is {img_size} but must be a multiple of {_PATCH}.")
    if not 0 <= drop_path < 1:
        raise RGBXError(f"drop_path is {drop_path:g} but must be at least 0 and below 1.")
