"""What a test scored, image by image: ``images.csv``."""

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from rgbx.data.splits.records import Record
from rgbx.disk import whole_file
from rgbx.errors import RGBXError
from rgbx.metrics.catalogue import INPUT, metric_info
from rgbx.tasks.batch_image import BatchImage, images_of, splits_of
from rgbx.tasks.prediction_files import PredictionFiles

__all__ = ["IMAGES", "ImageRecorder"]

IMAGES = "images.csv"
_PLACES = ("split", "subset", "name", "rgb", "x", "mask", "truth")


class ImageRecorder(Callback):
    """Writes ``images.csv`` next to ``test.json``: one line per split and image.

    Its columns: `split`, `subset`, `name`; `rgb`, `x` and `mask`, the files that the data module
    read (absolute; x and mask empty if there is none or it is unknown); `truth` and `prediction`,
    or `prediction/KIND` for models that take prompts, files of this test relative to the folder
    (empty if predictions are not saved); then the scores, of which each is the image's share: their
    mean over a split is the score in ``test.json``, but for `acc`, which weighs images by their
    pixels there. Scores that only a whole set has, such as `miou` and `maxF`, have no column; an
    empty field is a score that the image does not have.

    Args:
        folder: of the test.
        saved: whether predictions are written there.
    """

    def __init__(self, folder: Path, saved: bool) -> None:
        self.folder = Path(folder)
        self._saved = saved
        self._files: PredictionFiles | None = None
        self._rows: list[dict[str, Any]] = []
        self._scores: list[dict[str, float]] = []
        self._seen: dict[str, int] = {}

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Listen to what is scored."""
        if self._saved and self._files is None:
            self._files = pl_module.prediction_files(self.folder)
        for evaluator in pl_module.image_evaluators():
            evaluator.watch()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note the images of a batch, their files and their scores."""
        images = list(images_of(trainer, batch, splits_of(trainer), dataloader_idx))
        predictions = outputs if isinstance(outputs, Sequence) else ()
        scores = _scores(pl_module, len(images))
        for place, image in enumerate(images):
            row = self._source(image)
            if self._files is not None and len(predictions) == len(images):
                row |= self._files.paths(image, predictions[place])
            self._rows.append(row)
            self._scores.append(scores[place])

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file, whole or not at all."""
        if not self._rows:
            return
        names = dict.fromkeys(name for scores in self._scores for name in scores)
        reported = _reported(getattr(pl_module, "results", {}))
        headings = {
            name: f"{name}{INPUT}"
            if name not in reported and f"{name}{INPUT}" in reported
            else name
            for name in names
        }
        files = dict.fromkeys((*_PLACES, *(key for row in self._rows for key in row)))
        rows = [[row.get(key, "") for key in files] for row in self._rows]
        for row, scores in zip(rows, self._scores, strict=True):
            row += [_text(scores.get(name, math.nan)) for name in names]
        _write(self.folder / IMAGES, [[*files, *headings.values()], *rows])

    def _source(self, image: BatchImage) -> dict[str, str]:
        """Where the image came from."""
        number = self._seen.get(image.split, 0)
        self._seen[image.split] = number + 1
        row = {"split": image.split, "subset": image["subset"], "name": image["name"]}
        row["rgb"] = os.path.abspath(image["path"])
        record = _record(image, number)
        for key in ("x", "mask"):
            path = getattr(record, key, None)
            row[key] = os.path.abspath(path) if path is not None else ""
        return row


def _scores(model: Any, count: int) -> list[dict[str, float]]:
    """The scores of the images of a batch; empty ones for a model that counts otherwise."""
    found: list[dict[str, float]] = [{} for _ in range(count)]
    for evaluator in model.image_evaluators():
        watched = evaluator.watched()
        if len(watched) != count:
            continue
        for scores, own in zip(watched, found, strict=True):
            for name, value in scores.items():
                if metric_info(name).scope == "image" and not getattr(value, "ndim", 0):
                    own.setdefault(name, float(value))
    return found


def _record(image: BatchImage, number: int) -> Record | None:
    """The files of an image, if the data set keeps them in the order of its loader."""
    records = image.data.records(image.split)
    if number < len(records) and records[number].name == image["name"]:
        return records[number]
    return None


def _reported(results: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> set[str]:
    return {name for subsets in results.values() for scores in subsets.values() for name in scores}


def _text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _write(path: Path, rows: Sequence[Sequence[str]]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # names are bytes to the file system: those that are no text must survive too
        with (
            whole_file(path) as draft,
            draft.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            csv.writer(file, lineterminator="\n").writerows(rows)
    except OSError as error:
        raise RGBXError(
            f"The scores of the images could not be written to {path} ({error.strerror}); make "
            "room or choose another folder with --output."
        ) from error
