"""The plain ViT of published files: official tensor names, and which file holds what."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from rgbx.backbones.init import randomise, smooth_filters
from rgbx.backbones.vit import ViT, join_qkv, split_qkv
from rgbx.backbones.weights import refuse_misfit
from rgbx.errors import WeightsError

__all__ = [
    "from_official",
    "load_plain",
    "plain_kind",
    "randomise_plain",
    "refuse_size",
    "to_official",
]

_VITDET = "backbone.net."
#: our layer of an MLP -> the official one
_MLP = {".mlp.lin1.": ".mlp.fc1.", ".mlp.lin2.": ".mlp.fc2."}
#: what a MAE file holds next to the encoder's blocks
_MAE_REST = ("cls_token", "mask_token", "norm.", "decoder_")

PlainKind = Literal["ViTDet", "plain ViT"]


def to_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a `ViT` in the names of timm, MAE and ViTDet: fused `qkv`, `fc1`, `fc2`."""
    return {_renamed(name, _MLP): tensor for name, tensor in join_qkv(state).items()}


def from_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of `to_official`; `q`, `k` and `v` are views of the fused tensors."""
    back = {official: own for own, official in _MLP.items()}
    return {_renamed(name, back): tensor for name, tensor in split_qkv(state).items()}


def plain_kind(state: Mapping[str, object]) -> PlainKind | None:
    """What a file with these tensor names is, as far as `load_plain` takes it.

    Returns:
        "ViTDet" for a detector of Detectron2, "plain ViT" for MAE's encoder or a bare one, None
        for anything else.
    """
    if f"{_VITDET}patch_embed.proj.weight" in state:
        return "ViTDet"
    return "plain ViT" if "patch_embed.proj.weight" in state else None


def load_plain(vit: ViT, state: Mapping[str, Tensor], source: str) -> int:
    """Fill a ViT with a class row and without neck from a published file.

    Of a ViTDet detector the tensors below `backbone.net.` are taken, without their relative
    tables; of a MAE file all but class token, final norm and decoder. Nothing else may be missing
    or left over. The ViT's own relative tables keep their values.

    Args:
        vit: receives the values.
        state: of a kind that `plain_kind` knows.
        source: where it comes from, for the message.

    Returns:
        How many tensors were left out.

    Raises:
        WeightsError: another size, or tensors are missing, unexpected or of another shape.
    """
    if plain_kind(state) == "ViTDet":
        inside = {n.removeprefix(_VITDET): t for n, t in state.items() if n.startswith(_VITDET)}
        given = {name: tensor for name, tensor in inside.items() if ".rel_pos_" not in name}
    else:
        given = {name: t for name, t in state.items() if not name.startswith(_MAE_REST)}
    refuse_size(vit, given, source)
    own = to_official(vit.state_dict())
    tables = {name: tensor for name, tensor in own.items() if ".rel_pos_" in name}
    expected = {name: tensor for name, tensor in own.items() if name not in tables}
    refuse_misfit(expected, given, source, type(vit).__name__)
    vit.load_state_dict(from_official(tables | given))
    return len(state) - len(given)


def refuse_size(vit: ViT, state: Mapping[str, Tensor], source: str) -> None:
    """Refuse a ViT of another width or depth in one sentence, before the long list of tensors.

    Args:
        vit: what is to be filled.
        state: tensors by official name, without any prefix.
        source: where they come from, for the message.

    Raises:
        WeightsError: another width, or another number of blocks.
    """
    dim = state["patch_embed.proj.weight"].shape[0]
    depth = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
    if (dim, depth) != (vit.config.dim, vit.config.depth):
        raise WeightsError(
            f"{source} holds a ViT of width {dim} with {depth} blocks, but this encoder has width "
            f"{vit.config.dim} and {vit.config.depth} blocks: give the file of that size."
        )


def randomise_plain(vit: ViT) -> None:
    """Portable random weights (`rgbx.backbones.init`) behind which something can be learnt.

    The relative tables stay zero, as they start when weights are loaded.
    """
    randomise(vit)
    smooth_filters(vit.patch_embed.proj)
    with torch.no_grad():
        for name, parameter in vit.named_parameters():
            if "rel_pos" in name:
                parameter.zero_()


def _renamed(name: str, parts: Mapping[str, str]) -> str:
    for old, new in parts.items():
        name = name.replace(old, new)
    return name
