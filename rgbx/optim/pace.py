"""Where an optimiser step lies in a run, also after a resume with batches of another size."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from rgbx.optim.schedules import Schedule

__all__ = ["Pace", "put_settings"]


@dataclass
class Pace:
    """Counts a run in epochs and as a share of the whole, so that a schedule follows both.

    After a resume with other batches, steps are numbered as if the whole run had had today's
    steps per epoch: `ahead` is what that number is ahead of the steps that were taken.

    Args:
        steps_per_epoch: optimiser steps, >= 1.
        epochs: that end the run; -1 or None if none do.
        max_steps: optimiser steps that end it, or -1; one of the two is given.
        ahead: see above; 0 for a run that always had the same batches.
    """

    steps_per_epoch: int
    epochs: int | None
    max_steps: int
    ahead: int = 0

    def factor(self, schedule: Schedule, step: int) -> float:
        """Factor of a schedule after `step` optimiser steps of this run."""
        number = step + self.ahead
        ends = [math.inf]
        if self.epochs is not None and self.epochs >= 0:
            ends.append(self.steps_per_epoch * max(self.epochs, 1))
        if self.max_steps >= 0:  # of all steps, whatever their batches: the share is step / max
            ends.append(self.max_steps * number / step if self.ahead and step else self.max_steps)
        return schedule.factor(number, min(ends), self.steps_per_epoch)

    def state(self) -> dict[str, int]:
        """What a checkpoint has to remember."""
        return {"steps_per_epoch": self.steps_per_epoch, "ahead": self.ahead}

    def resume(self, state: Mapping[str, int], step: int, place: Any, left: int) -> None:
        """Number the steps to come from the epochs that were trained.

        Args:
            state: from the checkpoint.
            step: optimiser steps that were taken.
            place: where in the data the run goes on (its `epoch` counts whole ones); None if that
                is not known: then the share of an epoch is carried over.
            left: steps that the epoch still has, from there on.
        """
        before = state["steps_per_epoch"]
        if before == self.steps_per_epoch:
            self.ahead = state["ahead"]
        elif place is None:
            self.ahead = round((step + state["ahead"]) / before * self.steps_per_epoch) - step
        else:
            self.ahead = (place.epoch + 1) * self.steps_per_epoch - left - step


def put_settings(
    optimizer: Optimizer, scheduler: LambdaLR, groups: Sequence[Mapping[str, Any]]
) -> None:
    """Put configured settings over those that a checkpoint restored.

    Args:
        optimizer: its groups are changed, and nothing of what it has learnt.
        scheduler: of this optimiser.
        groups: settings of its parameter groups, with base learning rates.
    """
    scheduler.base_lrs = [group["lr"] for group in groups]
    for group, wanted, factor in zip(
        optimizer.param_groups, groups, scheduler.lr_lambdas, strict=True
    ):
        group.update({k: v for k, v in wanted.items() if k != "lr"})
        group["initial_lr"] = wanted["lr"]
        group["lr"] = wanted["lr"] * factor(scheduler.last_epoch)
