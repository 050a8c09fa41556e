"""The order of training samples and the seed of each, independent of the number of processes."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import torch.distributed as dist
from lightning.pytorch import Trainer
from lightning.pytorch.loops.progress import _ProcessedTracker
from torch.utils.data import Dataset, DistributedSampler

__all__ = ["Position", "SeededSampler", "resume_position", "sample_seed"]


def sample_seed(seed: int, epoch: int, index: int) -> int:
    """Seed of one sample's augmentation in one epoch: 32 bits, a pure function of the three."""
    return int(np.random.SeedSequence([seed, epoch, index]).generate_state(1)[0])


class Position(NamedTuple):
    """Where training goes on.

    Args:
        epoch: number of whole epochs that were trained.
        batches: number of batches of the next one that were trained, on this rank.
        shift: what Lightning's number of the next epoch is ahead of `epoch`.
    """

    epoch: int
    batches: int
    shift: int


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
        self._resume: Callable[[], Position] | None = None
        self._batch_size = 1
        self._shift = 0

    def resume_at(self, place: Callable[[], Position], batch_size: int) -> None:
        """Start where training stopped; later epochs are whole.

        The length stays that of a whole epoch: Lightning restores its batch counter itself and
        stops at the usual number.

        Args:
            place: asked when the first pass begins, not before: a model that counts its steps for
                a schedule has the loader made before Lightning restores the counters.
            batch_size: samples per batch on this rank.
        """
        self._resume = place
        self._batch_size = batch_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the order, by Lightning's number of the epoch."""
        self.epoch = epoch - self._shift

    def order(self) -> list[int]:
        """The epoch's indices over all ranks, filled or cut to a multiple of the ranks."""
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self._samples)
        return np.resize(order, self.total_size).tolist()

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (index, seed) of this rank's samples."""
        skip = 0
        if self._resume is not None:
            position = self._resume()
            self._resume = None
            self.epoch, self._shift = position.epoch, position.shift
            skip = position.batches * self._batch_size
        mine = self.order()[self.rank :: self.num_replicas][skip:]
        return iter([(index, sample_seed(self.seed, self.epoch, index)) for index in mine])


def resume_position(trainer: Trainer, batches: int) -> Position:
    """Find the place in the data at which Lightning resumes.

    Lightning restores its counters from a checkpoint but not the position of the loader, and with
    worker processes the loader starts fetching before Lightning sets the sampler's epoch. Both are
    therefore read from the restored counters here. With ``max_steps``, Lightning also runs an
    empty epoch after an end-of-epoch checkpoint and counts it; `Position.shift` takes that out.

    Args:
        trainer: that asks for the training loader.
        batches: of a whole epoch on this rank.
    """
    limit = trainer.limit_train_batches
    if limit is not None:
        batches = min(batches, limit if isinstance(limit, int) else int(batches * limit))
    loop = trainer.fit_loop
    numbered = cast(_ProcessedTracker, loop.epoch_progress.current).processed
    progress = loop.epoch_loop.batch_progress
    total = cast(_ProcessedTracker, progress.total)
    # Checkpoints written at the end of a batch are saved just before it is counted as completed;
    # Lightning makes up for it when it restarts, with this same test.
    late = int(total.ready == total.started == total.processed == total.completed + 1)
    epoch = (total.completed + late) // max(batches, 1)
    if not loop.restarting:
        return Position(epoch, 0, numbered - epoch)
    done = progress.current.completed + late
    if done < batches:
        return Position(epoch, done, numbered - epoch)
    return Position(epoch, 0, numbered + 1 - epoch)
