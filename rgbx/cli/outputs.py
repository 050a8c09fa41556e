"""What ``test`` and ``predict`` leave on disk: scores, masks, overlays."""

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
from rgbx.pictures import overlay

__all__ = ["PredictionWriter"]


class PredictionWriter(Callback):
    """Writes ``masks/NAME.png`` (palette image whose values are the ids) and ``overlays/NAME.png``.

    Args:
        folder: made if absent. Pictures of an earlier run of the same name are replaced.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

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
        self._write(trainer, batch, outputs)

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
        self._write(trainer, batch, outputs)

    def _write(self, trainer: Trainer, batch: dict[str, Any], masks: list[Tensor]) -> None:
        palette = _datamodule(trainer).palette
        for name, path, mask in zip(batch["name"], batch["path"], masks, strict=True):
            ids = mask.cpu().numpy()
            rgb = read_rgb(Path(path))
            if rgb.shape[:2] != ids.shape:  # a test mask may have a size of its own
                size = (ids.shape[1], ids.shape[0])
                rgb = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR))
            target = f"{name}.png"
            for part in ("masks", "overlays"):  # names may hold folders ("day/0001")
                (self.folder / part / target).parent.mkdir(parents=True, exist_ok=True)
            save_ids(self.folder / "masks" / target, ids, palette)
            Image.fromarray(overlay(rgb, ids, palette)).save(self.folder / "overlays" / target)


def save_ids(path: Path, ids: NDArray[Any], palette: Any) -> None:
    """Write class ids (H,W) as a palette PNG: raw values are the ids, viewers show the colours."""
    image = Image.fromarray(ids.astype(np.uint8), mode="P")
    image.putpalette([int(v) for colour in palette for v in colour])
    image.save(path)


def _datamodule(trainer: Trainer) -> RGBXDataModule:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, RGBXDataModule)
    return data
