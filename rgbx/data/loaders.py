"""Loaders of a data set's samples."""

import warnings
from typing import Any

import torch
from torch.utils.data import DataLoader

from rgbx.data.dataset import Batch, RGBXDataset, collate
from rgbx.data.resume import Position
from rgbx.data.sampler import SeededSampler

__all__ = ["ordered_loader", "training_loader"]


def training_loader(
    dataset: RGBXDataset,
    batch_size: int,
    workers: int,
    seed: int,
    drop_last: bool = True,
    position: Position | None = None,
) -> DataLoader[Batch]:
    """Shuffled.

    Args:
        dataset: what to load.
        batch_size: samples per process and step.
        workers: reading processes.
        seed: of the order.
        drop_last: leave out the last, shorter batch, unless it is the only one.
        position: where an interrupted training goes on; None to start at the beginning.
    """
    sampler = SeededSampler(dataset, seed)
    drop = drop_last and sampler.total_size > batch_size * sampler.num_replicas
    if drop:
        sampler = SeededSampler(dataset, seed, drop_last=True)
    if position is not None:
        sampler.start(position.epoch, position.seen)
    # Lightning knows one way to resume a loader, and warns of all others.
    warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended")
    return ordered_loader(dataset, batch_size, workers, sampler=sampler, drop_last=drop)


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
