"""What goes into one exported file: a module, what it takes and gives, and what it must equal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor, nn

if TYPE_CHECKING:
    from rgbx.tasks.inspection import Inspectable

__all__ = ["RGB", "Part", "Port", "Sizes", "X", "dense_part", "example_images"]

#: what the inputs `rgb` and `x` are
RGB = "visible images: (values / 255 - rgb_mean) / rgb_std, channels red, green, blue"
X = "second modality: (values in [0, 1] - x_mean) / x_std, one channel repeated three times"

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
        example: inputs of given free lengths, drawn from a generator.
        traced: free lengths that the graph is made with.
        checked: free lengths that the file is tried with; the first are the smallest allowed.
    """

    name: str
    module: nn.Module
    reference: Callable[..., Tensor]
    inputs: tuple[Port, ...]
    output: Port
    example: Callable[[Sizes, Generator], tuple[Tensor, ...]]
    traced: Sizes
    checked: tuple[Sizes, ...]


class _Dense(nn.Module):
    """The raw output of a model as a function of tensors alone."""

    def __init__(self, model: "Inspectable") -> None:
        super().__init__()
        self.model = model

    def forward(self, rgb: Tensor, x: Tensor | None = None) -> Any:
        return self.model.raw_output({"rgb": rgb, "x": x})


def dense_part(
    model: "Inspectable", merged: "Inspectable", size: tuple[int, int], output: Port
) -> Part:
    """The one file of a model that makes a map of every image.

    Args:
        model: as trained.
        merged: its copy with LoRA merged.
        size: (H,W) of the images.
        output: what the map holds.
    """
    shape = ("batch", 3, *size)
    ports = (Port("rgb", shape, RGB), Port("x", shape, X))[: 2 if model.needs_x else 1]

    def example(sizes: Sizes, generator: Generator) -> tuple[Tensor, ...]:
        return tuple(example_images(sizes["batch"], size, generator) for _ in ports)

    return Part(
        name="",
        module=_Dense(merged),
        reference=_Dense(model),
        inputs=ports,
        output=output,
        example=example,
        traced={"batch": 2},
        checked=({"batch": 1}, {"batch": 3}),
    )


def example_images(count: int, size: tuple[int, int], generator: Generator) -> Tensor:
    """Images (count,3,H,W) with values as normalised ones have: scenes and noise in turn.

    A scene is a slope of colour, a bright disc with a sharp border on it, and a little noise.
    """
    height, width = size
    noise = torch.randn(count, 3, height, width, generator=generator)
    y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    for image in noise[::2]:
        slope = torch.randn(3, 2, 1, 1, generator=generator)
        centre = torch.rand(2, generator=generator) - 0.5
        disc = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 0.2
        image.mul_(0.05).add_(slope[:, 0] * y + slope[:, 1] * x + 2 * disc)
    return noise
