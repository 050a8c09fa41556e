"""Predictions for the same validation images after every validation, in W&B and TensorBoard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image

from rgbx.callbacks.dense import dense_row
from rgbx.callbacks.image import BatchImage, images_of
from rgbx.callbacks.prompted import first_prompt, prompted_row
from rgbx.data import PromptableDataModule
from rgbx.tasks import PromptableModule, RGBXModule, SaliencyModule, SemanticModule
from rgbx.tasks.prompt_evaluation import masks_at
from rgbx.text import printable
from rgbx.visualization.drawing import panel
from rgbx.visualization.sheet import Draw

__all__ = ["ValidationImages"]

IMAGES = 8
CELL = (144, 192)  # height and width of each image, in pixels
KEY = "val/images"
_TASKS = (SemanticModule, SaliencyModule, PromptableModule)


@dataclass(frozen=True)
class _Shown:
    """What is logged of one image."""

    name: str
    panel: Image.Image


class ValidationImages(Callback):
    """Logs image, X, prediction and ground truth of some validation images side by side.

    The images are spread over the validation set, and the same ones every time; of several
    processes, the first one shows images of its own share. They are answered once more, so that no
    model has to keep predictions: at most eight images, whatever the size of the set. A model that
    answers prompts is asked with the first prompt of its first kind, which is drawn in.

    Args:
        images: how many at most.
    """

    def __init__(self, images: int = IMAGES) -> None:
        self._images = images
        self._positions: frozenset[int] = frozenset()
        self._shown: list[_Shown] = []

    @staticmethod
    def have_a_place(trainer: Trainer, model: LightningModule) -> bool:
        """Whether a logger takes images, and the model is one whose answers can be drawn."""
        takes = any(isinstance(log, WandbLogger | TensorBoardLogger) for log in trainer.loggers)
        return takes and isinstance(model, _TASKS)

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
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Answer the chosen images of a batch."""
        if not self._positions:
            return
        first = batch_idx * trainer.datamodule.eval_batch_size  # type: ignore[attr-defined]
        here = [i for i in range(len(batch["name"])) if first + i in self._positions]
        if not here:
            return
        assert isinstance(pl_module, RGBXModule)
        images = list(images_of(trainer, batch, ("val",)))
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            drawn = _drawn(pl_module, [images[i] for i in here])
        for draw in drawn:
            panels, titles = draw()
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


def _drawn(model: RGBXModule, images: Sequence[BatchImage]) -> list[Draw]:
    """Answer images of one batch; what is returned draws them."""
    if isinstance(model, PromptableModule):
        return [partial(_prompted, model, image) for image in images]
    batch = images[0].batch
    places = [image.index for image in images]
    names = ("rgb", "x") if model.needs_x else ("rgb",)
    logits = model.raw_output({name: batch[name][places] for name in names})
    assert isinstance(logits, torch.Tensor)
    classes = isinstance(model, SemanticModule)
    maps = logits.argmax(1) if classes else logits[:, 0].float().sigmoid()
    return [partial(dense_row, image, found) for image, found in zip(images, maps, strict=True)]


def _prompted(model: PromptableModule, image: BatchImage) -> tuple[list[Any], list[str]]:
    """Ask about one image with the first prompt of the first kind."""
    kind = next(iter(model.hparams["val_kinds"]))
    rgb, size = image["rgb"][None], image["mask"].shape[-2:]
    prompt = _on(first_prompt(model, image, kind), rgb.device)
    logits = model.decode(model.embed(rgb), [prompt], rgb.shape[-2:])
    padded = isinstance(image.data, PromptableDataModule) and image.data.resize_mode == "pad"
    mask = masks_at(logits, rgb.shape[-2:], size, padded)[0]
    return prompted_row(image, prompt, kind, mask, CELL)


def _on(prompt: Mapping[str, Any], device: torch.device) -> Any:
    return {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in prompt.items()}
