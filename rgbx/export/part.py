"""What goes into one file: a module, what it takes and gives, and what it must equal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["RGB", "Part", "Port", "Sizes"]

#: what the input `rgb` is
RGB = "visible images: (values / 255 - rgb_mean) / rgb_std, channels red, green, blue"

Sizes = Mapping[str, int]


@dataclass(frozen=True)
class Port:
    """An input or an output.

    Attributes:
        name: by which programs ask for it.
        shape: of every axis its length, or the name of a length that is free.
        meaning: for those who run the file.
        dtype: of its numbers.
    """

    name: str
    shape: tuple[int | str, ...]
    meaning: str
    dtype: torch.dtype = torch.float32

    @property
    def free(self) -> dict[int, str]:
        """Axis -> name of its length, where that is free."""
        return {axis: side for axis, side in enumerate(self.shape) if isinstance(side, str)}

    def describe(self) -> dict[str, Any]:
        """As plain values."""
        dtype = str(self.dtype).removeprefix("torch.")
        return {"shape": list(self.shape), "dtype": dtype, "meaning": self.meaning}

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(map(str, self.shape))})"


@dataclass(frozen=True)
class Part:
    """One file of an exported model.

    Attributes:
        name: what it does; "" where the model is one file.
        module: is exported; in eval mode, LoRA merged.
        reference: computes the same with the model as it was trained.
        inputs: in the order of the module's arguments.
        output: what it returns.
        least: smallest values of the free lengths.
        example: inputs of given free lengths, drawn from a generator.
        traced: free lengths that the graph is made with.
        checked: free lengths that the file is tried with.
    """

    name: str
    module: nn.Module
    reference: Callable[..., Tensor]
    inputs: tuple[Port, ...]
    output: Port
    least: Sizes
    example: Callable[[Sizes, torch.Generator], tuple[Tensor, ...]]
    traced: Sizes
    checked: tuple[Sizes, ...]
