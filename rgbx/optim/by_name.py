"""Learning rate and weight decay by the names of parameters, for any optimiser."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from rgbx.errors import RGBXError

__all__ = ["ByName"]


class ByName:
    """Puts parameters into groups by name, and scales the learning rate of each.

    With `layer_decay` d, block i of n gets the learning rate times d^(n - i), as fine-tuning plain
    ViTs does (Clark et al., ELECTRA, arXiv 2003.10555; ViTDet and UniRGB-IR with d 0.7), all other
    parameters times 1. `factors` scale further; of several patterns the first decides.

    Args:
        optimizer: makes the optimiser from groups, such as ``torch.optim.AdamW`` with its options.
        layer_decay: d, above 0 and at most 1.
        blocks: pattern of the names of blocks; its group is the index i.
        num_blocks: n; by default the largest index of a trained parameter, and 1. Give it where
            not all blocks train.
        factors: pattern searched in names -> factor of the learning rate.
        no_weight_decay: pattern searched in names; these parameters get no weight decay.

    Raises:
        RGBXError: an option has a value that cannot work.
    """

    def __init__(
        self,
        optimizer: Callable[[Iterable[Any]], Optimizer],
        layer_decay: float = 1.0,
        blocks: str = r"\.blocks\.(\d+)\.",
        num_blocks: int | None = None,
        factors: dict[str, float] | None = None,
        no_weight_decay: str | None = None,
    ) -> None:
        if not 0 < layer_decay <= 1:
            raise RGBXError(
                f"optimizer.layer_decay is {layer_decay}: give a number above 0, at most 1."
            )
        if foreign := [name for name, factor in (factors or {}).items() if not factor >= 0]:
            raise RGBXError(f"optimizer.factors of {foreign[0]!r} is no factor of 0 or more.")
        for name, pattern in (("blocks", blocks), ("no_weight_decay", no_weight_decay or "")):
            _compiled(name, pattern)
        self.optimizer = optimizer
        self.layer_decay = layer_decay
        self.blocks = blocks
        self.num_blocks = num_blocks
        self.factors = dict(factors or {})
        self.no_weight_decay = no_weight_decay

    @property
    def keywords(self) -> dict[str, Any]:
        """Options of the optimiser itself, for messages about them."""
        return dict(getattr(self.optimizer, "keywords", {}))

    def __call__(self, named: Iterable[tuple[str, Tensor]]) -> Optimizer:
        """The optimiser of named parameters, one group for each pair of factors.

        Raises:
            RGBXError: a pattern is in no name.
        """
        groups: dict[tuple[float, bool], list[Tensor]] = {}
        named = list(named)
        self._refuse_idle([name for name, _ in named])
        scale = self.scales([name for name, _ in named])
        for name, parameter in named:
            plain = self.no_weight_decay is not None and bool(re.search(self.no_weight_decay, name))
            groups.setdefault((scale[name], plain), []).append(parameter)
        optimizer = self.optimizer([{"params": params} for params in groups.values()])
        for group, (factor, plain) in zip(optimizer.param_groups, groups, strict=True):
            group["lr"] *= factor
            if plain:
                group["weight_decay"] = 0.0
        return optimizer

    def scales(self, names: Iterable[str]) -> Mapping[str, float]:
        """Factor of the learning rate of every parameter."""
        names = list(names)
        indexes = {n: int(m[1]) for n in names if (m := re.search(self.blocks, n))}
        depth = self.num_blocks or max(indexes.values(), default=-1) + 1
        found = {}
        for name in names:
            factor = self.layer_decay ** (depth - indexes[name]) if name in indexes else 1.0
            own = (value for part, value in self.factors.items() if re.search(part, name))
            found[name] = factor * next(own, 1.0)
        return found

    def _refuse_idle(self, names: list[str]) -> None:
        wanted = {"blocks": self.blocks} if self.layer_decay < 1 else {}
        wanted |= {f"factors of {part!r}": part for part in self.factors}
        if self.no_weight_decay is not None:
            wanted["no_weight_decay"] = self.no_weight_decay
        for option, pattern in wanted.items():
            if not any(re.search(pattern, name) for name in names):
                raise RGBXError(
                    f"optimizer.{option} fits no trained parameter; their names are like "
                    f"{', '.join(names[:3])}."
                )


def _compiled(name: str, pattern: str) -> None:
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise RGBXError(f"optimizer.{name} {pattern!r} is no pattern: {error}.") from error
    if name == "blocks" and found.groups != 1:
        raise RGBXError(f"optimizer.blocks {pattern!r} needs one group, the index of a block.")
