"""Filling pyramid, proposals and heads from ViTDet's COCO detector or a released UniRGB-IR one."""

import re
from collections.abc import Mapping, Sequence

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_info
from torch import Tensor, nn

from rgbx.backbones.plain_vit import from_official, plain_kind, to_official
from rgbx.backbones.weights import Weights, read_state, refuse_misfit
from rgbx.errors import RGBXError, WeightsError
from rgbx.models.unirgb_ir.build import fit_tables
from rgbx.models.unirgb_ir.detector.network import CascadeDetector, FCOSDetector
from rgbx.models.unirgb_ir.released import load_released, without_wrapper

__all__ = ["coco_class", "fill_detector", "from_vitdet"]

#: COCO's classes that have a counterpart in RGB-IR data, with their rows in Detectron2's heads
_COCO = {
    "person": 0,
    "bicycle": 1,
    "car": 2,
    "motorcycle": 3,
    "bus": 5,
    "train": 6,
    "truck": 7,
    "boat": 8,
    "traffic light": 9,
    "stop sign": 11,
    "bird": 14,
    "cat": 15,
    "dog": 16,
}
_ALIASES = {
    "people": "person",
    "pedestrian": "person",
    "bike": "bicycle",
    "cyclist": "bicycle",
    "motorbike": "motorcycle",
    "ship": "boat",
}
_BACKGROUND = 80
#: what Detectron2 multiplies box deltas by, of every stage: (x and y, w and h)
_WEIGHTS = ((10.0, 5.0), (20.0, 10.0), (30.0, 15.0))
#: names of Detectron2's cascade -> the released ones; the first match decides
_NAMES = (
    (r"backbone\.simfp_2\.([013])\.(.+)", r"neck.fpn1.\1.\2"),
    (r"backbone\.simfp_2\.4\.(.+)", r"neck.lateral_convs.0.\1"),
    (r"backbone\.simfp_2\.5\.(.+)", r"neck.fpn_convs.0.\1"),
    (r"backbone\.simfp_3\.0\.(.+)", r"neck.fpn2.0.\1"),
    (r"backbone\.simfp_3\.1\.(.+)", r"neck.lateral_convs.1.\1"),
    (r"backbone\.simfp_3\.2\.(.+)", r"neck.fpn_convs.1.\1"),
    (r"backbone\.simfp_4\.0\.(.+)", r"neck.lateral_convs.2.\1"),
    (r"backbone\.simfp_4\.1\.(.+)", r"neck.fpn_convs.2.\1"),
    (r"backbone\.simfp_5\.1\.(.+)", r"neck.lateral_convs.3.\1"),
    (r"backbone\.simfp_5\.2\.(.+)", r"neck.fpn_convs.3.\1"),
    (r"proposal_generator\.rpn_head\.conv\.conv([01])\.(.+)", r"rpn_head.rpn_conv.\1.conv.\2"),
    (r"proposal_generator\.rpn_head\.objectness_logits\.(.+)", r"rpn_head.rpn_cls.\1"),
    (r"proposal_generator\.rpn_head\.anchor_deltas\.(.+)", r"rpn_head.rpn_reg.\1"),
    (r"roi_heads\.box_head\.(\d)\.fc1\.(.+)", r"roi_head.bbox_head.\1.shared_fcs.0.\2"),
    (r"roi_heads\.box_predictor\.(\d)\.cls_score\.(.+)", r"roi_head.bbox_head.\1.fc_cls.\2"),
    (r"roi_heads\.box_predictor\.(\d)\.bbox_pred\.(.+)", r"roi_head.bbox_head.\1.fc_reg.\2"),
)
_HEAD_CONV = re.compile(r"roi_heads\.box_head\.(\d)\.conv([1-9])\.(.+)")
_NORMED = re.compile(r"(.*\.(?:lateral_convs|fpn_convs|shared_convs)\.\d)\.(norm\.)?(weight|bias)")


def fill_detector(
    detector: CascadeDetector | FCOSDetector,
    weights: Weights | None,
    init_heads: str,
    keep_rel_pos: bool,
    class_names: Sequence[str],
) -> None:
    """What a weight file holds besides the backbone, where it is wanted.

    A released detector fills everything. Of ViTDet's COCO detector, ``init_heads`` "coco" takes
    pyramid, proposals and heads, and ``keep_rel_pos`` the ViT's relative position tables.

    Args:
        detector: its backbone is filled already.
        weights: the file; None for none.
        init_heads: "random" or "coco".
        keep_rel_pos: see there.
        class_names: of the detector; rows of classes that COCO does not have stay random.

    Raises:
        RGBXError: the file cannot give what is asked for.
        WeightsError: lists what is missing, unexpected and of another shape.
    """
    if init_heads not in ("random", "coco"):
        raise RGBXError(f"init_heads is {init_heads!r}: choose random or coco.")
    state = {} if weights is None else without_wrapper(read_state(weights))
    source = "weights: null" if weights is None else weights.path
    if "roi_head.bbox_head.0.fc_cls.weight" in state:
        if not isinstance(detector, CascadeDetector):
            raise RGBXError(f"{source} holds a cascade; set model.head to cascade.")
        load_released(detector, _without_prefix(state), source)
        return
    if (init_heads == "coco" or keep_rel_pos) and plain_kind(state) != "ViTDet":
        option = "init_heads: coco" if init_heads == "coco" else "keep_rel_pos: true"
        raise RGBXError(
            f"{option} needs ViTDet's COCO detector as model.weights.path (rgbx weights fetch "
            f"vitdet_vit_b_coco_cascade), and {source} is none."
        )
    if keep_rel_pos:
        _take_tables(detector, state, source)
    if init_heads == "coco":
        if not isinstance(detector, CascadeDetector):
            raise RGBXError(
                "init_heads: coco fills the cascade's heads; set model.head to cascade."
            )
        _take_heads(detector, state, source, class_names)


def coco_class(name: str) -> int | None:
    """Row of a class in heads that were trained on COCO; None if COCO does not have it."""
    plain = name.casefold().replace("_", " ")
    return _COCO.get(_ALIASES.get(plain, plain))


def from_vitdet(
    state: Mapping[str, Tensor], detector: CascadeDetector, class_names: Sequence[str]
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of Detectron2's cascade in the released names, fit for other classes.

    Rows of classes are taken by name; box deltas are scaled to this detector's stds.

    Args:
        state: of the whole detector.
        detector: gives rows of classes that COCO does not have.
        class_names: of the detector.

    Returns:
        Tensors below ``neck.``, ``rpn_head.`` and ``roi_head.``, and the classes without a row.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        new = _renamed(name)
        if new is not None:
            found[new] = tensor.float()
    rows = [coco_class(name) for name in class_names]
    for stage, stds in enumerate(detector.roi_head.config.stds):
        for kind in ("weight", "bias"):
            name = f"roi_head.bbox_head.{stage}.fc_reg.{kind}"
            if name in found and stage < len(_WEIGHTS):
                xy, wh = _WEIGHTS[stage]
                scale = 1 / (torch.tensor([xy, xy, wh, wh]) * torch.tensor(stds))
                found[name] = found[name] * (scale[:, None] if kind == "weight" else scale)
            name = f"roi_head.bbox_head.{stage}.fc_cls.{kind}"
            if name in found:
                found[name] = _of_classes(found[name], detector.get_parameter(name), rows)
    return found, [name for name, row in zip(class_names, rows, strict=True) if row is None]


def _of_classes(given: Tensor, own: Tensor, rows: Sequence[int | None]) -> Tensor:
    if len(given) <= _BACKGROUND:
        return given  # refused later, with its shape
    taken = own.detach().clone()
    for index, row in enumerate([*rows, _BACKGROUND]):
        if row is not None:
            taken[index] = given[row]
    return taken


def _renamed(name: str) -> str | None:
    """The released name of one of Detectron2's; None for backbone and mask head."""
    if match := _HEAD_CONV.fullmatch(name):
        stage, conv, rest = match.groups()
        new = f"roi_head.bbox_head.{stage}.shared_convs.{int(conv) - 1}.{rest}"
    else:
        pairs = ((re.fullmatch(old, name), new) for old, new in _NAMES)
        new = next((match.expand(new) for match, new in pairs if match), "")
    if not new:
        return None
    if match := _NORMED.fullmatch(new):
        place, norm, kind = match.groups()
        new = f"{place}.{'norm_layer' if norm else 'conv'}.{kind}"
    return new


def _take_heads(
    detector: CascadeDetector, state: Mapping[str, Tensor], source: str, names: Sequence[str]
) -> None:
    found, foreign = from_vitdet(state, detector, names)
    expected = {n: t for n, t in detector.state_dict().items() if not n.startswith("backbone.")}
    refuse_misfit(expected, found, source, type(detector).__name__)
    own = {n: t for n, t in detector.state_dict().items() if n.startswith("backbone.")}
    detector.load_state_dict(own | found)
    rest = f"; rows of {', '.join(foreign)} stay random" if foreign else ""
    rank_zero_info(f"{source}: pyramid, proposals and heads as trained on COCO{rest}.")


def _take_tables(detector: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    vit = detector.get_submodule("backbone.vit")
    own = to_official(vit.state_dict())
    wanted = {name: tensor for name, tensor in own.items() if ".rel_pos_" in name}
    prefix = "backbone.net."
    given = {
        n.removeprefix(prefix): t.float()
        for n, t in state.items()
        if n.startswith(prefix) and ".rel_pos_" in n
    }
    fitted = fit_tables(given, wanted, source)
    refuse_misfit(wanted, fitted, source, "The relative position tables")
    vit.load_state_dict(from_official(own | fitted))


def _without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parts = ("backbone.", "neck.", "rpn_head.", "roi_head.")
    foreign = [name for name in state if not name.startswith(parts)]
    if foreign:
        raise WeightsError(f"A detector has no tensor {foreign[0]}, nor {len(foreign) - 1} others.")
    return dict(state)
