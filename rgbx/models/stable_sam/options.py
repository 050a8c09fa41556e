"""Stable-SAM's options in groups."""

from dataclasses import dataclass, field

from rgbx.models.stable_sam.plugin import DspKind
from rgbx.models.stable_sam.sampling import Amp, Border, Init

__all__ = ["PluginConfig"]


@dataclass(frozen=True)
class PluginConfig:
    """What the plug-in on SAM's mask decoder is made of.

    Args:
        use_dsp: deformable sampling; False is the same as ``dsp_kind: none``.
        use_drp: dynamic routing; without it the re-sampled features replace the original ones.
        dsp_kind: ``deform`` (the paper), ``spatial_attention`` (Table 11), or ``none``.
        layers: decoder layers with a plug-in each; the paper has the second, [1].
        amp: ``project`` (the paper's figure), or ``gate``, features times 1 + convolution.
        max_offset: s_p, the largest offset in cells of the embedding (16 pixels each).
        border: samples outside the image: ``clamp`` to its border, or ``zeros``.
        resample_pe: the keys' position encoding moves with the features.
        init: ``identity`` starts as SAM; ``default`` is the framework's.
        learnable_scale: train s, the factor of the routing weights; otherwise it stays 1.
    """

    use_dsp: bool = True
    use_drp: bool = True
    dsp_kind: DspKind = "deform"
    layers: list[int] = field(default_factory=lambda: [1])
    amp: Amp = "project"
    max_offset: float = 5.0
    border: Border = "clamp"
    resample_pe: bool = False
    init: Init = "identity"
    learnable_scale: bool = True
