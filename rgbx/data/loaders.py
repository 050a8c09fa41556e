"""Loaders of a data set's samples."""

import warnings
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from rgbx.data.dataset import Batch, RGBXDataset, collate
from rgbx.data.sampler import SeededSampler, resume_position

__all__ = ["ordered_loader", "training_loader"]


def training_loader(
    dataset: RGBXDataset, batch_size: int, workers: int, seed: int, trainer: Trainer | None
) -> DataLoader[Batch]:
    """Shuffled; the last, shorter batch is dropped unless it is the only one.

    Args:
        dataset: what to load.
        batch_size: samples per process and step.
        workers: reading processes.
        seed: of the order.
        trainer: says how far an interrupted epoch got; None to start at its beginning.
    """
    sampler = SeededSampler(dataset, seed)
    drop = sampler.total_size > batch_size * sampler.num_replicas
    if drop:
        sampler = SeededSampler(dataset, seed, drop_last=True)
    loader = ordered_loader(dataset, batch_size, workers, sampler=sampler, drop_last=drop)
    if trainer is not None:
        place = partial(resume_position, trainer, len(loader))
        sampler.resume_at(place, batch_size)
        # Lightning knows one way to resume a loader, and warns of all others.
        warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended")
    return loader


def ordered_loader(
    dataset: RGBXDataset,
    batch_size: int,
    workers: int,
    sampler: SeededSampler | None = None,
    drop_last: bool = False,
) -> DataLoader[Batch]:
    """In the order of the records, or of a sampler.

    Args:
        dataset: what to load.
        batch_size: samples per process and step.
        workers: reading processes.
        sampler: gives another order.
        drop_last: leave out a last batch that is shorter.
    """
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=drop_last,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
    )
    return loader
