"""A SAM whose decoder is the real one (256 channels, two layers) behind a toy encoder."""

import dataclasses

import torch

from rgbx.backbones.init import randomise
from rgbx.backbones.sam import SAM, SAM_PRESETS

TOY = dataclasses.replace(
    SAM_PRESETS["vit_b"], dim=64, depth=2, heads=2, global_blocks=(1,), pretrain_size=256
)


def toy_sam() -> SAM:
    sam = SAM(TOY).eval()
    randomise(sam)
    return sam


def box(*corners: float) -> dict:
    return {"kind": "box", "box": torch.tensor(corners)}


def points(*places: tuple[float, float], labels: tuple[int, ...] | None = None) -> dict:
    marks = torch.tensor(labels or (1,) * len(places))
    return {"kind": "points", "points": torch.tensor(places), "labels": marks}


def coarse(height: int, width: int, seed: int = 0) -> dict:
    noise = torch.rand(1, height, width, generator=torch.Generator().manual_seed(seed))
    return {"kind": "coarse_mask", "mask": torch.where(noise > 0.5, 255.0, 0.0)}


def all_forms(height: int = 256, width: int = 256) -> list[dict]:
    """Every form that reaches the decoder in its own way, mixed."""
    return [
        box(0.1 * width, 0.2 * height, 0.5 * width, 0.8 * height),
        points((0.2 * width, 0.3 * height)),
        coarse(height // 4, width // 4),
        points((0.2 * width, 0.3 * height), (0.7 * width, 0.5 * height), labels=(1, 0)),
        box(0.3 * width, 0.3 * height, 0.9 * width, 0.9 * height),
        points((0.8 * width, 0.1 * height)),
        coarse(height // 4, width // 4, seed=1),
    ]


def moved(plugin: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """With every parameter away from where it starts, so that everything has an effect."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in plugin.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return plugin
