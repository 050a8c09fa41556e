"""The task base for semantic segmentation: cross-entropy + Dice style training, set-wise scores."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from rgbx.errors import RGBXError
from rgbx.metrics.catalogue import family_metrics
from rgbx.metrics.evaluator import Evaluator
from rgbx.metrics.semantic import SegmentationScores
from rgbx.optim.schedules import Schedule
from rgbx.tasks.base import OptimizerFactory, RGBXModule, resize, without_nan
from rgbx.tasks.batch_image import BatchImage, part_of_batch
from rgbx.tasks.dense_files import DenseFiles, dense_row
from rgbx.tasks.export_part import Port
from rgbx.tasks.image_input import check_rgb, check_x
from rgbx.visualization.sheet import Draw

__all__ = ["MFNET_CLASSES", "SemanticModule"]

#: what a model is built for where nothing is said; on the command line the data module decides
MFNET_CLASSES = (
    "unlabelled",
    "car",
    "person",
    "bike",
    "curve",
    "car_stop",
    "guardrail",
    "color_cone",
    "bump",
)
_LOGGED = family_metrics("classes", rank=2)


class SemanticModule(RGBXModule, ABC):
    """Every pixel one of K classes.

    A subclass implements ``forward(rgb, x) -> logits (B,K,h,w)`` at any stride and
    ``losses(logits, mask) -> dict``; logits are brought to the label's size here.

    Validation scores at network size and logs ``val/miou`` (one confusion matrix over the set, all
    ids counted). Testing scores at the original size of every mask, by split and subset
    (day / night / ...), into :attr:`results`.
    """

    task: ClassVar[str] = "semantic"

    def __init__(
        self,
        num_classes: int,
        class_names: Sequence[str],
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
        self.validation_scores = SegmentationScores(num_classes)

    @abstractmethod
    def losses(self, logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Named losses from logits (B,K,H,W) and mask (B,H,W); their sum is minimised."""

    @abstractmethod
    def low_resolution(self, rgb: Tensor, x: Tensor | None) -> Tensor:
        """Class logits (B,K,h,w) at the network's own stride, before any resizing."""

    def forward(self, rgb: Tensor, x: Tensor | None = None) -> Tensor:
        """Class logits at input size.

        Args:
            rgb: (B,3,H,W) float, normalised as the data module does; H and W multiples of 16.
            x: (B,3,H,W) or (B,1,H,W) float, the second modality.

        Returns:
            (B,K,H,W) logits.

        Raises:
            RGBXError: a modality is missing, or shapes do not fit.
        """
        name = type(self).__name__
        check_rgb(name, rgb, self.size_multiple)
        x = check_x(name, rgb, x) if self.needs_x else x
        return resize(self.low_resolution(rgb, x), rgb.shape[-2:])

    def output_port(self, size: tuple[int, int]) -> Port:
        """Logits of each class, (B,K,H,W)."""
        meaning = "of each class; resize to the image, then the largest is the class id"
        return Port("logits", ("batch", self.num_classes, *size), meaning)

    # ------------------------------------------------------------------ steps
    def training_losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """`losses` of the logits at input size."""
        return self.losses(self(*self.inputs(batch)), batch["mask"])

    @classmethod
    def validation_metrics(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the scores that validation logs.

        Args:
            arguments: of the constructor.
        """
        return tuple(f"val/{name}" for name in _LOGGED)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Count one validation batch at network size."""
        prediction = without_nan(self(*self.inputs(batch))).argmax(1)
        self.validation_scores.update(prediction, batch["mask"])

    def on_validation_epoch_end(self) -> None:
        """Log the whole-set scores (summed over ranks)."""
        scores = self.validation_scores.compute()
        for name in _LOGGED:
            self.log(f"val/{name}", scores[name], prog_bar=name == "miou", sync_dist=True)
        self.validation_scores.reset()

    def setup(self, stage: str) -> None:
        """As the base; ids that the data ignore are scored nowhere."""
        super().setup(stage)
        ignored = getattr(self._data, "ignore_ids", ())
        self.validation_scores.unscored = tuple(i for i in ignored if i < self.num_classes)

    def test_evaluator(self) -> Evaluator:
        """One metric per (split, subset), plus "all"."""
        scores = SegmentationScores(self.num_classes, unscored=self.validation_scores.unscored)
        return Evaluator(scores, self.test_splits, self.subsets)

    def headline(self, scores: Mapping[str, Any]) -> Sequence[str]:
        """The scores that validation logs too."""
        return _LOGGED

    def test_step(  # type: ignore[override]  # Lightning passes outputs on to callbacks as they are
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> list[Tensor]:
        """Score at the original size: logits are resized to each mask before the argmax.

        Returns:
            One (h,w) map of class ids per image, for those who want to see them.
        """
        split = self.test_splits[dataloader_idx]
        logits = without_nan(self.low_resolution(*self.inputs(batch)))
        predictions = []
        for logit, mask, subset in zip(logits, batch["mask"], batch["subset"], strict=True):
            predictions.append(resize(logit[None], mask.shape).argmax(1)[0])
            self.evaluator.update(split, subset, predictions[-1], mask)
        return predictions

    def protocol(self) -> dict[str, str]:
        """Metric -> sentence that says what was averaged over what."""
        size = "scored at the size of each mask, logits resized bilinearly before the argmax"
        scores = self.validation_scores.protocol()
        return {name: f"{sentence}; {size}" for name, sentence in scores.items()}

    def predict_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> list[Tensor]:
        """Class ids at the original size, one (h,w) uint8 tensor per image."""
        logits = without_nan(self.low_resolution(*self.inputs(batch)))
        return [
            resize(logit[None], size).argmax(1)[0].to(torch.uint8).cpu()
            for logit, size in zip(logits, batch["size"], strict=True)
        ]

    # ------------------------------------------------------------------ files and panels
    def prediction_files(self, folder: Path) -> DenseFiles:
        """Class ids as palette images, and overlays."""
        return DenseFiles(folder)

    def draw_validation(self, images: Sequence[BatchImage], cell: tuple[int, int]) -> list[Draw]:
        """Image, X, class ids and ground truth at network size."""
        ids = self(*self.inputs(part_of_batch(images))).argmax(1)
        return [partial(dense_row, image, found) for image, found in zip(images, ids, strict=True)]
