"""Learning-rate schedules: small objects that turn a step number into a factor.

In a config they are chosen by class path, ``{class_path: rgbx.optim.Poly, init_args: {...}}``. They
hold no counter and no optimiser; `rgbx.optim.pace` says where in the run a step lies.
"""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from rgbx.errors import RGBXError

__all__ = ["Constant", "Cosine", "Poly", "Schedule", "Step"]


class Schedule(ABC):
    """Factor on the base learning rate: linear warm-up, then the curve of the subclass.

    With W = round(``warmup_epochs`` x steps per epoch) and N optimiser steps, numbered from 0:

    - step < W and step < N: ``(step + 1) / (W + 1)``, never 0 and below 1;
    - W <= step < N: ``curve((step - W) / (N - W))``, which begins at 1;
    - step >= N: ``curve(1)``, the end value, also when the run is shorter than the warm-up.

    Args:
        warmup_epochs: Length of the warm-up in epochs, >= 0, fractions allowed.

    Raises:
        RGBXError: If ``warmup_epochs`` is negative or not finite.
    """

    def __init__(self, warmup_epochs: float = 0.0) -> None:
        if not 0 <= warmup_epochs < math.inf:
            raise RGBXError(
                f"warmup_epochs is {warmup_epochs}: give the number of warm-up epochs, 0 or more."
            )
        self.warmup_epochs = warmup_epochs

    def factor(self, step: int, total_steps: float, steps_per_epoch: int) -> float:
        """Factor for one optimiser step.

        Args:
            step: Number of optimiser steps already taken, >= 0.
            total_steps: N, optimiser steps of the whole run, >= 1; `rgbx.optim.pace` gives parts.
            steps_per_epoch: Optimiser steps (not batches) per epoch, >= 1.

        Returns:
            Factor in [0, 1].
        """
        if step >= total_steps:
            return self.curve(1.0)
        warmup = round(self.warmup_epochs * steps_per_epoch)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return self.curve((step - warmup) / (total_steps - warmup))

    @abstractmethod
    def curve(self, progress: float) -> float:
        """Factor in [0, 1] after the warm-up, for a progress in [0, 1]; 1 at progress 0."""


class Constant(Schedule):
    """The base learning rate throughout, after an optional warm-up.

    Args:
        warmup_epochs: Length of the linear warm-up in epochs.
    """

    def curve(self, progress: float) -> float:
        """Factor 1 for every progress."""
        return 1.0


class Poly(Schedule):
    """Polynomial decay from 1 to ``final``: ``final + (1 - final) (1 - progress) ** power``.

    Source: Chen et al., "DeepLab", TPAMI 2018, section 4.1.2 (power 0.9, final 0).

    Args:
        power: Exponent, > 0; 1 is a straight line.
        warmup_epochs: Length of the linear warm-up in epochs.
        final: Factor at the end, in [0, 1].

    Raises:
        RGBXError: If ``power`` is not positive or ``final`` is outside [0, 1].
    """

    def __init__(self, power: float = 0.9, warmup_epochs: float = 1.0, final: float = 0.0) -> None:
        super().__init__(warmup_epochs)
        if not 0 < power < math.inf:
            raise RGBXError(f"power is {power}: the exponent of the Poly schedule must be above 0.")
        if not 0 <= final <= 1:
            raise RGBXError(
                f"final is {final}: the Poly schedule ends at a factor between 0 and 1."
            )
        self.power = power
        self.final = final

    def curve(self, progress: float) -> float:
        """``final + (1 - final) (1 - progress) ** power``."""
        return self.final + (1.0 - self.final) * (1.0 - progress) ** self.power


class Cosine(Schedule):
    """Half a cosine from 1 to ``final``: ``final + (1 - final) (1 + cos(pi progress)) / 2``.

    Source: Loshchilov and Hutter, "SGDR", ICLR 2017, Eq. 5, without restarts.

    Args:
        warmup_epochs: Length of the linear warm-up in epochs.
        final: Factor at the end, in [0, 1].

    Raises:
        RGBXError: If ``final`` is outside [0, 1].
    """

    def __init__(self, warmup_epochs: float = 1.0, final: float = 0.0) -> None:
        super().__init__(warmup_epochs)
        if not 0 <= final <= 1:
            raise RGBXError(
                f"final is {final}: the Cosine schedule ends at a factor between 0 and 1."
            )
        self.final = final

    def curve(self, progress: float) -> float:
        """``final + (1 - final) (1 + cos(pi progress)) / 2``."""
        return self.final + (1.0 - self.final) * (1.0 + math.cos(math.pi * progress)) / 2.0


class Step(Schedule):
    """The base learning rate, multiplied by ``gamma`` after each milestone.

    Milestones are epochs that have passed, fractions allowed, whatever the length of the run: with
    (10,), the eleventh epoch is the first with the smaller rate.

    Args:
        milestones: Epochs, increasing, each > 0.
        gamma: Factor, in (0, 1].
        warmup_epochs: Length of the linear warm-up in epochs.

    Raises:
        RGBXError: If the milestones do not increase from above 0, or ``gamma`` is out of range.
    """

    def __init__(
        self, milestones: Sequence[float] = (10,), gamma: float = 0.1, warmup_epochs: float = 0.0
    ) -> None:
        super().__init__(warmup_epochs)
        edges = (0, *milestones)
        if any(not a < b < math.inf for a, b in itertools.pairwise(edges)):
            raise RGBXError(
                f"milestones is {list(milestones)}: give epochs above 0 in increasing order."
            )
        if not 0 < gamma <= 1:
            raise RGBXError(f"gamma is {gamma}: the factor of the Step schedule lies in (0, 1].")
        self.milestones = tuple(milestones)
        self.gamma = gamma

    def factor(self, step: int, total_steps: float, steps_per_epoch: int) -> float:
        """As the base, times ``gamma`` for each milestone that has passed."""
        passed = sum(step >= round(epoch * steps_per_epoch) for epoch in self.milestones)
        return super().factor(step, total_steps, steps_per_epoch) * self.gamma**passed

    def curve(self, progress: float) -> float:
        """Factor 1: what falls are the steps, which depend on epochs, not on progress."""
        return 1.0
