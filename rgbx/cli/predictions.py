"""The pictures that ``predict`` and ``test`` leave on disk: masks, overlays, a sheet to look at."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rgbx.data.base import RGBXDataModule
from rgbx.data.files import read_rgb
from rgbx.errors import RGBXError
from rgbx.pictures import colourise, legend, overlay, panel

__all__ = ["PredictionWriter"]

SHEET_ROWS = 8


class PredictionWriter(Callback):
    """Writes one mask and one overlay per image, and a sheet of some of them.

    ``masks/NAME.png`` is a palette image whose raw values are the class ids; ``overlays/NAME.png``
    shows the prediction over the visible picture; ``sheet.png`` has rows of RGB, X, prediction
    and, in a test, ground truth.

    Args:
        folder: made if absent. Pictures of the same name are replaced.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._rows: list[tuple[list[NDArray[np.uint8]], list[str]]] = []
        self._every = 1
        self._seen = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the folders before the first batch, so that a read-only place shows at once."""
        try:
            for name in ("masks", "overlays"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RGBXError(
                f"Cannot write into {self.folder}: {error.strerror}. Choose another folder with "
                "--output."
            ) from error
        self._every = max(1, sum(_datamodule(trainer).split_sizes.values()) // SHEET_ROWS)

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
        self._write(_datamodule(trainer), batch, outputs)

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
        self._write(_datamodule(trainer), batch, outputs)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the sheet."""
        self._draw_sheet(_datamodule(trainer))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the sheet."""
        self._draw_sheet(_datamodule(trainer))

    def _write(self, data: RGBXDataModule, batch: dict[str, Any], masks: Sequence[Tensor]) -> None:
        for index, (name, path, mask) in enumerate(
            zip(batch["name"], batch["path"], masks, strict=True)
        ):
            ids = mask.cpu().numpy().astype(np.uint8)
            rgb = _sized(read_rgb(Path(path)), ids.shape)
            shown = overlay(rgb, ids, data.palette)
            for part in ("masks", "overlays"):  # names may hold folders ("day/0001")
                (self.folder / part / f"{name}.png").parent.mkdir(parents=True, exist_ok=True)
            save_ids(self.folder / "masks" / f"{name}.png", ids, data.palette)
            Image.fromarray(shown).save(self.folder / "overlays" / f"{name}.png")
            if self._seen % self._every == 0 and len(self._rows) < SHEET_ROWS:
                self._rows.append(self._row(data, batch, index, rgb, ids))
            self._seen += 1

    def _row(
        self,
        data: RGBXDataModule,
        batch: dict[str, Any],
        index: int,
        rgb: NDArray[np.uint8],
        ids: NDArray[np.uint8],
    ) -> tuple[list[NDArray[np.uint8]], list[str]]:
        pictures, titles = [rgb], [str(batch["name"][index])]
        if "x" in batch:
            pictures.append(_sized(_stretched(batch["x"][index, 0]), ids.shape))
            titles.append("X")
        pictures.append(colourise(ids, data.palette))
        titles.append("prediction")
        if "mask" in batch:
            pictures.append(colourise(batch["mask"][index].cpu().numpy(), data.palette))
            titles.append("ground truth")
        return pictures, titles

    def _draw_sheet(self, data: RGBXDataModule) -> None:
        if not self._rows:
            return
        pictures = [picture for row, _ in self._rows for picture in row]
        titles = [title for _, row in self._rows for title in row]
        sheet = panel(pictures, titles, columns=len(self._rows[0][0]))
        names = legend(data.class_names, data.palette)
        page = Image.new("RGB", (max(sheet.width, names.width), sheet.height + names.height))
        page.paste("white", (0, 0, *page.size))
        page.paste(sheet, (0, 0))
        page.paste(names, (0, sheet.height))
        page.save(self.folder / "sheet.png")


def save_ids(path: Path, ids: NDArray[np.uint8], palette: Sequence[Sequence[int]]) -> None:
    """Write class ids (H,W) as a palette PNG: raw values are the ids, viewers show the colours."""
    image = Image.fromarray(ids)
    image.putpalette([int(value) for colour in palette for value in colour])
    image.save(path)


def _sized(image: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The picture at (h,w); a test mask may have a size of its own."""
    if image.shape[:2] == shape:
        return image
    resized = Image.fromarray(image).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def _stretched(x: Tensor) -> NDArray[np.uint8]:
    """X (h,w) of any range as 8-bit grey, darkest to brightest."""
    values = x.float().cpu().numpy()
    low, high = float(values.min()), float(values.max())
    return ((values - low) / max(high - low, 1e-8) * 255).round().astype(np.uint8)


def _datamodule(trainer: Trainer) -> RGBXDataModule:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, RGBXDataModule)
    return data
