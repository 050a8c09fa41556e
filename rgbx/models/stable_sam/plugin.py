"""Stable-SAM's plug-in: which image features the prompt tokens see (sections 3.2 and 3.3)."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rgbx.errors import RGBXError
from rgbx.models.stable_sam.sampling import DSP, Amp, Border, Init, SpatialAttention, resample

__all__ = ["DRP", "DspKind", "Plugin", "PluginLayer", "Routing"]

DspKind: TypeAlias = Literal["deform", "spatial_attention", "none"]


class Routing(NamedTuple):
    """What one layer of the plug-in did to N prompts.

    Attributes:
        features: (N,C,H,W), seen by the attention as values, and as keys with `position` added.
        position: encoding added to the keys, (1,C,H,W) or (N,C,H,W).
        offsets: (N,2,H,W) in cells of the grid, x then y; None where nothing is moved.
        alpha: (N,2) weights of the re-sampled and of the original features; None without DRP.
    """

    features: Tensor
    position: Tensor
    offsets: Tensor | None
    alpha: Tensor | None


class DRP(nn.Module):
    """Dynamic routing plug-in: how much of the re-sampled and of the original features.

    ``alpha = s softmax(W_2 GELU(LN(W_1 t_o)))`` from the output mask token, hidden width C / 8
    (fixed by the paper's parameter count).

    Args:
        dim: width C of the token.
        init: "identity": alpha starts at (0.5, 0.5).
        learnable_scale: s is trained, from 1; otherwise it stays 1.

    Shape: (N,C) -> (N,2).
    """

    def __init__(self, dim: int, init: Init = "identity", learnable_scale: bool = True) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, dim // 8)
        self.norm = nn.LayerNorm(dim // 8)
        self.fc2 = nn.Linear(dim // 8, 2)
        self.scale = nn.Parameter(torch.ones(())) if learnable_scale else None
        if init == "identity":
            nn.init.zeros_(self.fc2.weight)
            nn.init.zeros_(self.fc2.bias)

    def forward(self, token: Tensor) -> Tensor:
        """Routing weights."""
        weights = self.fc2(F.gelu(self.norm(self.fc1(token)))).softmax(-1)
        return weights if self.scale is None else weights * self.scale


class PluginLayer(nn.Module):
    """DSP and DRP of one decoder layer.

    Args:
        dim: channels of the decoder.
        dsp_kind: what makes x* of x: `DSP`, `SpatialAttention`, or nothing.
        use_drp: blend x* and x by `DRP`; without it x* alone is seen.
        max_offset: see `DSP`, as `amp`.
        amp: see there.
        border: see `resample`.
        resample_pe: the keys' position encoding moves with the features.
        init: see `DSP` and `DRP`.
        learnable_scale: see `DRP`.
    """

    def __init__(
        self,
        dim: int,
        dsp_kind: DspKind = "deform",
        use_drp: bool = True,
        max_offset: float = 5.0,
        amp: Amp = "project",
        border: Border = "clamp",
        resample_pe: bool = False,
        init: Init = "identity",
        learnable_scale: bool = True,
    ) -> None:
        super().__init__()
        self.border = border
        self.resample_pe = resample_pe
        self.dsp: DSP | SpatialAttention | None = None
        if dsp_kind == "deform":
            self.dsp = DSP(dim, max_offset, amp, init)
        elif dsp_kind == "spatial_attention":
            self.dsp = SpatialAttention(init)
        self.drp = DRP(dim, init, learnable_scale) if use_drp else None

    def forward(self, features: Tensor, token: Tensor, position: Tensor) -> Routing:
        """Blend re-sampled and original features.

        Args:
            features: x_p (N,C,H,W), or (1,C,H,W) where all prompts share it.
            token: t_o (N,C), the output mask token after self-attention and norm.
            position: (1,C,H,W) encoding of the grid.

        Returns:
            What the token-to-image attention is to see.
        """
        seen, offsets, moved = features, None, position
        if isinstance(self.dsp, DSP):
            seen, offsets = self.dsp(features)
            seen = resample(seen, offsets, self.border)
            if self.resample_pe:
                pe = position.expand(offsets.shape[0], -1, -1, -1)
                moved = resample(pe, offsets, self.border)
        elif self.dsp is not None:
            seen = self.dsp(features)
        if self.drp is None:
            return Routing(seen, moved, offsets, None)
        alpha = self.drp(token)
        if moved is not position:
            moved = _blend(alpha, moved, position)
        return Routing(_blend(alpha, seen, features), moved, offsets, alpha)


def _blend(alpha: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """alpha_1 first + alpha_2 second, with alpha (N,2)."""
    weights = alpha[:, :, None, None, None].unbind(1)
    part = weights[0] * first
    return torch.addcmul(part, weights[1].to(part.dtype), second.to(part.dtype))


class Plugin(nn.Module):
    """The trained part of Stable-SAM: one `PluginLayer` for each chosen decoder layer.

    It holds no part of SAM; `rgbx.models.stable_sam.attach` brings the two together.

    Args:
        dim: channels of SAM's decoder (256 in the published sizes: 81,829 parameters).
        layers: indexes of decoder layers; the paper has the second alone, (1,).
        dsp_kind: see `PluginLayer`, as the following.
        use_drp: see there.
        max_offset: see there.
        amp: see there.
        border: see there.
        resample_pe: see there.
        init: see there.
        learnable_scale: see there.

    Raises:
        RGBXError: an option has a value that cannot work.
    """

    def __init__(
        self,
        dim: int = 256,
        layers: Sequence[int] = (1,),
        dsp_kind: DspKind = "deform",
        use_drp: bool = True,
        max_offset: float = 5.0,
        amp: Amp = "project",
        border: Border = "clamp",
        resample_pe: bool = False,
        init: Init = "identity",
        learnable_scale: bool = True,
    ) -> None:
        super().__init__()
        _refuse_unknown(dsp_kind=dsp_kind, amp=amp, border=border, init=init)
        if not layers or len(set(layers)) < len(layers):
            raise RGBXError(f"layers is {list(layers)}: name each decoder layer once, e.g. [1].")
        if not max_offset > 0:
            raise RGBXError(f"max_offset is {max_offset}: give the largest offset in cells, > 0.")
        if dsp_kind == "none" and not use_drp:
            raise RGBXError(
                "Without DSP and DRP there is no plug-in to train: keep one of them, or set "
                "`train` to decoder or token."
            )
        self.layers = nn.ModuleDict(
            {
                str(index): PluginLayer(
                    dim,
                    dsp_kind,
                    use_drp,
                    max_offset,
                    amp,
                    border,
                    resample_pe,
                    init,
                    learnable_scale,
                )
                for index in layers
            }
        )


_CHOICES = {
    "dsp_kind": ("deform", "spatial_attention", "none"),
    "amp": ("project", "gate"),
    "border": ("clamp", "zeros"),
    "init": ("identity", "default"),
}


def _refuse_unknown(**given: str) -> None:
    for name, value in given.items():
        if value not in _CHOICES[name]:
            raise RGBXError(f"{name} is {value!r}: choose {' or '.join(_CHOICES[name])}.")
