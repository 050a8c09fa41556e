"""Speed and memory of a model, measured in a process that does nothing else."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import median
from typing import Protocol

import torch
from lightning.pytorch import Trainer

from rgbx.checkpoints.load import weights_follow
from rgbx.errors import RGBXError
from rgbx.profile.costs import measure_passes, resident_memory
from rgbx.tasks import RGBXModule

__all__ = ["Measured", "Subject", "measured"]


class Subject(Protocol):
    """A model that is measured, and how.

    Attributes:
        model: on the CPU.
        trainer: knows the device and the precision.
        size: (height, width) of the network's input.
    """

    model: RGBXModule
    trainer: Trainer

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""


@dataclass(frozen=True)
class Measured:
    """What was found.

    Attributes:
        device: "cpu", "cuda", ...
        name: of the device, as people call it.
        precision: of the trainer.
        batch: images of a pass.
        seconds: of each pass.
        memory: bytes at the peak, weights included: what tensors held of a GPU, or by how much the
            process grew; None where the device does not tell.
    """

    device: str
    name: str
    precision: str
    batch: int
    seconds: list[float]
    memory: int | None

    @property
    def frames_per_second(self) -> float:
        """Of the median pass."""
        return self.batch / median(self.seconds)


def measured(build: Callable[[], Subject], batch: int = 1, passes: int | None = None) -> Measured:
    """Measure in a fresh process, which ends afterwards.

    Args:
        build: makes the model there; can be pickled, and brings its imports with it, so that they
            do not count as the model's memory.
        batch: images of a pass.
        passes: how many; None: as many as suit the time they take.

    Raises:
        RGBXError: the memory does not suffice, or what `build` raises.
    """
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_measure, build, batch, passes, torch.get_num_threads()).result()
        except BrokenProcessPool as error:
            raise RGBXError(
                "The process that measured was killed, most likely for want of memory: lower "
                "--batch or --size."
            ) from error


def _measure(
    build: Callable[[], Subject], batch: int, passes: int | None, threads: int
) -> Measured:
    torch.set_num_threads(threads)
    start = resident_memory()
    subject = build()
    device, precision = subject.trainer.strategy.root_device, subject.trainer.precision_plugin
    with _enough_memory(), torch.inference_mode(), weights_follow():
        model = subject.model.to(device).eval()
        precision.convert_module(model)  # in place
        with device:
            inputs = precision.convert_input(model.dummy_inputs(subject.size, batch))
        with precision.forward_context():
            found = measure_passes(lambda: model.raw_output(inputs), device, passes)
    memory = found.peak
    if device.type == "cpu" and memory is not None:
        memory = max(0, memory - start)
    precision_name = str(subject.trainer.precision)
    return Measured(device.type, _name(device), precision_name, batch, found.seconds, memory)


@contextmanager
def _enough_memory() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise RGBXError("There is not enough memory: lower --batch or --size.") from error


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type.upper()
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'' if threads == 1 else 's'}"
