"""The task base for object detection: boxes as targets, COCO's scores at the original size."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from rgbx.data.prompt_dataset import ResizeMode
from rgbx.errors import RGBXError
from rgbx.metrics.catalogue import family_metrics, metric_info
from rgbx.metrics.detection.average_precision import DetectionScores
from rgbx.metrics.detection.miss_rate import MissRateConfig
from rgbx.metrics.evaluator import Evaluator
from rgbx.optim.schedules import Schedule
from rgbx.tasks.base import OptimizerFactory, RGBXModule
from rgbx.tasks.batch_image import BatchImage, part_of_batch
from rgbx.tasks.detection_files import DetectionFiles, detection_row
from rgbx.tasks.frame import Frame
from rgbx.visualization.sheet import Draw

__all__ = ["DetectionEvalConfig", "DetectionModule"]

_LOGGED = tuple(name for name in family_metrics("boxes") if metric_info(name).validated)


@dataclass(frozen=True)
class DetectionEvalConfig:
    """What counts as a detection, and parameters of the scores.

    Args:
        threshold: detections need a higher score.
        nms: IoU from which on the less sure of two detections of a class is dropped.
        most: detections of an image that are kept.
        max_detections: of an image and class that COCO's scores look at. 100 is COCO's; mmdet
            prints AP at 100, and AP50, AP75 and those by size at 1,000.
        miss_rate: which pedestrians count, for data sets that ask for the miss rate.
        drawn: score from which on detections are drawn.

    Raises:
        RGBXError: a number cannot work.
    """

    threshold: float = 0.05
    nms: float = 0.5
    most: int = 2000
    max_detections: int = 100
    miss_rate: MissRateConfig = MissRateConfig()
    drawn: float = 0.3

    def __post_init__(self) -> None:
        for name in ("threshold", "nms", "drawn"):
            if not 0 <= getattr(self, name) <= 1:
                raise RGBXError(
                    f"evaluation.{name} is {getattr(self, name)}: give a number from 0 to 1."
                )
        for name in ("most", "max_detections"):
            if not getattr(self, name) >= 1:
                raise RGBXError(f"evaluation.{name} is {getattr(self, name)}: give 1 or more.")


class DetectionModule(RGBXModule, ABC):
    """Every object a box and one of K classes; there is no class for the background.

    A subclass implements ``forward(rgb, x) -> [{boxes, scores, labels}, ...]`` in pixels of the
    network's input, and ``losses(rgb, x, targets, seeds)``. Boxes are brought to the pixels of the
    image here; validation and test score there.
    """

    task: ClassVar[str] = "detection"
    needs_boxes: ClassVar[bool] = True

    def __init__(
        self,
        num_classes: int,
        class_names: Sequence[str],
        evaluation: DetectionEvalConfig,
        optimizer: OptimizerFactory,
        schedule: Schedule,
    ) -> None:
        super().__init__(optimizer, schedule)
        if len(class_names) != num_classes:
            raise RGBXError(
                f"num_classes is {num_classes}, but {len(class_names)} class names were given "
                f"({', '.join(class_names)}): the two must agree."
            )
        self.num_classes = num_classes
        self.class_names = tuple(class_names)
        self.evaluation = evaluation
        self.validation_scores = self._scores(False)

    @abstractmethod
    def losses(
        self,
        rgb: Tensor,
        x: Tensor | None,
        targets: Sequence[Mapping[str, Tensor]],
        seeds: Sequence[int],
    ) -> dict[str, Tensor]:
        """Named losses of a batch; their sum is minimised.

        Args:
            rgb: (B,3,H,W).
            x: (B,3,H,W).
            targets: of every image ``boxes`` (n,4) in pixels of the input, ``labels`` and
                ``ignore`` (n,); n may be 0.
            seeds: of every image, for what is sampled.
        """

    @abstractmethod
    def forward(self, rgb: Tensor, x: Tensor | None = None) -> list[dict[str, Tensor]]:
        """Detections in pixels of the network's input.

        Args:
            rgb: (B,3,H,W) float, normalised as the data module does.
            x: (B,3,H,W) or (B,1,H,W) float, the second modality.

        Returns:
            For every image ``boxes`` (n,4) x1, y1, x2, y2, ``scores`` (n,) falling, ``labels``
            (n,) 0 to K-1.
        """

    # ------------------------------------------------------------------ steps
    def setup(self, stage: str) -> None:
        """As the base; the miss rate is scored where the data set is one of pedestrians."""
        super().setup(stage)
        self.validation_scores = self._scores(self._of_pedestrians).to(self.device)

    @property
    def _of_pedestrians(self) -> bool:
        return bool(getattr(self._data, "pedestrians", False))

    def _scores(self, of_pedestrians: bool) -> DetectionScores:
        rule = self.evaluation.miss_rate if of_pedestrians else None
        return DetectionScores(self.num_classes, self.evaluation.max_detections, rule)

    def training_losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """`losses` of a batch; what is sampled of an image depends on its own seed alone."""
        return self.losses(*self.inputs(batch), batch["target"], batch["seed"])

    @classmethod
    def validation_metrics(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the scores that validation logs; ``val/MR`` on data sets of pedestrians only.

        Args:
            arguments: of the constructor.
        """
        return tuple(f"val/{name}" for name in _LOGGED)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Count one validation batch at the size of its images."""
        found = self.detect(batch)
        for prediction, target in zip(found, batch["target"], strict=True):
            self.validation_scores.update(prediction, target)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the whole set (gathered over ranks)."""
        scores = self.validation_scores.compute()
        for name in _LOGGED:
            if name in scores:
                shown = name == "AP50"
                self.log(f"val/{name}", scores[name], prog_bar=shown, sync_dist=True)
        self.validation_scores.reset()

    def detect(self, batch: Mapping[str, Any]) -> list[dict[str, Tensor]]:
        """Detections of a batch in pixels of each image, clipped to it.

        Returns:
            For every image ``boxes`` (n,4) float32 or wider, ``scores`` and ``labels`` (n,).

        Raises:
            RGBXError: the network's output holds NaN.
        """
        rgb, x = self.inputs(batch)
        mode: ResizeMode = getattr(self._data, "resize_mode", "squash")
        found = self(rgb, x)
        for prediction, size in zip(found, batch["size"], strict=True):
            if not all(torch.isfinite(prediction[k]).all() for k in ("boxes", "scores")):
                raise RGBXError(
                    "The network's output holds NaN, so nothing can be scored: train with a lower "
                    "learning rate, or evaluate with --trainer.precision 32-true."
                )
            frame = Frame(size, rgb.shape[-2:], mode)
            prediction["boxes"] = frame.boxes(prediction["boxes"])
        return list(found)

    def test_evaluator(self) -> Evaluator:
        """One metric per (split, subset), plus "all"."""
        return Evaluator(self._scores(self._of_pedestrians), self.test_splits, self.subsets)

    def headline(self, scores: Mapping[str, Any]) -> Sequence[str]:
        """The scores that validation logs too."""
        return [name for name in _LOGGED if name in scores]

    def test_step(  # type: ignore[override]  # Lightning passes outputs on to callbacks as they are
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> list[dict[str, Tensor]]:
        """Score at the original size.

        Returns:
            The detections of every image, for those who want to see them.
        """
        split = self.test_splits[dataloader_idx]
        found = self.detect(batch)
        images = zip(found, batch["target"], batch["subset"], strict=True)
        for prediction, target, subset in images:
            self.evaluator.update(split, subset, prediction, target)
        return found

    def curves(self) -> dict[str, dict[str, Tensor]]:
        """After a test: split -> precision and recall over 256 thresholds of the score."""
        if self.evaluator is None:
            raise RGBXError("There are no curves before a test.")
        return {split: self.evaluator.metric(split).curves() for split in self.test_splits}

    def protocol(self) -> dict[str, str]:
        """Metric -> sentence that says what was averaged over what."""
        size = "boxes in pixels of the image's file"
        scores = self._scores(self._of_pedestrians).protocol()
        return {name: f"{sentence}; {size}" for name, sentence in scores.items()}

    def predict_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> list[dict[str, Tensor]]:
        """The detections of every image in its own pixels, on the CPU."""
        return [{k: v.cpu() for k, v in found.items()} for found in self.detect(batch)]

    # ------------------------------------------------------------------ files and panels
    def prediction_files(self, folder: Path) -> DetectionFiles:
        """COCO results and overlays."""
        return DetectionFiles(folder, self.evaluation.drawn)

    def draw_validation(self, images: Sequence[BatchImage], cell: tuple[int, int]) -> list[Draw]:
        """Image and X with detections, and ground truth."""
        batch = part_of_batch(images) | {"size": [image["size"] for image in images]}
        found = self.detect(batch)
        drawn = self.evaluation.drawn
        pairs = zip(images, found, strict=True)
        return [partial(detection_row, image, own, drawn) for image, own in pairs]
