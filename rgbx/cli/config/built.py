"""The model, the data module and the trainer of a configuration, for commands that train nothing.

Nothing is read from the data set, and nothing is written.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningCLI

from rgbx.checkpoints.load import load_checkpoint, weights_follow
from rgbx.checkpoints.trained_with import weight_arguments
from rgbx.class_path import class_at
from rgbx.cli.config.errors import lightning_errors
from rgbx.cli.config.quiet import quieten, without_device_messages
from rgbx.cli.lightning import RGBXCLI

__all__ = ["Built"]

#: a trainer that trains nothing, whatever the configuration says
_TRAINER = {
    **{"devices": 1, "num_nodes": 1, "strategy": "auto", "fast_dev_run": False, "barebones": False},
    **dict.fromkeys(("callbacks", "plugins", "profiler"), None),
    **dict.fromkeys(("logger", "enable_checkpointing", "enable_model_summary"), False),
}


class Built(RGBXCLI):
    """What ``rgbx fit`` with the same options would train, on one device and without loggers.

    Attributes:
        model: in training mode, on the CPU or the meta device, with what the checkpoint holds.
        datamodule: not set up.
        trainer: knows the device and the precision.

    Args:
        options: what would stand behind ``rgbx fit``.
        weights: False leaves weight files and checkpoint unread: the model starts from random
            numbers, and says nothing of it.
        device: ``cpu``, or ``meta``: no number exists, shapes do.
        checkpoint: what the model loads: its classes and its input are taken over, where the
            options do not say otherwise.
        override: arguments may change what the checkpoint's model computes.

    Raises:
        RGBXError: what ``rgbx fit`` itself would complain of; an input size that the model cannot
            take.
        WeightsError: the checkpoint is another model's.
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
        quieten()
        silent = weights_follow() if checkpoint or not weights else nullcontext()
        with silent, without_device_messages(), torch.device(device):
            super().__init__(["fit", *options])
        self.model.override = override
        self.trainer.datamodule = self.datamodule  # type: ignore[attr-defined]
        self.model.trainer = self.trainer
        self.model.setup("predict")  # refuses sizes
        if checkpoint is not None and weights:
            load_checkpoint(self.model, checkpoint)

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
            for name in weight_arguments(class_at(config.model.class_path)):
                config.model.init_args[name] = None

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer alone; the data set, which need not be there, is not asked anything."""
        with torch.device("cpu"), lightning_errors():
            return LightningCLI.instantiate_trainer(self, **kwargs)

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing is run."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        height, width = self.datamodule.size
        return int(height), int(width)
