"""The order of training samples and the seed of each, independent of the number of processes."""

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch.distributed as dist
from lightning.pytorch import Trainer
from lightning.pytorch.loops.progress import _ProcessedTracker
from torch.utils.data import Dataset, DistributedSampler

__all__ = ["SeededSampler", "resume_position", "sample_seed"]


def sample_seed(seed: int, epoch: int, index: int) -> int:
    """Seed of one sample's augmentation in one epoch: 32 bits, a pure function of the three."""
    return int(np.random.SeedSequence([seed, epoch, index]).generate_state(1)[0])


class SeededSampler(DistributedSampler[tuple[int, int]]):
    """Yields ``(index, seed)`` in an order that is a pure function of (seed, epoch).

    Rank r of w takes positions r, r + w, r + 2w, ... of the epoch's order, so that w processes
    with batches of b see exactly the global batches of one process with batches of w * b. As a
    subclass of ``DistributedSampler`` Lightning neither replaces it nor forgets its epoch. No
    global random generator is read.

    Args:
        dataset: only its length counts.
        seed: of the run.
        drop_last: leave out the samples that would not fill all ranks; else the first ones of the
            order are repeated to fill them.
        num_replicas: number of processes; taken from ``torch.distributed`` by default.
        rank: of this process; taken from ``torch.distributed`` by default.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        seed: int,
        drop_last: bool = False,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        running = dist.is_available() and dist.is_initialized()
        world = num_replicas or (dist.get_world_size() if running else 1)
        place = rank if rank is not None else (dist.get_rank() if running else 0)
        super().__init__(dataset, world, place, shuffle=True, seed=seed, drop_last=drop_last)
        self._samples = len(dataset)  # type: ignore[arg-type]  # map-style data sets have a length
        self._resume = (-1, 0)

    def resume_at(self, epoch: int, position: int) -> None:
        """Leave out the first `position` samples of this rank in `epoch` (and no other epoch).

        The length stays that of a whole epoch: Lightning restores its batch counter itself and
        stops at the usual number.
        """
        self.set_epoch(epoch)
        self._resume = (epoch, position)

    def order(self) -> list[int]:
        """The epoch's indices over all ranks, filled or cut to a multiple of the ranks."""
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self._samples)
        return np.resize(order, self.total_size).tolist()

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (index, seed) of this rank's samples."""
        skip = self._resume[1] if self.epoch == self._resume[0] else 0
        mine = self.order()[self.rank :: self.num_replicas][skip:]
        return iter([(index, sample_seed(self.seed, self.epoch, index)) for index in mine])


def resume_position(trainer: Trainer, batches: int) -> tuple[int, int]:
    """Where training goes on: the epoch and the batch within it.

    Lightning restores its counters from a checkpoint but not the position of the loader, and with
    worker processes the loader starts fetching before Lightning sets the sampler's epoch. Both are
    therefore read from the restored counters here.

    Args:
        trainer: that asks for the training loader.
        batches: of a whole epoch on this rank.

    Returns:
        (epoch, number of its batches that are already done); (epoch, 0) unless training is being
        resumed in the middle of an epoch.
    """
    loop = trainer.fit_loop
    epoch = cast(_ProcessedTracker, loop.epoch_progress.current).processed
    if not loop.restarting:
        return epoch, 0
    limit = trainer.limit_train_batches
    if limit is not None:
        batches = min(batches, limit if isinstance(limit, int) else int(batches * limit))
    progress = loop.epoch_loop.batch_progress
    total = cast(_ProcessedTracker, progress.total)
    # Checkpoints written at the end of a batch are saved just before it is counted as completed;
    # Lightning makes up for it when it restarts, with this same test.
    saved_at_batch_end = total.ready == total.started == total.processed == total.completed + 1
    done = progress.current.completed + int(saved_at_batch_end)
    return (epoch, done) if done < batches else (epoch + 1, 0)
