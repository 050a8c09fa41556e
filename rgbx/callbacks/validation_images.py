"""Predictions for the same validation images after every validation, in W&B and TensorBoard."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image

from rgbx.tasks.batch_image import images_of
from rgbx.text import printable
from rgbx.visualization.drawing import panel

__all__ = ["ValidationImages"]

IMAGES = 8
CELL = (144, 192)  # height and width of each image, in pixels
KEY = "val/images"


@dataclass(frozen=True)
class _Shown:
    """What is logged of one image."""

    name: str
    panel: Image.Image


class ValidationImages(Callback):
    """Logs image, X, prediction and ground truth of some validation images side by side.

    The images are spread over the validation set, and the same ones every time; of several
    processes, the first one shows images of its own share. They are predicted once more, so that no
    model has to keep predictions: at most eight images, whatever the size of the set. What is drawn
    is up to the task (`rgbx.tasks.evaluated.Evaluated.draw_validation`).

    Args:
        images: how many at most.
    """

    def __init__(self, images: int = IMAGES) -> None:
        self._images = images
        self._positions: frozenset[int] = frozenset()
        self._shown: list[_Shown] = []

    @staticmethod
    def can_be_logged(trainer: Trainer) -> bool:
        """Whether a logger takes images."""
        return any(isinstance(log, WandbLogger | TensorBoardLogger) for log in trainer.loggers)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the images; none in the check before training, nor in other processes."""
        self._shown = []
        wanted = trainer.is_global_zero and not trainer.sanity_checking
        seen = _images_seen(trainer) if wanted else 0
        count = min(self._images, seen)
        self._positions = frozenset(i * seen // count for i in range(count))

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Predict the chosen images of a batch."""
        if not self._positions:
            return
        first = batch_idx * trainer.datamodule.eval_batch_size  # type: ignore[attr-defined]
        here = [i for i in range(len(batch["name"])) if first + i in self._positions]
        if not here:
            return
        images = list(images_of(trainer, batch, ("val",)))
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            chosen = [images[i] for i in here]
            rows = [draw() for draw in pl_module.draw_validation(chosen, CELL)]
        for panels, titles in rows:
            page = panel(panels, titles, columns=len(panels), cell=CELL)
            self._shown.append(_Shown(printable(titles[0]), page))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand the images to the loggers that take them."""
        step = trainer.global_step
        for logger in trainer.loggers if self._shown else ():
            if isinstance(logger, WandbLogger):
                panels = [shown.panel for shown in self._shown]
                names = [shown.name for shown in self._shown]
                logger.log_image(KEY, panels, step=step, caption=names)
            elif isinstance(logger, TensorBoardLogger):
                for shown in self._shown:
                    tag, values = f"{KEY}/{shown.name}", np.asarray(shown.panel)
                    logger.experiment.add_image(tag, values, step, dataformats="HWC")
        self._shown = []


def _images_seen(trainer: Trainer) -> int:
    """Number of images that this process validates on."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    share = -(-data.split_sizes.get("val", 0) // trainer.world_size)
    batches = sum(trainer.num_val_batches)
    return int(min(share, batches * data.eval_batch_size))
