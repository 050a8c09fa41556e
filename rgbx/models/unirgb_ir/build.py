"""UniRGB-IR's backbone from a preset and a weight file, whichever of the three kinds it is."""

from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import torch.nn.functional as F
from lightning.fabric.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor

from rgbx.backbones.plain_vit import load_plain, plain_kind, randomise_plain, refuse_size
from rgbx.backbones.weights import Weights, fitting, read_state
from rgbx.errors import RGBXError, WeightsError
from rgbx.models.unirgb_ir.backbone import UniRGBIRBackbone
from rgbx.models.unirgb_ir.released import export_released, load_released, official_part

__all__ = ["PRESETS", "build_backbone", "fit_tables"]

#: name -> arguments of `UniRGBIRBackbone`
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "dim": 64,
        "depth": 4,
        "num_heads": 2,
        "img_size": 128,
        "pretrain_img_size": 128,
        "window_size": 7,
        "global_blocks": (1, 3),
        "conv_dim": 16,
        "deform_heads": 4,
    },
    "vit_b": {},
}
_FETCH = "vitdet_vit_b_coco_cascade"


def build_backbone(
    encoder: str, weights: Weights | None = None, **options: Any
) -> UniRGBIRBackbone:
    """Build one size of the backbone and load its weights.

    Args:
        encoder: a name in `PRESETS`.
        weights: a file, recognised by its tensor names: a ViTDet detector as Detectron2 publishes
            it (.pkl), MAE's ViT-B, or a UniRGB-IR backbone (released, or written by
            `rgbx weights convert unirgb_ir`), adapters included. None means a random ViT
            (portable, see `rgbx.backbones.init`) with a warning, skipped on the meta device.
        options: arguments of `UniRGBIRBackbone` that differ from the preset's.

    Returns:
        The backbone; its ViT is frozen.

    Raises:
        RGBXError: no preset of that name, or the options do not fit together.
        WeightsError: the file is missing, damaged, or of another model.
    """
    settings = _preset(encoder) | options
    if weights is not None:
        state = read_state(weights, fetch=_FETCH if encoder == "vit_b" else None)
        backbone = UniRGBIRBackbone(**settings)
        with fitting(weights.path):
            _fill(backbone, state, weights.path)
        return backbone
    backbone = UniRGBIRBackbone(**settings)
    if not backbone.adapter_level_embed.is_meta:
        randomise_plain(backbone.vit)
        rank_zero_warn(
            f"UniRGB-IR {encoder} starts from RANDOM weights of the ViT because `weights` is null; "
            "results mean nothing beyond a test of the program."
        )
    return backbone


def _preset(encoder: str) -> dict[str, Any]:
    if encoder in PRESETS:
        return PRESETS[encoder]
    near = get_close_matches(encoder, PRESETS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise RGBXError(
        f"There is no UniRGB-IR encoder {encoder!r}; choose from {', '.join(PRESETS)}.{hint}"
    )


def _fill(backbone: UniRGBIRBackbone, state: Mapping[str, Tensor], source: str) -> None:
    expected = export_released(backbone)
    part = official_part(state, expected)
    if any(name.startswith("adapter_") for name in part) and plain_kind(part):
        refuse_size(backbone.vit, part, source)
        load_released(backbone, fit_tables(part, expected, source), source)
    elif plain_kind(state):
        load_plain(backbone.vit, state, source)
    else:
        raise WeightsError(
            f"{source} holds {_summary(state)}, but UniRGB-IR takes a ViTDet detector of "
            "Detectron2 (backbone.net.*), MAE's ViT-B (patch_embed.*, blocks.*) or a UniRGB-IR "
            "backbone (with adapter_*)."
        )


def fit_tables(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str
) -> dict[str, Tensor]:
    """Relative tables of another `img_size` resized linearly, as the attention itself would."""
    fitted = dict(state)
    found: dict[int, int] = {}
    for name, table in state.items():
        wanted = expected.get(name)
        if ".rel_pos_" not in name or wanted is None or wanted.shape[1:] != table.shape[1:]:
            continue
        if len(wanted) != len(table):
            rows = table.float().t()[None]
            fitted[name] = F.interpolate(rows, size=len(wanted), mode="linear")[0].t()
            found[len(table)] = len(wanted)
    for old, new in found.items():
        rank_zero_info(
            f"{source}: relative position tables of {old} rows (img_size {8 * (old + 1)}) resized "
            f"to {new} (img_size {8 * (new + 1)})."
        )
    return fitted


def _summary(state: Mapping[str, Tensor]) -> str:
    """How many tensors, and how their names begin most often."""
    heads = Counter(name.partition(".")[0] for name in state)
    most = [f"{name}.*" for name, _ in heads.most_common(3)]
    return f"{len(state)} tensors ({', '.join(most)}{', ...' if len(heads) > 3 else ''})"
