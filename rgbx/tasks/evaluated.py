"""What a task defines for itself besides its losses: scores of a test, files, panels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image
from torch import Tensor

from rgbx.errors import RGBXError
from rgbx.metrics.evaluator import Evaluator
from rgbx.tasks.batch_image import BatchImage
from rgbx.tasks.inspection import Inspectable
from rgbx.tasks.prediction_files import PredictionFiles
from rgbx.visualization.sheet import Draw

__all__ = ["Evaluated"]


class Evaluated(Inspectable):
    """What tests, predictions and validation images ask a model; a task overrides what it has.

    ``test_step`` and ``predict_step`` return one prediction per image, of a type that only the task
    itself and its `PredictionFiles` know. Whoever writes, draws or tabulates predictions asks here,
    and never which task it is.

    Attributes:
        published: file of the numbers that the paper prints, in the form of
            `rgbx.results.published.Published`; a model outside rgbx names its own.
        needs_prompts: whether samples must bring prompts.
        needs_boxes: whether labels must be boxes; else they must be masks.
        shows_attention: whether `attention_figure` draws something.
        evaluator: what `test_evaluator` gave for the running or the last test; None before.
        results: after a test, split -> subset -> score -> value.
    """

    published: ClassVar[Path | None] = None
    needs_prompts: ClassVar[bool] = False
    needs_boxes: ClassVar[bool] = False
    shows_attention: ClassVar[bool] = False
    evaluator: Any
    results: dict[str, dict[str, dict[str, Any]]]

    @property
    def paper(self) -> str:
        """Name of the paper: the folder of `published`, else the class."""
        return self.published.parent.name if self.published else type(self).__name__.lower()

    # ------------------------------------------------------------------ validation
    @classmethod
    def validation_metrics(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the scores that validation logs, such as "val/miou"; empty if not known.

        Args:
            arguments: of the constructor.
        """
        return ()

    @classmethod
    def predicts_untrained(cls, arguments: Mapping[str, Any]) -> bool:
        """Whether a model as it is built is worth a test: nothing of it is left to chance.

        Args:
            arguments: of the constructor.
        """
        return False

    # ------------------------------------------------------------------ a test
    def test_evaluator(self) -> Any:
        """The metrics of every test split and subset.

        Returns:
            An `Evaluator`, or a module with ``results()`` like it; None for a task that fills
            ``results`` itself.
        """
        return None

    def headline(self, scores: Mapping[str, Any]) -> Sequence[str]:
        """Names of the scores that are logged after a test; all of them, if not overridden.

        Args:
            scores: of one split and subset.
        """
        return [name for name, value in scores.items() if not getattr(value, "ndim", 0)]

    def on_test_start(self) -> None:
        """One metric per (split, subset), plus "all"."""
        evaluator = self.test_evaluator()
        self.evaluator = None if evaluator is None else evaluator.to(self.device)

    def test_results(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Split -> subset -> score -> value, of the test that just ended."""
        return self.results if self.evaluator is None else self.evaluator.results()

    def on_test_epoch_end(self) -> None:
        """Collect the scores into ``results`` and log the headline."""
        self.results = self.test_results()
        for split, subsets in self.results.items():
            for subset, scores in subsets.items():
                for name in self.headline(scores):
                    self.log(f"{split}/{subset}/{name}", float(scores[name]))

    def image_evaluators(self) -> list[Evaluator]:
        """The evaluators that see every test image, for those who keep its own scores."""
        return [module for module in self.modules() if isinstance(module, Evaluator)]

    def protocol(self) -> dict[str, str]:
        """Metric -> sentence that says what was averaged over what, for the tables."""
        return {}

    def curves(self) -> dict[str, dict[str, Tensor]]:
        """After a test: split -> name -> (256,) values over the thresholds of a map; none here."""
        return {}

    # ------------------------------------------------------------------ data
    def refuse_data(self, data: Any) -> None:
        """Refuse data that this task cannot be asked about.

        Raises:
            RGBXError: samples bring no prompts, and the task needs some; or labels are masks where
                the task needs boxes, or the other way round.
        """
        if self.needs_boxes != data.has_boxes:
            wants, has = ("boxes", "masks") if self.needs_boxes else ("masks", "boxes")
            instead = "FLIR, LLVIP, KAIST, M3FD, or FolderRGBXBoxes for images of your own"
            raise RGBXError(
                f"{type(self).__name__} needs {wants}, and {type(data).__name__} has {has}: use "
                + (f"{instead}." if self.needs_boxes else "UniRGBIRDetection, or a set with masks.")
            )
        if self.needs_prompts and not data.gives_prompts:
            raise RGBXError(
                f"{type(self).__name__} needs prompts, and {type(data).__name__} has none: use "
                "HQSeg44K, or PromptFolder for images of your own."
            )

    @property
    def test_splits(self) -> tuple[str, ...]:
        """Test splits of the data module, or one anonymous split without it."""
        return tuple(getattr(self._data, "test_splits", ("test",)))

    @property
    def subsets(self) -> tuple[str, ...]:
        """Parts of a split that the data module wants scored on their own."""
        return tuple(getattr(self._data, "subsets", ()))

    # ------------------------------------------------------------------ files and panels
    def prediction_files(self, folder: Path) -> PredictionFiles:
        """What writes predictions into a folder.

        Raises:
            RGBXError: the task does not say how.
        """
        raise RGBXError(
            f"{type(self).__name__} defines no prediction_files, so its predictions cannot be "
            "written: leave out --save_predictions."
        )

    def scored_files(self, index: int) -> dict[str, Tensor]:
        """What the last test step scored of an image, where that is not what the step returned.

        Args:
            index: of the image in its batch.

        Returns:
            Folder -> (h,w) uint8, an 8-bit image to write.
        """
        return {}

    def draw_validation(self, images: Sequence[BatchImage], cell: tuple[int, int]) -> list[Draw]:
        """Predict validation images of one batch once more.

        Args:
            images: which ones.
            cell: height and width of a panel, in pixels.

        Returns:
            For each image what draws its panels; empty if the task has nothing to show.
        """
        return []

    def attention_figure(self, image: BatchImage, prediction: Any) -> Image.Image | None:
        """Where the model looks in an image, if `shows_attention`.

        Args:
            image: of a batch.
            prediction: for it, as ``test_step`` or ``predict_step`` returned it.

        Returns:
            A figure, or None if there is nothing to show for this image.
        """
        return None
