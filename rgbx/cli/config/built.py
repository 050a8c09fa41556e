"""The model, the data module and the trainer of a configuration, for commands that train nothing.

Nothing is read from the data set, and nothing is written.
"""

import inspect
import logging
import typing
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningCLI

from rgbx.backbones.weights import Weights
from rgbx.cli.config.messages import class_at
from rgbx.cli.config.trainer_values import lightning_checks
from rgbx.cli.lightning import RGBXCLI

__all__ = ["RANDOM", "Built"]

#: what warnings of random weights look like
RANDOM = ".*starts? from (a )?RANDOM"

#: a trainer that trains nothing, whatever the configuration says
_TRAINER = {
    **{"devices": 1, "num_nodes": 1, "strategy": "auto", "fast_dev_run": False, "barebones": False},
    **dict.fromkeys(("callbacks", "plugins", "profiler"), None),
    **dict.fromkeys(("logger", "enable_checkpointing", "enable_model_summary"), False),
}


class Built(RGBXCLI):
    """What ``rgbx fit`` with the same options would train, on one device and without loggers.

    Attributes:
        model: in training mode, on the CPU or the meta device.
        datamodule: not set up.
        trainer: knows the device and the precision.

    Args:
        options: what would stand behind ``rgbx fit``.
        weights: False leaves weight files unread: the model starts from random numbers, and says
            nothing of it.
        device: ``cpu``, or ``meta``: no number exists, shapes do.
        checkpoint: what the model will load: its classes and its input are taken over, where the
            options do not say otherwise.
        override: arguments may change what the checkpoint's model computes.

    Raises:
        RGBXError: what ``rgbx fit`` itself would complain of.
    """

    def __init__(
        self,
        options: Sequence[str],
        weights: bool = True,
        device: str = "cpu",
        checkpoint: Path | None = None,
        override: bool = False,
    ) -> None:
        self._weights = weights
        self._checkpoint = checkpoint
        silent = not weights or checkpoint is not None
        with _quiet(random_weights=silent), torch.device(device):
            super().__init__(["fit", *options])
        self.model.override = override

    def _set_seed(self) -> None:
        """Nothing: only a run seeds the process."""

    def before_instantiate_classes(self) -> None:
        """One device; no loggers, callbacks and weights where they are not wanted."""
        config = self.config["fit"]
        for name, value in _TRAINER.items():
            config.trainer[name] = value
        super().before_instantiate_classes()
        if self._checkpoint is not None:
            self.take_classes(self._checkpoint)
        if not self._weights:
            for name in _weight_options(class_at(config.model.class_path)):
                config.model.init_args[name] = None

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer alone; the data set, which need not be there, is not asked anything."""
        with torch.device("cpu"), lightning_checks():
            return LightningCLI.instantiate_trainer(self, **kwargs)

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing is run."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        height, width = self.datamodule.size
        return int(height), int(width)

    def check_size(self) -> None:
        """Refuse a size that the model cannot take.

        Raises:
            RGBXError: names the next valid size.
        """
        self.trainer.datamodule = self.datamodule  # type: ignore[attr-defined]
        self.model.trainer = self.trainer
        self.model.setup("predict")


def _weight_options(model: type) -> list[str]:
    """Names of the options that take a weight file."""
    parameters = inspect.signature(model).parameters.values()
    return [p.name for p in parameters if Weights in (p.annotation, *typing.get_args(p.annotation))]


@contextmanager
def _quiet(random_weights: bool) -> Iterator[None]:
    """Silence what the trainer says of the device, and warnings of random weights if wanted."""
    said: Any = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    level = said.level
    said.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            if random_weights:
                warnings.filterwarnings("ignore", message=RANDOM)
            yield
    finally:
        said.setLevel(level)
