"""One weighting per group: their random numbers, and what they remember."""

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rgbx.optim.memory import Memory, recall, remembered, snapshot
from rgbx.optim.seeds import mix_seeds
from rgbx.optim.surgery import Weighting, build_weighting, weigh

__all__ = ["Weightings"]


class Weightings:
    """The weightings of all groups, built from one specification when they are first needed.

    Args:
        spec: see `build_weighting`. An object that is an `nn.Module` is copied for every group:
            it may remember what it saw.
    """

    def __init__(self, spec: str | Mapping[str, Any] | Weighting) -> None:
        self._spec = spec
        self._built: dict[str, Weighting] = {}
        self._fresh: dict[str, Memory] = {}  # what they held when they were built

    def weights(self, products: Mapping[str, Tensor], seed: int, step: int) -> dict[str, Tensor]:
        """Group -> weights. Random numbers depend on (seed, step) alone: ranks agree, resume too.

        Gradients that overflowed get weights of NaN, so that a gradient scaler sees it.

        Args:
            products: group -> Gram matrix (T, T).
            seed: of the run.
            step: optimiser steps taken.

        Raises:
            RGBXError: a weighting gives something else than T finite numbers.
        """
        found = {}
        with torch.random.fork_rng(devices=[]):
            for index, (name, gram) in enumerate(products.items()):
                # not torch.manual_seed, which would also reseed the GPUs
                torch.default_generator.manual_seed(mix_seeds(seed, step, index))
                if not torch.isfinite(gram).all():
                    found[name] = torch.full((len(gram),), math.nan)
                elif len(gram) == 1:
                    found[name] = torch.ones(1)
                else:
                    found[name] = weigh(self._of(name), gram, name)
        return found

    def _of(self, group: str) -> Weighting:
        if group not in self._built:
            spec = copy.deepcopy(self._spec) if isinstance(self._spec, nn.Module) else self._spec
            built = build_weighting(spec)
            self._built[group], self._fresh[group] = built, snapshot(built)
        return self._built[group]

    def state(self) -> dict[str, Any]:
        """Plain form for a checkpoint: group -> what its weighting remembers."""
        return {name: remembered(w, self._fresh[name]) for name, w in self._built.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what a checkpoint holds."""
        for group, memory in state.items():
            recall(self._of(group), memory, group)
