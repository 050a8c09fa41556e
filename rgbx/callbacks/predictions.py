"""What ``predict`` and ``test`` leave on disk: a file per prediction, and a sheet to look at."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from rgbx.callbacks.dense import DenseOutputs
from rgbx.callbacks.image import BatchImage, images_of, splits_of
from rgbx.callbacks.prompted import PromptedOutputs
from rgbx.errors import RGBXError
from rgbx.tasks.base import RGBXModule
from rgbx.visualization.sheet import Sheet

__all__ = ["PredictionWriter"]

NAMES = "names.csv"


class PredictionWriter(Callback):
    """Writes the predictions for every image, and ``sheet.png`` with some of them.

    One map per image is written by :class:`rgbx.callbacks.dense.DenseOutputs`, a mask per prompt by
    :class:`rgbx.callbacks.prompted.PromptedOutputs`. A test of several splits puts the files of
    each into a folder of its own (``masks/SPLIT/NAME.png``), and rows of each into the sheet.
    Where an image cannot lend its files its name (see :func:`rgbx.data.file_names.file_names`),
    ``names.csv`` says what they are called.

    Args:
        folder: made if absent. Images of the same name are replaced.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._sheet = Sheet()
        self._dense = DenseOutputs(self.folder)
        self._prompted = PromptedOutputs(self.folder)
        self._renamed: list[tuple[str, str, str]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the folder before the first batch, so that a read-only place shows at once."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RGBXError(
                f"Cannot write into {self.folder}: {error.strerror}. Choose another folder with "
                "--output."
            ) from error

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write what ``predict_step`` returned."""
        images = images_of(trainer, batch, ("predict",))
        self._write(pl_module, images, outputs, 1, scored=False)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write what ``test_step`` returned."""
        splits = splits_of(trainer)
        images = images_of(trainer, batch, splits, dataloader_idx)
        self._write(pl_module, images, outputs, len(splits), scored=True)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the sheet and list the prompts."""
        self._sheet.save(self.folder / "sheet.png", self._dense.legend)
        self._prompted.write_list()
        self._write_names()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the sheet."""
        self._sheet.save(self.folder / "sheet.png", self._dense.legend)
        self._write_names()

    def _write_names(self) -> None:
        """Write what files are called whose images are called otherwise, if there are any."""
        if not self._renamed:
            return
        path = self.folder / NAMES
        # names are bytes to the file system: those that are no text must survive too
        with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            csv.writer(file).writerows([("file", "name", "rgb"), *self._renamed])
        rank_zero_warn(
            f"the files of {len(self._renamed)} images have other names than these, as names were "
            f"too long or alike: see {path}"
        )

    def _write(
        self,
        model: LightningModule,
        images: Iterable[BatchImage],
        predictions: Sequence[Any],
        splits: int,
        scored: bool,
    ) -> None:
        for image, prediction in zip(images, predictions, strict=True):
            if not image.place.endswith(str(image["name"])):
                self._renamed.append((image.place, str(image["name"]), str(image["path"])))
            if isinstance(prediction, Mapping):
                draw = self._prompted.tested(image, prediction, model)
            elif "prompts" in image.batch:
                draw = self._prompted.predicted(image, prediction)
            else:
                files = {}
                if scored and isinstance(model, RGBXModule):
                    files = model.scored_files(image.index)
                draw = self._dense.write(image, prediction, files)
            self._sheet.add(draw, image.split, image.data.split_sizes[image.split], splits)
