"""The task base for promptable segmentation: an object per prompt, scored by kind of prompt."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from rgbx.errors import RGBXError
from rgbx.metrics.evaluator import ALL, Evaluator
from rgbx.metrics.prompts import SCORES, PromptScores
from rgbx.optim.schedules import Schedule
from rgbx.prompts import Prompt
from rgbx.tasks.base import OptimizerFactory, RGBXModule, as_config, resize
from rgbx.tasks.batch_image import BatchImage
from rgbx.tasks.image_input import check_rgb
from rgbx.tasks.prompt_evaluation import EvaluationPrompts, PromptEvalConfig, masks_at, mean_scores
from rgbx.tasks.prompt_files import PromptFiles, prompt_on, prompted_row
from rgbx.visualization.sheet import Draw, Row

__all__ = ["PromptableModule"]

MEAN = "mean"  # the pseudo split that stands for all of them


class Predicted(NamedTuple):
    """The masks for the evaluation prompts of one image.

    Attributes:
        masks: kind -> (n,h,w) bool at the original size, one per prompt.
        target: (h,w) bool.
        measured: kind -> name -> mean over the prompts, see `PromptableModule.decode_measured`.
    """

    masks: dict[str, Tensor]
    target: Tensor
    measured: dict[str, dict[str, float]]


class PromptableModule(RGBXModule, ABC):
    """One object per prompt.

    A subclass implements `embed`, `decode` and `losses`. An image is encoded once, whatever the
    number of its prompts.

    Training takes one prompt per image. Validation logs ``val/KIND/mIoU`` and the other scores
    with a few noisy boxes per image. Testing takes the evaluation prompts of all kinds (the same
    for every model), and scores the masks at the original size, by split and subset, into
    :attr:`results`; with several splits there is also their unweighted mean.

    Args:
        optimizer: from trainable parameters to an optimiser.
        schedule: learning-rate schedule, per optimiser step.
        evaluation: which prompts validation and test give, see `PromptEvalConfig`.

    Raises:
        RGBXError: there is no such kind of prompt, or a number cannot be.
    """

    task: ClassVar[str] = "prompts"
    input_text: ClassVar[str] = "image with a prompt"
    needs_x = False
    needs_prompts = True
    outside_forward: ClassVar[tuple[str, ...]] = ("evaluation",)
    #: names of what `decode_measured` may return
    measured: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        optimizer: OptimizerFactory,
        schedule: Schedule,
        evaluation: PromptEvalConfig,
    ) -> None:
        super().__init__(optimizer, schedule)
        iou = None if evaluation.iou is None else (evaluation.iou[0], evaluation.iou[1])
        scale = evaluation.mask_prompt_scale
        kinds, val_kinds = tuple(evaluation.kinds), tuple(evaluation.val_kinds)
        self._validation = EvaluationPrompts(val_kinds, evaluation.val_prompts, iou, scale)
        self._test = EvaluationPrompts(kinds, evaluation.prompts, iou, scale)
        try:
            self.validation_scores, self._test_scores = (
                PromptScores(names, evaluation.boundary, evaluation.empty_union)
                for names in (val_kinds, kinds)
            )
        except ValueError as error:
            raise RGBXError(f"Evaluation cannot be set up like this: {error}") from error
        self._measured: dict[tuple[str, str], list[float]] = {}

    # ------------------------------------------------------------------ what a paper adds
    @abstractmethod
    def embed(self, rgb: Tensor) -> Tensor:
        """Image embeddings (B,C,h,w) of images (B,3,H,W)."""

    @abstractmethod
    def decode(self, embedding: Tensor, prompts: Sequence[Prompt], size: Sequence[int]) -> Tensor:
        """Mask logits of prompts.

        Args:
            embedding: (1,C,h,w), one image with N prompts, or (N,C,h,w), one prompt for each.
            prompts: N prompts of any kinds, in pixels of the network's input.
            size: (H,W) of the network's input.

        Returns:
            (N,1,4h,4w) logits, in the order of the prompts.
        """

    @abstractmethod
    def losses(self, logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Named losses from logits (B,1,h,w) and mask (B,1,H,W) in [0,1], to be summed."""

    def decode_measured(
        self, embedding: Tensor, prompts: Sequence[Prompt], size: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `decode`, with named numbers (N,) per prompt whose means by kind are reported."""
        return self.decode(embedding, prompts, size), {}

    def forward(self, rgb: Tensor, prompts: Sequence[Sequence[Prompt]]) -> list[Tensor]:
        """Answer the prompts of every image.

        Args:
            rgb: (B,3,H,W) float, normalised as the data module does.
            prompts: for each image, its prompts.

        Returns:
            For each image logits (N,1,H,W), in the order of its prompts.

        Raises:
            RGBXError: shapes do not fit, or there are more or fewer lists than images.
        """
        check_rgb(type(self).__name__, rgb, self.size_multiple)
        if len(prompts) != len(rgb):
            raise RGBXError(
                f"{type(self).__name__} takes a list of prompts for each image, but {len(prompts)} "
                f"lists came for {len(rgb)} images."
            )
        size = rgb.shape[-2:]
        return [
            resize(self.decode(embedding[None], wanted, size), size)
            for embedding, wanted in zip(self.embed(rgb), prompts, strict=True)
        ]

    def dummy_inputs(self, size: tuple[int, int], batch: int = 1) -> dict[str, Any]:
        """As the base; also "prompts", a box in the middle of each image."""
        height, width = size
        box = torch.tensor([0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height])
        prompts = [[Prompt(kind="box", box=box)] for _ in range(batch)]
        return super().dummy_inputs(size, batch) | {"prompts": prompts}

    def raw_output(self, batch: Mapping[str, Any]) -> list[Tensor]:
        """For each image the logits (N,1,H,W) of its "prompts"."""
        return self(batch["rgb"], batch["prompts"])

    # ------------------------------------------------------------------ training
    def training_losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """`losses` of one prompt per image."""
        rgb = batch["rgb"]
        logits = self.decode(self.embed(rgb), batch["prompt"], rgb.shape[-2:])
        return self.losses(logits, batch["mask"])

    # ------------------------------------------------------------------ validation
    @classmethod
    def validation_metrics(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the scores that validation logs.

        Args:
            arguments: of the constructor.
        """
        names = (*SCORES, *cls.measured)
        kinds = as_config(PromptEvalConfig, arguments["evaluation"]).val_kinds
        return tuple(f"val/{kind}/{name}" for kind in kinds for name in names)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Score one validation batch at the original size."""
        for found in self._predicted(batch, "val", self._validation):
            self.validation_scores.update(found.masks, found.target)
            for kind, values in found.measured.items():
                for name, value in values.items():
                    self.log(f"val/{kind}/{name}", value, sync_dist=True, batch_size=1)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the whole set (summed over ranks)."""
        for name, score in self.validation_scores.compute().items():
            self.log(f"val/{name}", score, prog_bar=name == "noisy_box/mIoU", sync_dist=True)
        self.validation_scores.reset()

    # ------------------------------------------------------------------ test
    def test_evaluator(self) -> Evaluator:
        """One metric per (split, subset), plus "all"."""
        self._measured = {}
        return Evaluator(self._test_scores, self.test_splits, self.subsets)

    def test_step(  # type: ignore[override]  # Lightning passes outputs on to callbacks as they are
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> list[dict[str, Tensor]]:
        """Score all evaluation prompts at the original size.

        Returns:
            Per image, kind -> (n,h,w) uint8, 1 on the masks, in the order of the prompts.
        """
        split = self.test_splits[dataloader_idx]
        shown = []
        for found, subset in zip(
            self._predicted(batch, split, self._test), batch["subset"], strict=True
        ):
            self.evaluator.update(split, subset, found.masks, found.target)
            for kind, values in found.measured.items():
                for name, value in values.items():
                    self._measured.setdefault((split, f"{kind}/{name}"), []).append(value)
            shown.append({k: masks.to(torch.uint8) for k, masks in found.masks.items()})
        return shown

    def test_results(self) -> dict[str, dict[str, dict[str, Any]]]:
        """As the base; of several splits also their unweighted mean."""
        results = super().test_results()
        for (split, name), values in self._measured.items():
            results[split][ALL][name] = sum(values) / len(values)
        if len(results) > 1:
            results[MEAN] = {ALL: mean_scores([found[ALL] for found in results.values()])}
        return results

    def protocol(self) -> dict[str, str]:
        """Metric -> sentence that says what was averaged over what."""
        size = "at the size of each mask, logits resized bilinearly and cut at 0"
        found = {name: f"{text}; {size}" for name, text in self._test_scores.protocol().items()}
        found["prompts"] = (
            f"{self._test.count} prompts per image and kind (1 tight box), drawn from the mask "
            "at network size by a generator seeded from split, name, kind and number"
        )
        if MEAN in self.results:
            splits = [split for split in self.results if split != MEAN]
            found[MEAN] = f"unweighted mean of {', '.join(splits)}"
        return found

    # ------------------------------------------------------------------ prediction
    def predict_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> list[Tensor]:
        """Masks (N,h,w) bool at the original size on the CPU, in the order of the prompts."""
        frame = batch["rgb"].shape[-2:]
        return [
            self._masks(self.decode(embedding[None], prompts, frame), frame, size).cpu()
            for embedding, prompts, size in zip(
                self.embed(batch["rgb"]), batch["prompts"], batch["size"], strict=True
            )
        ]

    # ------------------------------------------------------------------ files and panels
    def prediction_files(self, folder: Path) -> PromptFiles:
        """A mask for every prompt, overlays, and the list of the prompts."""
        return PromptFiles(folder, self.first_prompt)

    def first_prompt(self, image: BatchImage, kind: str) -> Prompt:
        """The first prompt of a kind that a test image gets, in the network's pixels."""
        first = replace(self._test, kinds=(kind,), count=1)
        key = f"{image.split}/{image['name']}"
        return first.of(image["prompt_mask"][0], key)[kind][0]

    def draw_validation(self, images: Sequence[BatchImage], cell: tuple[int, int]) -> list[Draw]:
        """Image with the first prompt of the first kind, its mask, ground truth."""
        return [partial(self._validation_row, image, cell) for image in images]

    def _validation_row(self, image: BatchImage, cell: tuple[int, int]) -> Row:
        kind = self._validation.kinds[0]
        rgb, frame = image["rgb"][None], image["rgb"].shape[-2:]
        prompt = self.first_prompt(image, kind)
        with torch.no_grad():
            logits = self.decode(self.embed(rgb), [prompt_on(prompt, rgb.device)], frame)
        mask = self._masks(logits, frame, image["mask"].shape[-2:])[0]
        return prompted_row(image, prompt, kind, mask, cell)

    # ------------------------------------------------------------------ inside
    def _predicted(
        self, batch: Mapping[str, Any], split: str, questions: EvaluationPrompts
    ) -> Iterator[Predicted]:
        """The masks for every image of a batch, one encoder pass for all of them."""
        frame = batch["rgb"].shape[-2:]
        embeddings = self.embed(batch["rgb"])
        for i, name in enumerate(batch["name"]):
            prompts = questions.of(batch["prompt_mask"][i, 0], f"{split}/{name}")
            flat = [prompt for group in prompts.values() for prompt in group]
            logits, numbers = self.decode_measured(embeddings[i : i + 1], flat, frame)
            target = batch["mask"][i]
            target = target.reshape(target.shape[-2:]) > 0
            masks = self._masks(logits, frame, target.shape)
            counts = [len(group) for group in prompts.values()]
            measured: dict[str, dict[str, float]] = {kind: {} for kind in prompts}
            for label, values in numbers.items():
                for kind, part in zip(prompts, values.split(counts), strict=True):
                    measured[kind][label] = float(part.float().mean())
            yield Predicted(dict(zip(prompts, masks.split(counts), strict=True)), target, measured)

    def _masks(self, logits: Tensor, frame: Sequence[int], size: Sequence[int]) -> Tensor:
        """Masks (N,h,w) at the original size, by the data module's ``resize_mode``."""
        padded = getattr(self._data, "resize_mode", "squash") == "pad"
        return masks_at(logits, frame, size, padded)
