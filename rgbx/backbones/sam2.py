"""SAM 2 and 2.1 (arXiv 2408.00714): the sam2 package's image encoder, prompt encoder and decoder.

Only what single images need is built; the memory for video is left out. The numbers of the sizes
are those of the package's YAML files.
"""

from collections.abc import Mapping
from difflib import get_close_matches

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from rgbx.backbones.init import randomise
from rgbx.backbones.known import KNOWN
from rgbx.backbones.sam2_parts import SAM2Preset, image_encoder, mask_decoder, prompt_encoder
from rgbx.backbones.weights import Weights, fitting, load_strict, read_state
from rgbx.errors import RGBXError, WeightsError

#: Parts of official files that serve video only: memory, object pointers, temporal positions.
VIDEO_PARTS = (
    "maskmem_tpos_enc",
    "mask_downsample",
    "memory_attention",
    "memory_encoder",
    "no_mem_pos_enc",
    "no_obj_embed_spatial",
    "no_obj_ptr",
    "obj_ptr_proj",
    "obj_ptr_tpos_proj",
)


SAM2_PRESETS: dict[str, SAM2Preset] = {
    "tiny": SAM2Preset(
        dim=16,
        heads=1,
        stages=(1, 2, 3, 1),
        global_blocks=(5,),
        window=(8, 4, 4, 2),
        width=64,
        decoder_heads=4,
        decoder_mlp=128,
        iou_hidden=64,
        image_size=256,
    ),
    "hiera_t": SAM2Preset(dim=96, heads=1, stages=(1, 2, 7, 2), global_blocks=(5, 7, 9)),
    "hiera_s": SAM2Preset(dim=96, heads=1, stages=(1, 2, 11, 2), global_blocks=(7, 10, 13)),
    "hiera_b+": SAM2Preset(
        dim=112, heads=2, stages=(2, 3, 16, 3), global_blocks=(12, 16, 20), pos_grid=14
    ),
    "hiera_l": SAM2Preset(
        dim=144,
        heads=2,
        stages=(2, 6, 36, 4),
        global_blocks=(23, 33, 43),
        window=(8, 4, 16, 8),
    ),
}


class SAM2(nn.Module):
    """The parts of SAM 2 that see single images; a container, papers combine the parts themselves.

    Every module is the sam2 package's own, with the official names.

    Args:
        preset: hyper-parameters.

    Attributes:
        image_encoder: trunk (Hiera) and neck (FPN); (B, 3, H, W) -> levels of `width` channels at
            strides 4, 8 and 16; H and W are multiples of 32.
        sam_prompt_encoder: `PromptEncoder`.
        sam_mask_decoder: `MaskDecoder`, four mask tokens, always the one that was asked for.
        no_mem_embed: (1, 1, width), added to the stride-16 level where there is no memory.
    """

    def __init__(self, preset: SAM2Preset) -> None:
        super().__init__()
        self.preset = preset
        self.image_encoder = image_encoder(preset)
        self.sam_prompt_encoder = prompt_encoder(preset)
        self.sam_mask_decoder = mask_decoder(preset)
        self.no_mem_embed = nn.Parameter(0.02 * torch.randn(1, 1, preset.width))


def build_sam2(encoder: str, weights: Weights | None = None) -> SAM2:
    """Build one size of SAM 2 and load its weights, all of them.

    Args:
        encoder: a name in `SAM2_PRESETS`.
        weights: an official file of SAM 2 or 2.1; None means random values (portable, see
            `rgbx.backbones.init`) with a warning, skipped on the meta device.

    Returns:
        The model in eval mode. Nothing is frozen yet.

    Raises:
        RGBXError: no preset of that name.
        WeightsError: the file is missing, damaged, or of another model.
    """
    preset = sam2_preset(encoder)
    if weights is None:
        sam2 = SAM2(preset).eval()
        if not sam2.no_mem_embed.is_meta:
            randomise(sam2)
            _see_images(sam2)
            rank_zero_warn(
                f"SAM 2 {encoder} starts from RANDOM weights because `weights` is null; "
                "results mean nothing beyond a test of the program."
            )
        return sam2
    state = read_state(weights, fetch=_public(encoder))
    with fitting(weights.path):
        _check_size_of(state, encoder, weights.path)
    with torch.device("meta"):
        sam2 = SAM2(preset).eval()
    sam2.to_empty(device="cpu")
    load_strict(sam2, without_video(state), weights.path)
    return sam2


def sam2_preset(encoder: str) -> SAM2Preset:
    """The preset of that name.

    Raises:
        RGBXError: names the presets there are, and the nearest.
    """
    if encoder in SAM2_PRESETS:
        return SAM2_PRESETS[encoder]
    near = get_close_matches(encoder, SAM2_PRESETS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise RGBXError(
        f"There is no SAM 2 encoder {encoder!r}; choose from {', '.join(SAM2_PRESETS)}.{hint}"
    )


def fitting_preset(state: Mapping[str, Tensor]) -> str | None:
    """Name of the preset whose trunk a state dict in official names holds, None if there is none.

    Args:
        state: tensors by name, at least those of the trunk.
    """
    found = _trunk_size(state)
    sizes = {name: (p.dim, p.depth) for name, p in SAM2_PRESETS.items()}
    return next((name for name, size in sizes.items() if size == found), None)


def without_video(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the parts that serve video only (`VIDEO_PARTS`)."""
    return {name: t for name, t in state.items() if name.split(".")[0] not in VIDEO_PARTS}


def _see_images(sam2: SAM2) -> None:
    """Let a random trunk pass images on, so that something can be learnt behind it.

    Images are smooth: white-noise filters see little of them. Patch filters become constant on
    a 2 x 2 grid of cells (of 4 and 3 pixels), and every block's two branches speak more quietly
    next to the residual. Only powers of two are multiplied, so the values stay portable.
    """
    trunk = sam2.image_encoder.trunk
    with torch.no_grad():
        filters = trunk.patch_embed.proj.weight
        cell = torch.tensor([0, 0, 0, 0, 6, 6, 6], device=filters.device)
        filters.copy_(filters[:, :, cell][:, :, :, cell].clone())
        for block in trunk.blocks:
            block.attn.proj.weight.mul_(2.0**-2)
            block.mlp.layers[1].weight.mul_(2.0**-2)


def _trunk_size(state: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """(width, number of blocks) of the trunk in a state dict, None where there is no trunk."""
    trunk = "image_encoder.trunk."
    patch = state.get(f"{trunk}patch_embed.proj.weight")
    if patch is None:
        return None
    blocks = {name.split(".")[3] for name in state if name.startswith(f"{trunk}blocks.")}
    return patch.shape[0], len(blocks)


def _check_size_of(state: Mapping[str, Tensor], encoder: str, path: str) -> None:
    """Refuse a file of another size in one sentence, before the long list of strict loading."""
    found, preset = _trunk_size(state), SAM2_PRESETS[encoder]
    if found is None or found == (preset.dim, preset.depth):
        return
    fits, public = fitting_preset(state), _public(encoder)
    advice = f"it fits `encoder: {fits}`" if fits else "it fits no preset"
    if public:
        advice += f", or fetch the other file with: rgbx weights fetch {public}"
    raise WeightsError(
        f"{path} holds a trunk of width {found[0]} with {found[1]} blocks, but {encoder} has "
        f"width {preset.dim} and {preset.depth} blocks; {advice}"
    )


def _public(encoder: str) -> str | None:
    """What `rgbx weights fetch` calls the published file of a size; None for `tiny`."""
    name = f"sam2_{encoder}"
    return name if name in KNOWN else None
