"""The rules by which the paper sheet's test vectors were made, and the tiny backbone of it."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rgbx.models.unirgb_ir import UniRGBIRBackbone, export_released, load_released


def wave(shape: tuple[int, ...], start: float, scale: float = 1.0) -> Tensor:
    """Element i is scale * sin(0.7 i + start)."""
    steps = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(0.7 * steps + start)).view(shape).float()


def seed(name: str) -> float:
    return 0.01 * (sum(map(ord, name)) % 1000)


def filled(module: nn.Module) -> dict[str, Tensor]:
    """Parameters by official name: base + 0.2 sin(0.7 i + seed(name)), base 1 for norm weights."""
    state = export_released(module)
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    return {
        name: wave(tuple(tensor.shape), seed(name), 0.2) + float(_is_norm_weight(name, state))
        for name, tensor in state.items()
        if not name.endswith(buffers)
    }


def fill(module: nn.Module) -> nn.Module:
    """The module with the rule's parameters, in eval mode."""
    load_released(module, filled(module))
    return module.eval()


def tiny_backbone(**options: object) -> UniRGBIRBackbone:
    """The sheet's, section 8; not filled."""
    settings = {
        "dim": 24,
        "depth": 8,
        "num_heads": 4,
        "img_size": 64,
        "pretrain_img_size": 32,
        "window_size": 3,
        "global_blocks": (1, 3, 5, 7),
        "num_stages": 4,
        "conv_dim": 8,
        "deform_heads": 6,
        "deform_points": 4,
        "deform_ratio": 0.5,
    }
    return UniRGBIRBackbone(**(settings | options))


def check(
    found: Tensor, total: float, mean_abs: float, first: list[float], last: list[float]
) -> None:
    """Compare with a row of section 8: rtol 1e-4, atol 1e-5 per element; sums to their digits."""
    flat = found.detach().double().flatten()
    ends = torch.cat([flat[: len(first)], flat[len(flat) - len(last) :]])
    expected = torch.tensor([*first, *last], dtype=torch.float64)
    torch.testing.assert_close(ends, expected, rtol=1e-4, atol=1e-5)
    assert abs(float(flat.sum()) - total) < 1e-4 * abs(total) + 1e-4
    assert abs(float(flat.abs().mean()) - mean_abs) < 1e-5 * mean_abs + 1e-6


def _is_norm_weight(name: str, state: Mapping[str, Tensor]) -> bool:
    """LayerNorm's and BatchNorm's weights are the only ones with one dimension, next to gamma."""
    return name.endswith(".weight") and state[name].ndim == 1
