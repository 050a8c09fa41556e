"""The order of training samples and the seed of each, independent of the number of processes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch.distributed as dist
from torch.utils.data import Dataset, DistributedSampler

__all__ = ["SeededSampler", "sample_seed"]


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
        self._begun = (0, 0)

    def start(self, epoch: int, seen: int) -> None:
        """Go on in an epoch of which some samples were trained; all other epochs are whole.

        The length stays that of a whole epoch: Lightning restores its batch counter itself and
        stops at the usual number. Passes over the data may begin at any time and more than once:
        loaders with workers begin as soon as somebody asks how many steps there are.

        Args:
            epoch: number of whole epochs that were trained.
            seen: samples of this epoch's order that were trained, over all ranks.
        """
        self._begun = (epoch, seen)
        self.epoch = epoch

    def order(self) -> list[int]:
        """The epoch's indices over all ranks, filled or cut to a multiple of the ranks."""
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self._samples)
        return np.resize(order, self.total_size).tolist()

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (index, seed) of this rank's samples."""
        epoch, seen = self._begun
        rest = self.order()[seen if epoch == self.epoch else 0 :]
        short = len(rest) % self.num_replicas  # after a resume with another number of ranks
        if short and self.drop_last:
            rest = rest[:-short]
        elif short:
            rest = np.resize(rest, len(rest) - short + self.num_replicas).tolist()
        mine = rest[self.rank :: self.num_replicas]
        return iter([(index, sample_seed(self.seed, self.epoch, index)) for index in mine])
