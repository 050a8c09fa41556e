"""The task base for salient objects: one map in [0, 1] per image, per-image scores."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from rgbx.errors import RGBXError
from rgbx.losses import partial_cross_entropy, structure
from rgbx.metrics.evaluator import Evaluator
from rgbx.metrics.saliency import SaliencyScores
from rgbx.models.base import OptimizerFactory, RGBXModule, resize
from rgbx.optim.schedules import Schedule

__all__ = ["SaliencyModule", "saliency_loss"]

IGNORE = 255
_VALIDATED = ("maxF", "meanF", "MAE", "IoU")


class SaliencyModule(RGBXModule, ABC):
    """Every pixel salient or not.

    A subclass implements ``logits(rgb, x) -> (B,1,H,W)`` at input size, and what it trains on.

    Validation works at network size on labelled pixels (scribbles label few), with the measures
    that do not depend on where pixels lie: ``val/maxF``, ``val/meanF``, ``val/MAE``, ``val/IoU``.
    Testing resizes the logits to the original size of every mask, and scores the sigmoid with all
    measures, by split and subset, into :attr:`results`.
    """

    def __init__(self, optimizer: OptimizerFactory, schedule: Schedule) -> None:
        super().__init__(optimizer, schedule)
        self.validation_scores = SaliencyScores(measures=("MAE", "F", "overlap"))
        self.evaluator: Evaluator | None = None

    @abstractmethod
    def logits(self, rgb: Tensor, x: Tensor | None) -> Tensor:
        """The prediction before the sigmoid, (B,1,H,W) at the size of the input."""

    def maps(self, batch: dict[str, Any], sizes: list[Any]) -> list[Tensor]:
        """Saliency of every image: logits resized bilinearly to (h,w), then the sigmoid.

        Returns:
            One (h,w) float tensor in [0, 1] per image.
        """
        logits = self.logits(*self.inputs(batch))
        return [
            resize(logit[None], size)[0, 0].sigmoid()
            for logit, size in zip(logits, sizes, strict=True)
        ]

    @classmethod
    def validation_metrics(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the scores that validation logs.

        Args:
            arguments: of the constructor.
        """
        return tuple(f"val/{name}" for name in _VALIDATED)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Score one validation batch at network size, on labelled pixels."""
        masks = batch["mask"]
        for prediction, mask in zip(self.maps(batch, [m.shape for m in masks]), masks, strict=True):
            labelled = mask != IGNORE
            if not labelled.all():  # as a picture of one row: these measures know no neighbours
                prediction, mask = prediction[labelled][None], mask[labelled][None]
            if mask.numel():
                self.validation_scores.update(prediction, mask)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the whole set (summed over ranks)."""
        scores = self.validation_scores.compute()
        for name in _VALIDATED:
            self.log(f"val/{name}", scores[name], prog_bar=name == "maxF", sync_dist=True)
        self.validation_scores.reset()

    def on_test_start(self) -> None:
        """One metric per (split, subset), plus "all"."""
        self.evaluator = Evaluator(SaliencyScores(), self.test_splits, self.subsets)
        self.evaluator.to(self.device)

    def test_step(  # type: ignore[override]  # Lightning passes outputs on to callbacks as they are
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> list[Tensor]:
        """Score at the original size.

        Returns:
            One (h,w) map in [0, 1] per image, for those who want to see them.
        """
        assert self.evaluator is not None
        split = self.test_splits[dataloader_idx]
        maps = self.maps(batch, [mask.shape for mask in batch["mask"]])
        for prediction, mask, subset in zip(maps, batch["mask"], batch["subset"], strict=True):
            self.evaluator.update(split, subset, prediction, mask)
        return maps

    def on_test_epoch_end(self) -> None:
        """Collect the scores into :attr:`results` and log the headline."""
        assert self.evaluator is not None
        self.results = self.evaluator.results()
        for split, subsets in self.results.items():
            for subset, scores in subsets.items():
                for name in ("S", "maxF", "maxE", "MAE"):
                    self.log(f"{split}/{subset}/{name}", float(scores[name]))

    def curves(self) -> dict[str, dict[str, Tensor]]:
        """After a test: split -> precision, recall, F, E over 256 thresholds, each (256,)."""
        if self.evaluator is None:
            raise RGBXError("There are no curves before a test.")
        found = {}
        for split in self.evaluator.splits:
            metric = self.evaluator.metric(split)
            assert isinstance(metric, SaliencyScores)
            found[split] = metric.curves()
        return found

    def protocol(self) -> dict[str, str]:
        """Metric -> sentence that says what was averaged over what."""
        size = "at the size of each mask, logits resized bilinearly before the sigmoid"
        return {name: f"{text}; {size}" for name, text in SaliencyScores().protocol().items()}

    def predict_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> list[Tensor]:
        """One (h,w) map in [0, 1] per image at its original size, on the CPU."""
        return [m.cpu() for m in self.maps(batch, batch["size"])]


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
