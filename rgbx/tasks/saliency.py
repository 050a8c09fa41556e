"""The task base for salient objects: one map in [0, 1] per image, per-image scores."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, get_args

from torch import Tensor, nn
from torchmetrics import Metric

from rgbx.errors import RGBXError
from rgbx.losses import partial_cross_entropy, structure
from rgbx.metrics.catalogue import CATALOGUE
from rgbx.metrics.saliency import SaliencyScores
from rgbx.optim.schedules import Schedule
from rgbx.tasks.base import OptimizerFactory, RGBXModule, resize, without_nan
from rgbx.tasks.batch_image import BatchImage, part_of_batch
from rgbx.tasks.dense_files import DenseFiles, dense_row
from rgbx.tasks.export_part import Port
from rgbx.tasks.map_evaluation import (
    OVERALL,
    EvalConfig,
    Family,
    MapEvaluator,
    MapScoring,
    overall_sentence,
)
from rgbx.visualization.sheet import Draw

__all__ = ["SaliencyModule", "saliency_loss"]

IGNORE = 255
_VALIDATED = {
    family: tuple(m.name for m in CATALOGUE if m.family == family and m.validated)
    for family in get_args(Family)
}


class SaliencyModule(RGBXModule, ABC):
    """Every pixel salient or not.

    A subclass implements ``logits(rgb, x) -> (B,1,H,W)`` at input size, and what it trains on.

    Validation works on labelled pixels (scribbles label few), at network size or, where checkpoints
    are chosen on test sets, at the size of the masks, with the measures that do not depend on where
    pixels lie: ``val/maxF``, ``val/meanF``, ``val/MAE``, ``val/IoU``;
    "shadow" adds ``val/BER`` and ``val/BER_image``, "polyp" ``val/mDice`` and ``val/mIoU``.
    Testing resizes the logits to the original size of every mask, and scores the sigmoid with all
    measures, by split and subset, into :attr:`results`.

    Args:
        optimizer: from trainable parameters to an optimiser.
        schedule: learning-rate schedule, per optimiser step.
        scores: families of scores of a test: ``saliency`` (S, E, F, weighted F, MAE, overlap),
            ``shadow`` (BER), ``polyp`` (Dice and IoU, at 0.5, soft, and over all thresholds).
        evaluation: at which size a test scores, and parameters of the scores.

    Raises:
        RGBXError: an option has a value that cannot work.
    """

    task: ClassVar[str] = "saliency"
    outside_forward: ClassVar[tuple[str, ...]] = ("scores", "evaluation")

    def __init__(
        self,
        optimizer: OptimizerFactory,
        schedule: Schedule,
        scores: Sequence[Family] = ("saliency",),
        evaluation: EvalConfig = EvalConfig(),
    ) -> None:
        super().__init__(optimizer, schedule)
        self.scoring = MapScoring(tuple(scores), evaluation)
        self.validation_scores = SaliencyScores(measures=("MAE", "F", "overlap"))
        self.validation_families = nn.ModuleList(self.scoring.of_validation())
        self._scored: list[tuple[Tensor, Tensor, Tensor]] = []

    @abstractmethod
    def logits(self, rgb: Tensor, x: Tensor | None) -> Tensor:
        """The prediction before the sigmoid, (B,1,H,W) at the size of the input."""

    def raw_output(self, batch: Mapping[str, Any]) -> Tensor:
        """`logits` of a batch, (B,1,H,W)."""
        return self.logits(*self.inputs(batch))

    def output_port(self, size: tuple[int, int]) -> Port:
        """Logits of what is salient, (B,1,H,W)."""
        meaning = "before the sigmoid; resize to the image, then the sigmoid is the saliency"
        return Port("logits", ("batch", 1, *size), meaning)

    def maps(self, batch: dict[str, Any], sizes: list[Any]) -> list[Tensor]:
        """Saliency of every image: logits resized bilinearly to (h,w), then the sigmoid.

        Returns:
            One (h,w) float tensor in [0, 1] per image.
        """
        return _maps(self.logits(*self.inputs(batch)), sizes)

    @classmethod
    def validation_metrics(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the scores that validation logs.

        Args:
            arguments: of the constructor.
        """
        families = dict.fromkeys(["saliency", *arguments.get("scores", ())])
        return tuple(f"val/{name}" for family in families for name in _VALIDATED[family])

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Score one validation batch at the size of its masks, on labelled pixels."""
        masks = batch["mask"]
        for prediction, mask in zip(self.maps(batch, [m.shape for m in masks]), masks, strict=True):
            labelled = mask != IGNORE
            if not labelled.all():  # as an image of one row: these measures know no neighbours
                prediction, mask = prediction[labelled][None], mask[labelled][None]
            if mask.numel():
                for scores in (self.validation_scores, *self.validation_families):
                    scores.update(prediction, mask)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the whole set (summed over ranks)."""
        scores = self.validation_scores.compute()
        for name in _VALIDATED["saliency"]:
            self.log(f"val/{name}", scores[name], prog_bar=name == "maxF", sync_dist=True)
        self.validation_scores.reset()
        for family in self.validation_families:
            assert isinstance(family, Metric)
            for index, (name, value) in enumerate(family.compute().items()):
                self.log(f"val/{name}", value, prog_bar=index == 0, sync_dist=True)
            family.reset()

    def test_evaluator(self) -> MapEvaluator:
        """One metric per family, size and (split, subset), plus "all"."""
        return MapEvaluator(self.scoring, self.test_splits, self.subsets)

    def headline(self, scores: Mapping[str, Any]) -> Sequence[str]:
        """What papers print first of every family."""
        return self.scoring.headline()

    def test_step(  # type: ignore[override]  # Lightning passes outputs on to callbacks as they are
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> list[Tensor]:
        """Score at the original size, at network size, or both.

        Returns:
            One (h,w) map in [0, 1] per image at its original size, for those who want to see them.
        """
        split = self.test_splits[dataloader_idx]
        masks = batch["mask"]
        logits = self.logits(*self.inputs(batch))
        maps = _maps(logits, [mask.shape for mask in masks])
        for subset, *image in zip(batch["subset"], maps, logits, masks, strict=True):
            self.evaluator.update(split, subset, *image)
        self._scored = list(zip(maps, logits, masks, strict=True))
        return maps

    def scored_files(self, index: int) -> dict[str, Tensor]:
        """The maps of an image as they were scored, see `MapScoring.files`."""
        return self.scoring.files(*self._scored[index])

    def curves(self) -> dict[str, dict[str, Tensor]]:
        """After a test: split -> curves over 256 thresholds, (256,) each.

        Precision, recall, F and E of saliency, Dice and IoU of polyps.
        """
        if self.evaluator is None:
            raise RGBXError("There are no curves before a test.")
        curves: dict[str, dict[str, Tensor]] = self.evaluator.curves()
        return curves

    def protocol(self) -> dict[str, str]:
        """Metric -> sentence that says what was averaged over what; "overall" if there are sets."""
        found = self.scoring.protocol()
        if OVERALL in self.results:
            splits = [split for split in self.results if split != OVERALL]
            found[OVERALL] = overall_sentence(splits)
        return found

    def predict_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> list[Tensor]:
        """One (h,w) map in [0, 1] per image at its original size, on the CPU."""
        return [m.cpu() for m in self.maps(batch, batch["size"])]

    # ------------------------------------------------------------------ files and panels
    def prediction_files(self, folder: Path) -> DenseFiles:
        """Maps as 8-bit grey images, and overlays."""
        return DenseFiles(folder)

    def draw_validation(self, images: Sequence[BatchImage], cell: tuple[int, int]) -> list[Draw]:
        """Image, X, map and ground truth at network size."""
        maps = self.logits(*self.inputs(part_of_batch(images)))[:, 0].float().sigmoid()
        return [partial(dense_row, image, map_) for image, map_ in zip(images, maps, strict=True)]


def _maps(logits: Tensor, sizes: Sequence[Any]) -> list[Tensor]:
    """(B,1,H,W) logits resized to (h,w) each, then the sigmoid."""
    return [
        resize(logit[None], size)[0, 0].sigmoid()
        for logit, size in zip(without_nan(logits), sizes, strict=True)
    ]


def saliency_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Structure loss where every pixel is labelled, cross-entropy on labelled pixels elsewhere.

    Args:
        logits: (B,1,h,w), resized bilinearly to the mask.
        mask: (B,1,H,W) float in [0, 1], or (B,H,W) int64 ids 0, 1, and 255 for unlabelled pixels
            (scribbles).

    Returns:
        Scalar, a mean over the images.
    """
    logits = resize(logits, mask.shape[-2:])
    if mask.is_floating_point():
        return structure(logits, mask)
    if bool((mask == IGNORE).any()):
        return partial_cross_entropy(logits, mask)
    return structure(logits, mask[:, None].to(logits.dtype))
