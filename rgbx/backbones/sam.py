"""SAM ("Segment Anything", arXiv 2304.02643): own image encoder, the package's other parts."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_warn
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor, nn

from rgbx.backbones.init import randomise, smooth_filters
from rgbx.backbones.vit import ViT, join_qkv, split_qkv
from rgbx.backbones.vit_parts import ViTConfig
from rgbx.backbones.weights import Weights, fitting, load_strict, read_state
from rgbx.errors import RGBXError, WeightsError


@dataclass(frozen=True)
class SAMPreset(ViTConfig):
    """One size of SAM: the encoder's hyper-parameters and those of prompt encoder and decoder.

    Attributes:
        out_dim: channels of the neck.
        decoder_heads: attention heads of the two-way transformer.
        decoder_mlp: hidden width of its MLPs.
        iou_hidden: hidden width of the mask-quality head.
        mask_channels: channels of the mask prompt's convolutions.
    """

    out_dim: int = 256
    decoder_heads: int = 8
    decoder_mlp: int = 2048
    iou_hidden: int = 256
    mask_channels: int = 16

    @property
    def decoder_dim(self) -> int:
        """Width of the mask decoder's tokens, the channels of the encoder's neck."""
        return self.out_dim


SAM_PRESETS: dict[str, SAMPreset] = {
    "tiny": SAMPreset(
        dim=64,
        depth=4,
        heads=2,
        global_blocks=(1, 3),
        window=7,
        out_dim=64,
        pretrain_size=256,
        decoder_heads=4,
        decoder_mlp=128,
        iou_hidden=64,
    ),
    "vit_b": SAMPreset(dim=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11)),
    "vit_l": SAMPreset(dim=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23)),
    "vit_h": SAMPreset(dim=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31)),
}


class SAM(nn.Module):
    """The three parts of SAM; a container, papers combine the parts themselves.

    Args:
        preset: hyper-parameters.
        checkpoint_blocks: see `ViT`.

    Attributes:
        image_encoder: `ViT`, (B, 3, H, W) -> (B, decoder_dim, H / 16, W / 16).
        prompt_encoder: segment-anything's own `PromptEncoder`.
        mask_decoder: segment-anything's own `MaskDecoder`, four mask tokens.
    """

    def __init__(self, preset: SAMPreset, checkpoint_blocks: bool = False) -> None:
        super().__init__()
        width, side = preset.decoder_dim, preset.pretrain_size
        self.preset = preset
        self.image_encoder = ViT(preset, checkpoint_blocks)
        self.prompt_encoder = PromptEncoder(
            embed_dim=width,
            image_embedding_size=(preset.grid, preset.grid),
            input_image_size=(side, side),
            mask_in_chans=preset.mask_channels,
        )
        self.mask_decoder = MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2,
                embedding_dim=width,
                mlp_dim=preset.decoder_mlp,
                num_heads=preset.decoder_heads,
            ),
            transformer_dim=width,
            iou_head_depth=3,
            iou_head_hidden_dim=preset.iou_hidden,
        )

    def export_state(self) -> dict[str, Tensor]:
        """State dict in the official names and layout; segment-anything loads it strictly."""
        return join_qkv(self.state_dict())


def build_sam(encoder: str, weights: Weights | None = None, checkpoint_blocks: bool = False) -> SAM:
    """Build one size of SAM and load its weights, all of them.

    Args:
        encoder: a name in `SAM_PRESETS`.
        weights: an official SAM file; None means random values (portable, see
            `rgbx.backbones.init`) with a warning, skipped on the meta device.
        checkpoint_blocks: recompute the encoder's blocks in the backward pass.

    Returns:
        The model in eval mode. Nothing is frozen yet.

    Raises:
        RGBXError: no preset of that name.
        WeightsError: the file is missing, damaged, or of another model.
    """
    preset = sam_preset(encoder)
    if weights is None:
        sam = SAM(preset, checkpoint_blocks).eval()
        if not next(sam.parameters()).is_meta:
            randomise(sam)
            _see_images(sam.image_encoder)
            rank_zero_warn(
                f"SAM {encoder} starts from RANDOM weights because `weights` is null; "
                "results mean nothing beyond a test of the program."
            )
        return sam
    state = read_state(weights, fetch=f"sam_{encoder}")
    with fitting(weights.path):
        _check_size_of(state, encoder, weights.path)
        state = split_qkv(state)
    with torch.device("meta"):
        sam = SAM(preset, checkpoint_blocks).eval()
    sam.to_empty(device="cpu")
    load_strict(sam, state, weights.path)
    return sam


def _see_images(vit: ViT) -> None:
    """Let a random encoder pass images on, so that something can be learnt behind it.

    The patches get smooth filters, and the neck's 3 x 3 convolution listens to its centre rather
    than to nine neighbours alike. Only powers of two are multiplied, so the values stay portable.
    """
    smooth_filters(vit.patch_embed.proj)
    with torch.no_grad():
        neck = vit.get_parameter("neck.2.weight")
        centre = 2 * neck[:, :, 1, 1]
        neck.mul_(2.0**-4)
        neck[:, :, 1, 1] = centre


def sam_preset(encoder: str) -> SAMPreset:
    """The preset of that name.

    Raises:
        RGBXError: names the presets there are, and the nearest.
    """
    if encoder in SAM_PRESETS:
        return SAM_PRESETS[encoder]
    near = get_close_matches(encoder, SAM_PRESETS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise RGBXError(
        f"There is no SAM encoder {encoder!r}; choose from {', '.join(SAM_PRESETS)}.{hint}"
    )


def _check_size_of(state: Mapping[str, Tensor], encoder: str, path: str) -> None:
    """Refuse a SAM file of another size in one sentence, before the long list of strict loading."""
    width = state.get("image_encoder.patch_embed.proj.weight")
    if width is None:
        return
    dim = width.shape[0]
    blocks = {name.split(".")[2] for name in state if name.startswith("image_encoder.blocks.")}
    preset = SAM_PRESETS[encoder]
    if (dim, len(blocks)) == (preset.dim, preset.depth):
        return
    fits = [n for n, p in SAM_PRESETS.items() if (p.dim, p.depth) == (dim, len(blocks))]
    advice = f"it fits `encoder: {fits[0]}`" if fits else "it fits no preset"
    raise WeightsError(
        f"{path} holds an encoder of width {dim} with {len(blocks)} blocks, but {encoder} has "
        f"width {preset.dim} and {preset.depth} blocks; {advice}, or fetch the other file with: "
        f"rgbx weights fetch sam_{encoder}"
    )
