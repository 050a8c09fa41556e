"""The authors' released SAMSOD file, turned into a self-contained rgbx checkpoint."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import lightning
import torch
from torch import Tensor

from rgbx.backbones.sam2 import VIDEO_PARTS, fitting_preset, sam2_preset
from rgbx.backbones.weights import Weights, fitting, read_state, refuse_misfit
from rgbx.checkpoints.trained import AtomicCheckpointIO, identity
from rgbx.errors import WeightsError
from rgbx.models.samsod.module import SAMSOD

__all__ = ["Conversion", "convert_released", "match_released"]

#: our name of a part of SAM 2 -> the released one
_SAM2_PARTS = {
    "image_encoder.": "model.image_encoder.",
    "prompt_encoder.": "model.sam_prompt_encoder.",
    "decoder.": "model.sam_mask_decoder.",
    "no_mem_embed": "model.no_mem_embed",
}
#: the same inside an adapter
_ADAPTER_PARTS = {
    "k_gate": "router.0",
    "gate": "router_2.0",
    "foreground.down": "adaptmlp.down_proj",
    "foreground.up": "adaptmlp.up_proj",
    "background.down": "adaptmlp1.down_proj",
    "background.up": "adaptmlp1.up_proj",
}
#: what the authors' code shows the network: ImageNet's numbers for RGB, X in [0, 1] as it is
_INPUT = {
    "size": [512, 512],
    "resize": "pil",
    "rgb_mean": [0.485, 0.456, 0.406],
    "rgb_std": [0.229, 0.224, 0.225],
    "x_mean": 0.0,
    "x_std": 1.0,
    "blank": None,
    "blank_with": "mean",
    "binary": True,
}
_STREAMS = {"rgb_adapters": "rgb", "x_adapters": "depth"}
_OWN_ADAPTER = re.compile(r"(rgb_adapters|x_adapters)\.(\d+)\.(.+)\.(weight|bias)")
_GROUP = re.compile(r"(rgb|depth)(\d+)(_\d+)?d?\.(\d+)\..+")


@dataclass(frozen=True)
class Conversion:
    """What was converted.

    Attributes:
        encoder: the SAM 2 preset that the file holds.
        converted: number of tensors that the checkpoint received.
        left_out: number of tensors that serve SAM 2's video memory only.
    """

    encoder: str
    converted: int
    left_out: int


def convert_released(source: Path, target: Path) -> Conversion:
    """Write a checkpoint that carries all weights of a released file, the frozen ones too.

    What the released names mean: a list of adapters per stage and stream (`rgb8_43`, and
    `depth8_43d` for X, whatever X is). In an adapter, `router` sets k and `router_2` weighs the
    outputs; output 0 of both belongs to `adaptmlp`, which keeps the largest activations
    (foreground), output 1 to `adaptmlp1`, which keeps the smallest (background).
    A leading `module.` (DataParallel) is taken off. The encoder's size is read from the shapes.

    Args:
        source: the released file, a plain state dict.
        target: the checkpoint; must not exist.

    Returns:
        What was converted.

    Raises:
        WeightsError: the file is missing, damaged or of another model; lists every tensor that is
            missing, unexpected or of another shape.
        RGBXError: the checkpoint cannot be written.
    """
    if target.exists():
        raise WeightsError(f"{target} exists already; give another name or delete it.")
    state = read_state(Weights(str(source)))
    with fitting(str(source)):
        model, names = match_released(state, str(source))
    own = model.network.state_dict()
    values = {name: state[names[name]].to(tensor.dtype) for name, tensor in own.items()}
    model.network.load_state_dict(values, assign=True)
    _save(model, target)
    return Conversion(model.hparams["encoder"], len(own), len(state) - len(own))


def match_released(state: Mapping[str, Tensor], source: str) -> tuple[SAMSOD, dict[str, str]]:
    """The model that a released state dict fits, and where its tensors are.

    Args:
        state: tensors by released name; only their shapes are looked at.
        source: where they come from, for the message.

    Returns:
        The model on the meta device, and for every tensor of its network the released name.

    Raises:
        WeightsError: see `convert_released`.
    """
    prefix = "module." if all(name.startswith("module.") for name in state) else ""
    plain = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    encoder = fitting_preset({name.removeprefix("model."): t for name, t in plain.items()})
    if encoder is None:
        raise WeightsError(
            f"{source} is no released SAMSOD file: it holds no SAM 2 trunk of a known size under "
            "`model.image_encoder.trunk`."
        )
    used = {name: t for name, t in plain.items() if not _serves_video(name)}
    with torch.device("meta"):
        model = SAMSOD(encoder=encoder)
    own = model.network.state_dict()
    names = _released_names(own, used, sam2_preset(encoder).depth)
    expected = {names[name]: tensor for name, tensor in own.items()}
    refuse_misfit(expected, used, source, f"SAMSOD with {encoder}")
    return model, {name: prefix + released for name, released in names.items()}


def _save(model: SAMSOD, target: Path) -> None:
    """What Lightning stores, with the frozen tensors as well."""
    checkpoint = {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "rgbx": identity(model) | {"data": {"inputs": _INPUT}},
    }
    AtomicCheckpointIO().save_checkpoint(checkpoint, target)


def _serves_video(name: str) -> bool:
    head, _, rest = name.partition(".")
    return head == "model" and rest.split(".")[0] in VIDEO_PARTS


def _released_names(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], depth: int
) -> dict[str, str]:
    """Our name of every tensor of the network -> its name in the released file."""
    places = {stream: _places(state, stream, depth) for stream in _STREAMS.values()}
    names = {}
    for name in own:
        match = _OWN_ADAPTER.fullmatch(name)
        if match:
            stream, block, part, kind = match.groups()
            place = places[_STREAMS[stream]][int(block)]
            names[name] = f"{place}.{_ADAPTER_PARTS[part]}.{kind}"
        else:
            head = next(head for head in _SAM2_PARTS if name.startswith(head))
            names[name] = _SAM2_PARTS[head] + name.removeprefix(head)
    return names


def _places(state: Mapping[str, Tensor], stream: str, depth: int) -> list[str]:
    """Where the adapter of every block is, such as `rgb2_7.3` for block 5.

    A group's name says its first and last block. Should these numbers not cover the trunk exactly
    (a copy for another size that kept the names), the groups follow each other by their lengths.
    """
    lengths: dict[str, int] = {}
    for match in map(_GROUP.fullmatch, state):
        if match and match[1] == stream:
            group = match[0].split(".")[0]
            lengths[group] = max(lengths.get(group, 0), int(match[4]) + 1)
    spans = {group: _span(group) for group in lengths}
    groups = sorted(lengths, key=lambda group: spans[group].start)
    if [block for group in groups for block in spans[group]] == list(range(depth)):
        lengths = {group: len(span) for group, span in spans.items()}
    places = [f"{group}.{index}" for group in groups for index in range(lengths[group])]
    return places[:depth] + [f"{stream}.{block}" for block in range(len(places), depth)]


def _span(group: str) -> range:
    """Blocks that a group's name promises: 2 to 7 for `depth2_7d`."""
    numbers = [int(number) for number in re.findall(r"\d+", group)]
    return range(numbers[0], numbers[-1] + 1)
