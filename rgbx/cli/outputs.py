"""What ``test`` and ``predict`` leave on disk: scores, masks, overlays."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from torch import Tensor

from rgbx.data.base import RGBXDataModule
from rgbx.data.files import read_rgb
from rgbx.errors import RGBXError
from rgbx.models.base import RGBXModule
from rgbx.pictures import overlay
from rgbx.results import (
    CheckpointRecord,
    DataRecord,
    ModelRecord,
    benchmark_table,
    class_table,
    load_published,
    make_result,
    sha256_of,
    to_terminal,
    write_result,
)

__all__ = ["PredictionWriter", "report_test"]


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


def report_test(
    model: RGBXModule, data: RGBXDataModule, checkpoint: Path, folder: Path, seed: int | None
) -> None:
    """Print the benchmark table and the per-class table, and write ``test.json``.

    Args:
        model: after ``trainer.test``; its ``results`` are reported.
        data: what it was tested on.
        checkpoint: the file that was tested.
        folder: gets ``test.json``.
        seed: of the run.
    """
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    protocol = dict(model.protocol())
    if data.blank:
        protocol["ablation"] = f"{data.blank} was blanked (replaced by its mean) in every image"
    result = make_result(
        paper=paper_of(model),
        model=ModelRecord(_path_of(model), dict(model.hparams)),
        data=DataRecord(_path_of(data), data.root.name, data.split_sizes, tuple(data.class_names)),
        checkpoint=CheckpointRecord(
            checkpoint.name, sha256_of(checkpoint), stored["epoch"], stored["global_step"]
        ),
        scores=model.results,
        protocol=protocol,
        seed=seed,
    )
    write_result(folder / "test.json", result)
    published = load_published(result.paper)
    console = Console()
    for split in result.numbers:
        console.print(to_terminal(benchmark_table(result, published, split)))
        if result.classes.get(split):
            console.print(to_terminal(class_table(result, split)))
    if data.blank:
        console.print(f"Ablation: {protocol['ablation']}.")
    console.print(f"written: {folder / 'test.json'}", soft_wrap=True)


def paper_of(model: RGBXModule) -> str:
    """Folder name of the paper whose class this is, or derives from."""
    for cls in type(model).__mro__:
        if cls.__module__.startswith("rgbx.models.") and cls.__module__.count(".") > 2:
            return cls.__module__.split(".")[2]
    return type(model).__name__.lower()


def _path_of(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _datamodule(trainer: Trainer) -> RGBXDataModule:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, RGBXDataModule)
    return data
