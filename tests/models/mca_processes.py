"""Two steps of MCA-SAM on four images; also taken by one of two processes."""

import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from rgbx.models.mca_sam import module
from tests.models.mca_toy import batch, model

OPTIONS = {
    "camouflage": {"projection": True},
    "shadow": {"task": "shadow", "queue": 6},
    "foreground": {"sample_pool": "foreground", "branching": "shared", "contrast_layers": [1, 3]},
}
FORMS = 4


class Losses(nn.Module):
    def __init__(self, ours: nn.Module) -> None:
        super().__init__()
        self.ours = ours

    def forward(self, data: dict) -> dict:
        return self.ours.measured_losses(data)[0]


def two_steps(options: str, rank: int, world: int) -> list[dict]:
    """Losses and gradients of two batches of four images, spread over the processes."""
    before, module.colour_view = module.colour_view, lambda rgb, mean, std: rgb.flip(1)
    try:
        ours = Losses(model(**OPTIONS[options]).double().train())
        wrapped = DistributedDataParallel(ours) if world > 1 else ours
        return [_step(wrapped, ours, batch(FORMS, seed=seed), rank, world) for seed in (0, 1)]
    finally:
        module.colour_view = before


def _step(wrapped: nn.Module, ours: nn.Module, whole: dict, rank: int, world: int) -> dict:
    part = {k: v[rank::world] for k, v in whole.items()}
    ours.zero_grad()
    losses = wrapped(part | {"rgb": part["rgb"].double()})
    sum(losses.values()).backward()
    return {
        "losses": {k: v.detach() for k, v in losses.items()},
        "grads": {n: p.grad.clone() for n, p in ours.named_parameters() if p.requires_grad},
    }


def both_steps(folder: Path) -> None:
    """Write what this rank finds, for every set of options."""
    number = int(os.environ["LOCAL_RANK"])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=number, world_size=2)
    found = {name: two_steps(name, number, 2) for name in OPTIONS}
    torch.save(found, folder / f"{number}.pt")
    dist.destroy_process_group()
