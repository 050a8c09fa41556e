"""A small module with three losses that conflict; two processes train it as well."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from rgbx.optim import GradientSurgery


class Toy(GradientSurgery, LightningModule):
    groups: ClassVar = {"body": ("body", ("a", "b", "c")), "head": ("head", ("a", "b", "c"))}
    compared_groups = ("body", "head")

    def __init__(self, lr: float = 1e-2) -> None:
        super().__init__()
        self.lr = lr
        self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

    def training_losses(self, batch):
        prediction = self.head(self.body(batch[0]).tanh())
        return {n: ((prediction[:, i] - batch[1][:, i]) ** 2).mean() for i, n in enumerate("abc")}

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), self.lr)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


class Uneven(Toy):
    """The loss `b` rests on the process of rank 1, and ranks see other values of a metric.

    One process alone sees both halves of a batch: even rows are rank 0's.
    """

    def training_losses(self, batch):
        losses = super().training_losses(batch)
        if self.trainer.world_size == 1:
            mine = super().training_losses([part[::2] for part in batch])
            return losses | {"b": mine["b"] / 2}
        return losses | {"b": 0.0} if self.global_rank else losses

    def on_train_batch_end(self, *_):
        rising, falling = 1.0 + self.current_epoch, 1.0 - 3 * self.current_epoch
        alone = self.trainer.world_size == 1
        value = (rising + falling) / 2 if alone else (rising, falling)[self.global_rank]
        self.log("val/x", value, on_step=False, on_epoch=True)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), self.lr)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=0)
        return {"optimizer": optimizer, "lr_scheduler": schedule, "monitor": "val/x"}


def data(count: int = 40) -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 4, generator=generator)
    y = x @ torch.tensor([[1.0, -1, 0], [0, 1, -1], [2, -2, 1], [0, 0.5, -0.5]])
    return TensorDataset(x, y)


def loader(batch: int = 8, count: int = 40) -> DataLoader:
    return DataLoader(data(count), batch, drop_last=False)


def trainer(folder: Path, **options) -> Trainer:
    quiet = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "default_root_dir": folder,
    }
    return Trainer(**(quiet | {"max_epochs": 2} | options))


def vector(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def train_ranks(out: Path, options: list[dict[str, Any]]) -> None:
    """Train by two processes, once for each of the options; every rank writes its parameters."""
    for index, wanted in enumerate(options):
        seed_everything(0)
        module = Uneven() if wanted["uneven"] else Toy()
        module.accumulate, module.clip = wanted["accumulate"], wanted["clip"]
        run = trainer(
            out,
            devices=2,
            strategy="ddp",
            use_distributed_sampler=False,
            max_epochs=wanted["epochs"],
        )
        dataset = data(wanted["count"])
        sampler = DistributedSampler(dataset, 2, run.global_rank, shuffle=False)
        run.fit(module, DataLoader(dataset, 4, sampler=sampler))
        found = {"vector": vector(module), "steps": run.global_step}
        torch.save(found, out / f"{run.global_rank}_{index}.pt")
