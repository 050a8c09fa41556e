"""What ``predict`` and ``test`` leave on disk: a file per prediction, and a sheet to look at."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from rgbx.errors import RGBXError
from rgbx.tasks.batch_image import BatchImage, images_of, splits_of
from rgbx.tasks.prediction_files import PredictionFiles
from rgbx.visualization.sheet import Sheet

__all__ = ["PredictionWriter"]

NAMES = "names.csv"


class PredictionWriter(Callback):
    """Writes the predictions for every image, and ``sheet.png`` with some of them.

    The model says how (`rgbx.tasks.evaluated.Evaluated.prediction_files`). A test of several splits
    puts the files of each into a folder of its own (``masks/SPLIT/NAME.png``), and rows of each
    into the sheet.
    Where an image cannot lend its files its name (see :func:`rgbx.data.file_names.file_names`),
    ``names.csv`` says what they are called.

    Args:
        folder: made if absent. Images of the same name are replaced.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._sheet = Sheet()
        self._files: PredictionFiles | None = None
        self._renamed: list[tuple[str, str, str]] = []

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Make the folder before the first batch, so that a read-only place shows at once."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RGBXError(
                f"Cannot write into {self.folder}: {error.strerror}. Choose another folder with "
                "--output."
            ) from error
        self._files = pl_module.prediction_files(self.folder)

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
        """Draw the sheet."""
        self._finish()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the sheet."""
        self._finish()

    def _finish(self) -> None:
        assert self._files is not None
        self._sheet.save(self.folder / "sheet.png", self._files.legend)
        self._files.close()
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
        model: Any,
        images: Iterable[BatchImage],
        predictions: Sequence[Any],
        splits: int,
        scored: bool,
    ) -> None:
        assert self._files is not None
        for image, prediction in zip(images, predictions, strict=True):
            if not image.stem.endswith(str(image["name"])):
                self._renamed.append((image.stem, str(image["name"]), str(image["path"])))
            draw = self._files.write(
                image, prediction, model.scored_files(image.index) if scored else None
            )
            self._sheet.add(draw, image.split, image.data.split_sizes[image.split], splits)
