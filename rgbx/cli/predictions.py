"""What ``predict`` and ``test`` leave on disk: a file per prediction, and a sheet to look at."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from rgbx.cli.dense import DenseOutputs
from rgbx.cli.prompted import PromptedOutputs
from rgbx.cli.sheet import Sheet
from rgbx.data.base import RGBXDataModule
from rgbx.data.files import read_rgb
from rgbx.errors import RGBXError

__all__ = ["PredictionWriter"]


class PredictionWriter(Callback):
    """Writes the predictions for every image, and ``sheet.png`` with some of them.

    One map per image is written by :class:`rgbx.cli.dense.DenseOutputs`, a mask per prompt by
    :class:`rgbx.cli.prompted.PromptedOutputs`. A test of several splits puts the files of each into
    a folder of its own (``masks/SPLIT/NAME.png``), and rows of each into the sheet.

    Args:
        folder: made if absent. Pictures of the same name are replaced.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._sheet = Sheet()
        self._dense = DenseOutputs(self.folder)
        self._prompted = PromptedOutputs(self.folder)

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
        self._write(_datamodule(trainer), ("predict",), 0, batch, outputs)

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
        data = _datamodule(trainer)
        self._write(data, data.test_splits, dataloader_idx, batch, outputs)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the sheet and list the prompts."""
        self._sheet.save(self.folder / "sheet.png", self._dense.legend)
        self._prompted.write_list()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the sheet."""
        self._sheet.save(self.folder / "sheet.png", self._dense.legend)

    def _write(
        self,
        data: RGBXDataModule,
        splits: Sequence[str],
        position: int,
        batch: dict[str, Any],
        predictions: Sequence[Any],
    ) -> None:
        split = splits[position]
        for index, (name, prediction) in enumerate(zip(batch["name"], predictions, strict=True)):
            place = f"{split}/{name}" if len(splits) > 1 else str(name)
            rgb = read_rgb(Path(batch["path"][index]))
            if isinstance(prediction, Mapping):
                row = self._prompted.tested(place, rgb, prediction, batch["mask"][index])
            elif "prompts" in batch:
                mode = getattr(data, "resize_mode", "squash")
                row = self._prompted.predicted(batch, index, rgb, prediction, mode)
            else:
                row = self._dense.write(data, batch, index, place, rgb, prediction)
            if self._sheet.wants(split, data.split_sizes[split], len(splits)):
                self._sheet.add(split, row)


def _datamodule(trainer: Trainer) -> RGBXDataModule:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, RGBXDataModule)
    return data
