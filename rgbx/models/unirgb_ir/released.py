"""Official tensor names of UniRGB-IR, in and out."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rgbx.backbones.plain_vit import from_official, to_official
from rgbx.backbones.weights import refuse_misfit
from rgbx.models.unirgb_ir.backbone import UniRGBIRBackbone

__all__ = [
    "export_released",
    "load_released",
    "match_released",
    "official_part",
    "without_wrapper",
]

#: where a whole released model keeps the part
_PREFIXES = ("module.", "backbone.", "neck.", "decode_head.", "rpn_head.", "roi_head.")
_BACKBONE = "backbone."
_STATISTICS = ("running_mean", "running_var")
_COUNTER = "num_batches_tracked"


def load_released(
    module: nn.Module, state_dict: Mapping[str, Tensor], source: str = "The state dict"
) -> int:
    """Copy official tensors into a backbone, a neck, a head, a part of one, or a whole detector.

    All of them must fit, see `match_released`.

    Args:
        module: receives the values.
        state_dict: tensors by official name; a leading `module.`, and the place in a whole model
            (`backbone.`, `neck.`, `decode_head.`) are taken off.
        source: where they come from, for the message.

    Returns:
        How many tensors were left out because they belong to other parts of a whole model.

    Raises:
        WeightsError: lists what is missing, unexpected and of another shape.
    """
    fitted, left_out = match_released(module, state_dict, source)
    module.load_state_dict(_own_names(module, fitted))
    return left_out


def match_released(
    module: nn.Module, state_dict: Mapping[str, Tensor], source: str
) -> tuple[dict[str, Tensor], int]:
    """Tensors for all official names of a module, and nothing else.

    BatchNorm's running statistics may be absent all together (parameters only): then they are
    mean 0 and variance 1; its counters may always be absent.

    Args:
        module: what they must fit; only names and shapes are looked at (meta device will do).
        state_dict: see `load_released`.
        source: where they come from, for the message.

    Returns:
        The tensors by official name, and how many were left out as parts of a whole model.

    Raises:
        WeightsError: see `load_released`.
    """
    expected = export_released(module)
    given = official_part(state_dict, expected)
    left_out = len(state_dict) - len(given)
    live = {name: tensor for name, tensor in expected.items() if _kind(name) in _STATISTICS}
    if live and not any(name in given for name in live):
        fresh = {n: torch.full(t.shape, float(n.endswith("_var"))) for n, t in live.items()}
        given = given | fresh
    counters = [name for name in expected if _kind(name) == _COUNTER]
    given = dict.fromkeys(counters, torch.tensor(0)) | given
    refuse_misfit(expected, given, source, type(module).__name__)
    return given, left_out


def export_released(module: nn.Module) -> dict[str, Tensor]:
    """The inverse of `load_released`: the module's tensors by official name."""
    state = module.state_dict()
    backbone = getattr(module, "backbone", None)
    if isinstance(backbone, UniRGBIRBackbone):  # a whole detector
        own = {n: t for n, t in state.items() if not n.startswith(_BACKBONE)}
        return own | {f"{_BACKBONE}{n}": t for n, t in export_released(backbone).items()}
    if not isinstance(module, UniRGBIRBackbone):
        return state
    vit = {n.removeprefix("vit."): t for n, t in state.items() if n.startswith("vit.")}
    return to_official(vit) | {n: t for n, t in state.items() if not n.startswith("vit.")}


def without_wrapper(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without the ``module.`` that DataParallel and DDP put in front of all of them."""
    prefix = "module."
    wrapped = all(name.startswith(prefix) for name in state)
    return {name.removeprefix(prefix) if wrapped else name: t for name, t in state.items()}


def official_part(state: Mapping[str, Tensor], expected: Mapping[str, object]) -> dict[str, Tensor]:
    """The tensors of one part of a model, whose place in the whole is taken off their names.

    Args:
        state: tensors by name, of the part or of a whole model.
        expected: names that the part has.

    Returns:
        Those below the prefix that leads to the most expected names; all of them without one.
    """
    found = dict(state)
    while True:
        inside = {
            prefix: {n.removeprefix(prefix): t for n, t in found.items() if n.startswith(prefix)}
            for prefix in _PREFIXES
            if any(name.startswith(prefix) for name in found)
        }
        if not inside or any(name in expected for name in found):
            return found
        found = max(inside.values(), key=lambda part: len(part.keys() & expected.keys()))


def _own_names(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    backbone = getattr(module, "backbone", None)
    if isinstance(backbone, UniRGBIRBackbone):
        own = {n: t for n, t in state.items() if not n.startswith(_BACKBONE)}
        inner = {n.removeprefix(_BACKBONE): t for n, t in state.items() if n not in own}
        return own | {f"{_BACKBONE}{n}": t for n, t in _own_names(backbone, inner).items()}
    if not isinstance(module, UniRGBIRBackbone):
        return dict(state)
    own = {n: t for n, t in state.items() if n.startswith("adapter_")}
    vit = from_official({n: t for n, t in state.items() if not n.startswith("adapter_")})
    return own | {f"vit.{name}": tensor for name, tensor in vit.items()}


def _kind(name: str) -> str:
    return name.rpartition(".")[2]
