"""``--visualize_attention``: where a model looks, as a figure per image."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from rgbx.disk import write_image
from rgbx.tasks.batch_image import images_of, splits_of

__all__ = ["AttentionWriter"]

IMAGES = 16
FOLDER = "attention"


class AttentionWriter(Callback):
    """Writes ``attention/NAME.png``, the model's `attention_figure`, for the first images.

    Several splits of a test share the number of images, and have a folder each.

    Args:
        folder: gets the folder ``attention``.
        images: how many at most.
    """

    def __init__(self, folder: Path, images: int = IMAGES) -> None:
        self.folder = Path(folder) / FOLDER
        self._images = images
        self._drawn: dict[str, int] = {}

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the images of a batch."""
        self._draw(trainer, pl_module, outputs, batch, ("predict",), 0)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the images of a batch."""
        self._draw(trainer, pl_module, outputs, batch, splits_of(trainer), dataloader_idx)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where the figures are."""
        print(f"attention: {self.folder}")

    on_predict_end = on_test_end

    def _draw(
        self,
        trainer: Trainer,
        model: Any,
        predictions: Any,
        batch: Any,
        splits: tuple[str, ...],
        position: int,
    ) -> None:
        quota = -(-self._images // len(splits))
        images = images_of(trainer, batch, splits, position)
        for image, prediction in zip(images, predictions, strict=True):
            if self._drawn.get(image.split, 0) >= quota:
                return
            figure = model.attention_figure(image, prediction)
            if figure is not None:
                self._drawn[image.split] = self._drawn.get(image.split, 0) + 1
                write_image(figure, self.folder / f"{image.stem}.png")
