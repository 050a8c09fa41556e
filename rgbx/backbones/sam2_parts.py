"""The sam2 package's modules, built from one dataclass of numbers instead of Hydra's files.

Importing `sam2` registers its files with Hydra, once per process; the package does that itself,
and its own `build_sam2` needs it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.sam.mask_decoder import MaskDecoder
from sam2.modeling.sam.prompt_encoder import PromptEncoder
from sam2.modeling.sam.transformer import TwoWayTransformer
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True)
class SAM2Preset:
    """One size of SAM 2.

    Attributes:
        dim: width of the first of the trunk's four stages; it doubles from stage to stage.
        heads: attention heads of the first stage; they double likewise.
        stages: blocks per stage.
        global_blocks: blocks that attend to the whole map, the others to windows.
        window: side of the windows per stage, in tokens.
        pos_grid: side of the position table that is resized to the map.
        width: channels of the neck's levels and width of the decoder's tokens.
        decoder_heads: attention heads of the two-way transformer.
        decoder_mlp: hidden width of its MLPs.
        iou_hidden: hidden width of the mask-quality head.
        mask_channels: channels of the mask prompt's convolutions.
        image_size: side of the images that the official weights were trained with.
    """

    dim: int
    heads: int
    stages: tuple[int, int, int, int]
    global_blocks: tuple[int, ...]
    window: tuple[int, int, int, int] = (8, 4, 14, 7)
    pos_grid: int = 7
    width: int = 256
    decoder_heads: int = 8
    decoder_mlp: int = 2048
    iou_hidden: int = 256
    mask_channels: int = 16
    image_size: int = 1024

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return sum(self.stages)

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Channels of the four stages."""
        return tuple(self.dim * 2**stage for stage in range(4))


def image_encoder(preset: SAM2Preset) -> ImageEncoder:
    """Trunk (Hiera) and neck (FPN); also on the meta device."""
    with LinspaceOnCPU():
        trunk = Hiera(
            embed_dim=preset.dim,
            num_heads=preset.heads,
            stages=preset.stages,
            global_att_blocks=preset.global_blocks,
            window_pos_embed_bkg_spatial_size=(preset.pos_grid, preset.pos_grid),
            window_spec=preset.window,
        )
    neck = FpnNeck(
        position_encoding=_NoPosition(),
        d_model=preset.width,
        backbone_channel_list=list(preset.stage_dims[::-1]),
        fpn_top_down_levels=[2, 3],
        fpn_interp_model="nearest",
    )
    return ImageEncoder(trunk, neck, scalp=1)


def prompt_encoder(preset: SAM2Preset) -> PromptEncoder:
    """The encoder of points, boxes and masks; it also holds the position encoding."""
    grid = preset.image_size // 16
    return PromptEncoder(
        embed_dim=preset.width,
        image_embedding_size=(grid, grid),
        input_image_size=(preset.image_size, preset.image_size),
        mask_in_chans=preset.mask_channels,
    )


def mask_decoder(preset: SAM2Preset) -> MaskDecoder:
    """The decoder with four mask tokens; it never swaps the token that was asked for."""
    return MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(
            depth=2,
            embedding_dim=preset.width,
            mlp_dim=preset.decoder_mlp,
            num_heads=preset.decoder_heads,
        ),
        transformer_dim=preset.width,
        iou_head_depth=3,
        iou_head_hidden_dim=preset.iou_hidden,
        use_high_res_features=True,
        iou_prediction_use_sigmoid=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        use_multimask_token_for_obj_ptr=True,
    )


class _NoPosition(nn.Module):
    """Stands where the neck computes sine positions for the memory, which is not built."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_empty(0)


class LinspaceOnCPU(TorchFunctionMode):
    """Hiera reads its drop-path rates back from a tensor, which the meta device cannot do."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)
