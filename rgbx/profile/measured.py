"""Speed and memory of a model, measured in a process that does nothing else."""

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch

from rgbx.checkpoints.load import load_checkpoint
from rgbx.cli.config.built import RANDOM, Built
from rgbx.cli.config.messages import quieten
from rgbx.errors import RGBXError
from rgbx.profile.costs import measure_passes, resident_memory
from rgbx.tasks.answer import answer, made_up

__all__ = ["Measured", "Request", "measured"]


@dataclass(frozen=True)
class Request:
    """What is to be measured.

    Attributes:
        options: what would stand behind ``rgbx fit``.
        checkpoint: trained weights; None: random ones, no weight file is read.
        batch: images of a pass.
        passes: how many; None: as many as suit the time they take.
        override: the options may change what the checkpoint's model computes.
    """

    options: Sequence[str]
    checkpoint: Path | None
    batch: int
    passes: int | None
    override: bool = False


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


def measured(request: Request) -> Measured:
    """Measure in a fresh process, which ends afterwards.

    Raises:
        RGBXError: the memory does not suffice, or what the configuration makes impossible.
    """
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_measure, request, torch.get_num_threads()).result()
        except BrokenProcessPool as error:
            raise RGBXError(
                "The process that measured was killed, most likely for want of memory: lower "
                "--batch or --size."
            ) from error


def _measure(request: Request, threads: int) -> Measured:
    quieten()
    torch.set_num_threads(threads)
    start = resident_memory()
    trained = request.checkpoint is not None
    built = Built(request.options, trained, "cpu", request.checkpoint, request.override)
    if request.checkpoint is not None:
        load_checkpoint(built.model, request.checkpoint)
    else:  # parts that are built with the first pass
        warnings.filterwarnings("ignore", message=RANDOM)
    trainer = built.trainer
    device, precision = trainer.strategy.root_device, trainer.precision_plugin
    with _enough_memory(), torch.inference_mode():
        model = built.model.to(device).eval()
        precision.convert_module(model)  # in place
        with device:
            question = precision.convert_input(made_up(model, built.size, request.batch))
        with precision.forward_context():
            found = measure_passes(lambda: answer(model, question), device, request.passes)
    return Measured(
        *(device.type, _name(device), str(trainer.precision), request.batch, found.seconds),
        memory=_growth(found.peak, start) if device.type == "cpu" else found.peak,
    )


@contextmanager
def _enough_memory() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise RGBXError("There is not enough memory: lower --batch or --size.") from error


def _growth(peak: int | None, start: int) -> int | None:
    return None if peak is None else max(0, peak - start)


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type.upper()
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'' if threads == 1 else 's'}"
