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
from rgbx.pictures import colourise, heat, legend, overlay, panel

__all__ = ["PredictionWriter"]

SHEET_ROWS = 8
_GREY = ((0, 0, 0), (255, 255, 255))

Picture = NDArray[np.uint8]
Row = tuple[list[Picture], list[str]]  # pictures of the sheet from left to right, their titles


class PredictionWriter(Callback):
    """Writes one prediction and one overlay per image, and a sheet of some of them.

    Class ids become ``masks/NAME.png``, a palette image whose raw values are the ids; maps of
    probabilities (any floating type, 0 to 1) become ``maps/NAME.png``, 8-bit grey, rounded.
    ``overlays/NAME.png`` shows the prediction over the visible picture; ``sheet.png`` has rows of
    RGB, X, prediction and, in a test, ground truth. A test of several splits puts the files of each
    into a folder of its own (``maps/SPLIT/NAME.png``), and rows of each into the sheet.

    Args:
        folder: made if absent. Pictures of the same name are replaced.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._rows: dict[str, list[Row]] = {}
        self._seen: dict[str, int] = {}
        self._grey = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the folder before the first batch, so that a read-only place shows at once."""
        try:
            (self.folder / "overlays").mkdir(parents=True, exist_ok=True)
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
        """Draw the sheet."""
        self._draw_sheet(_datamodule(trainer))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the sheet."""
        self._draw_sheet(_datamodule(trainer))

    def _write(
        self,
        data: RGBXDataModule,
        splits: Sequence[str],
        position: int,
        batch: dict[str, Any],
        predictions: Sequence[Tensor],
    ) -> None:
        split = splits[position]
        quota = -(-SHEET_ROWS // len(splits))  # rows of the sheet for each split
        every = max(1, data.split_sizes[split] // quota)
        rows = self._rows.setdefault(split, [])
        for index, (name, path, prediction) in enumerate(
            zip(batch["name"], batch["path"], predictions, strict=True)
        ):
            rgb = _sized(read_rgb(Path(path)), tuple(prediction.shape))
            place = f"{split}/{name}" if len(splits) > 1 else str(name)
            shown = self._save(place, prediction, rgb, data)
            seen = self._seen.get(split, 0)
            if seen % every == 0 and len(rows) < quota:
                rows.append(_row(data, batch, index, place, rgb, shown))
            self._seen[split] = seen + 1

    def _save(self, place: str, prediction: Tensor, rgb: Picture, data: RGBXDataModule) -> Picture:
        """Write one prediction and its overlay; returns the prediction as the sheet shows it."""
        overlaid = self._file("overlays", place)
        self._grey = prediction.is_floating_point()
        if self._grey:
            values = prediction.float().cpu().numpy().clip(0, 1)
            shown = np.rint(values * 255).astype(np.uint8)
            Image.fromarray(shown).save(self._file("maps", place))
            Image.fromarray(heat(rgb, values)).save(overlaid)
            return shown
        ids = prediction.cpu().numpy().astype(np.uint8)
        save_ids(self._file("masks", place), ids, data.palette)
        Image.fromarray(overlay(rgb, ids, data.palette)).save(overlaid)
        return colourise(ids, data.palette)

    def _file(self, kind: str, place: str) -> Path:
        path = self.folder / kind / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)  # names may hold folders ("day/0001")
        return path

    def _draw_sheet(self, data: RGBXDataModule) -> None:
        rows = [row for split in self._rows.values() for row in split]
        if not rows:
            return
        pictures = [picture for row, _ in rows for picture in row]
        titles = [title for _, row in rows for title in row]
        sheet = panel(pictures, titles, columns=len(rows[0][0]))
        names = legend(data.class_names, _GREY if self._grey else data.palette)
        page = Image.new("RGB", (max(sheet.width, names.width), sheet.height + names.height))
        page.paste("white", (0, 0, *page.size))
        page.paste(sheet, (0, 0))
        page.paste(names, (0, sheet.height))
        page.save(self.folder / "sheet.png")


def save_ids(path: Path, ids: Picture, palette: Sequence[Sequence[int]]) -> None:
    """Write class ids (H,W) as a palette PNG: raw values are the ids, viewers show the colours."""
    image = Image.fromarray(ids)
    image.putpalette([int(value) for colour in palette for value in colour])
    image.save(path)


def _row(
    data: RGBXDataModule,
    batch: dict[str, Any],
    index: int,
    title: str,
    rgb: Picture,
    prediction: Picture,
) -> Row:
    pictures, titles = [rgb], [title]
    if "x" in batch:
        pictures.append(_sized(_stretched(batch["x"][index, 0]), rgb.shape[:2]))
        titles.append("X")
    pictures.append(prediction)
    titles.append("prediction")
    if "mask" in batch:
        # beside a map of probabilities the truth is black and white, like the map
        palette = _GREY if prediction.ndim == 2 else data.palette
        pictures.append(colourise(batch["mask"][index].cpu().numpy(), palette))
        titles.append("ground truth")
    return pictures, titles


def _sized(image: Picture, shape: tuple[int, ...]) -> Picture:
    """The picture at (h,w); a test mask may have a size of its own."""
    if image.shape[:2] == shape:
        return image
    resized = Image.fromarray(image).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def _stretched(x: Tensor) -> Picture:
    """X (h,w) of any range as 8-bit grey, darkest to brightest."""
    values = x.float().cpu().numpy()
    low, high = float(values.min()), float(values.max())
    return ((values - low) / max(high - low, 1e-8) * 255).round().astype(np.uint8)


def _datamodule(trainer: Trainer) -> RGBXDataModule:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, RGBXDataModule)
    return data
