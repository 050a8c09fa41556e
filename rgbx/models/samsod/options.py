"""SAMSOD's options in groups."""

from dataclasses import dataclass

from rgbx.blocks.adapters import Gate

__all__ = ["AdapterConfig"]


@dataclass(frozen=True)
class AdapterConfig:
    """What the adapters in SAM 2's encoder are made of.

    Args:
        width: bottleneck of the adapters, d_hat in Eq. 22.
        gate: ``released`` (two gates per adapter, one sets k, the other weighs the outputs, as the
            authors' code) or ``paper`` (one, which sets k alone: Eq. 21).
        scale: factor of the adapters' outputs, above 0; the authors' code has 0.5, Eq. 18 and 21
            have none (1).
        alpha_foreground: alpha_for in Eq. 22: share of activations, in [0, 1], that the decoupled
            adapter's foreground keeps at least.
        alpha_background: alpha_back in Eq. 22, the same of the background.
        beta: beta in Eq. 22: how much the gate can add to both shares; alpha + beta is at most 1.
    """

    width: int = 32
    gate: Gate = "released"
    scale: float = 0.5
    alpha_foreground: float = 0.45
    alpha_background: float = 0.35
    beta: float = 0.1
