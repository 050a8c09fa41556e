"""The authors' released UniRGB-IR files, turned into one that a configuration can name."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rgbx.backbones.weights import Weights, fitting, read_state
from rgbx.checkpoints.trained import AtomicCheckpointIO
from rgbx.errors import WeightsError
from rgbx.models.unirgb_ir.backbone import UniRGBIRBackbone
from rgbx.models.unirgb_ir.detector.network import CascadeDetector
from rgbx.models.unirgb_ir.detector.options import CascadeConfig
from rgbx.models.unirgb_ir.released import match_released, official_part, without_wrapper

__all__ = ["Conversion", "convert_released"]

#: tensors whose shapes tell the options of the backbone; every released file has them
_TELLING = (
    "patch_embed.proj.weight",
    "pos_embed",
    "blocks.0.attn.rel_pos_h",
    "adapter_level_embed",
    "adapter_spm.stem_vis.0.weight",
    "adapter_stages.0.attn.attention_weights.weight",
    "adapter_stages.0.attn.value_proj.weight",
)
_DETECTOR = ("backbone.", "neck.", "rpn_head.", "roi_head.")
_CASCADE = "roi_head.bbox_head.0.fc_cls.weight"  # only the paper's detectors have it
_PATCH, _LEVELS, _POINTS = 16, 3, 4


@dataclass(frozen=True)
class Conversion:
    """What was converted.

    Attributes:
        dim: width of the ViT.
        depth: number of its blocks.
        img_size: side in pixels for which the global relative tables are made.
        converted: number of tensors written.
        left_out: number of tensors of other parts.
        num_classes: of a whole detector; None for a backbone alone.
    """

    dim: int
    depth: int
    img_size: int
    converted: int
    left_out: int
    num_classes: int | None = None


def convert_released(source: Path, target: Path) -> Conversion:
    """Write a released detector as a whole, or the backbone of another released model alone.

    A detector keeps its official names; a backbone's lose their prefix. The options are read from
    the shapes; then every tensor must fit.

    Args:
        source: a released checkpoint, of a detector, of a segmentor or of the backbone.
        target: the file to write, for `model.weights.path`; must not exist.

    Returns:
        What was converted.

    Raises:
        WeightsError: the file is missing, damaged or of another model; lists every tensor that is
            missing, unexpected or of another shape.
        RGBXError: the target cannot be written.
    """
    if target.exists():
        raise WeightsError(f"{target} exists already; give another name or delete it.")
    state = without_wrapper(read_state(Weights(str(source))))
    part = official_part(state, dict.fromkeys(_TELLING))
    lost = [name for name in _TELLING if name not in part]
    if lost:
        raise WeightsError(
            f"{source} is no released UniRGB-IR model: among its {len(state)} tensors there is no "
            f"{lost[0]}, neither alone nor below `backbone.`."
        )
    with fitting(str(source)):
        options = _options(part)
        with torch.device("meta"):
            backbone = UniRGBIRBackbone(**options)
    counts = {key: options[key] for key in ("dim", "depth", "img_size")}
    num_classes = None
    if _CASCADE in state:
        part = {name: t for name, t in state.items() if name.startswith(_DETECTOR)}
        with fitting(str(source)), torch.device("meta"):
            detector = _detector(backbone, part)
        fitted, _ = match_released(detector, part, str(source))
        num_classes = detector.roi_head.num_classes
    else:
        fitted, _ = match_released(backbone, part, str(source))
    AtomicCheckpointIO().save_checkpoint(fitted, target)
    left_out = len(state) - len(part)
    return Conversion(**counts, converted=len(fitted), left_out=left_out, num_classes=num_classes)


def _detector(backbone: UniRGBIRBackbone, state: Mapping[str, Tensor]) -> CascadeDetector:
    """A cascade of the sizes that the tensors have."""
    head = "roi_head.bbox_head"
    stages = {name.split(".")[2] for name in state if name.startswith(head)}
    convs = {name.split(".")[4] for name in state if name.startswith(f"{head}.0.shared_convs.")}
    hidden = state[_CASCADE].shape
    usual = CascadeConfig()
    cascade = CascadeConfig(
        ious=usual.ious[: len(stages)],
        stds=usual.stds[: len(stages)],
        weights=usual.weights[: len(stages)],
        fc_dim=hidden[1],
        convs=len(convs),
    )
    channels = state["neck.lateral_convs.0.conv.weight"].shape[0]
    return CascadeDetector(backbone, hidden[0] - 1, channels, cascade=cascade)


def _options(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of `UniRGBIRBackbone` as the shapes tell them.

    The first block attends within windows and the last to the whole image, as in every released
    model. How heads and points share the deformable attention's outputs shows in no shape.
    """
    shapes = {name: tensor.shape for name, tensor in state.items()}
    dim = shapes["patch_embed.proj.weight"][0]
    rows = {
        int(name.split(".")[1]): shape
        for name, shape in shapes.items()
        if name.startswith("blocks.") and name.endswith(".attn.rel_pos_h")
    }
    last = max(rows)
    read = shapes["adapter_stages.0.attn.attention_weights.weight"][0] // _LEVELS
    points = _POINTS if read % _POINTS == 0 else 1
    return {
        "dim": dim,
        "depth": last + 1,
        "num_heads": dim // rows[last][1],
        "img_size": (rows[last][0] + 1) // 2 * _PATCH,
        "pretrain_img_size": round((shapes["pos_embed"][1] - 1) ** 0.5) * _PATCH,
        "window_size": (rows[0][0] + 1) // 2,
        "global_blocks": tuple(i for i, shape in rows.items() if shape[0] == rows[last][0]),
        "num_stages": len({n.split(".")[1] for n in shapes if n.startswith("adapter_stages.")}),
        "conv_dim": shapes["adapter_spm.stem_vis.0.weight"][0],
        "deform_heads": read // points,
        "deform_points": points,
        "deform_ratio": shapes["adapter_stages.0.attn.value_proj.weight"][0] / dim,
    }
