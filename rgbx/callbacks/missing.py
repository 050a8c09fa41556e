"""A test scored three times in one pass: as it is, without the visible image, without X."""

from collections.abc import Mapping
from typing import Any, Literal

from lightning.pytorch import Callback, Trainer

from rgbx.data.base import RGBXDataModule
from rgbx.data.transforms.blank import blanked
from rgbx.errors import RGBXError

__all__ = ["MODALITIES", "MissingModality"]

Modality = Literal["rgb", "x"]
MODALITIES: tuple[Modality, ...] = ("rgb", "x")


class MissingModality(Callback):
    """Repeats every test batch with one modality replaced, and scores that by itself.

    What stands in its place is what ``data.blank`` with ``data.blank_with`` would put there, so
    the scores are those of two further tests; files are read, and images are written, once. It has
    to come after every callback that looks at the model's own scores or predictions.

    Attributes:
        results: after the test, modality that was missing -> split -> subset -> score -> value.

    Raises:
        RGBXError: at the start of a test, if the model or the data have one modality alone.
    """

    def __init__(self) -> None:
        self.results: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
        self._evaluators: dict[Modality, Any] = {}

    def on_test_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Keep scores of their own for each modality that is taken away."""
        name = type(pl_module).__name__
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not pl_module.needs_x:
            raise RGBXError(f"--missing: {name} looks at one modality, so none of two can miss.")
        if data.blank:
            raise RGBXError(
                f"--missing: data.blank takes {data.blank} away from every image already; leave "
                "one of them out."
            )
        for modality in MODALITIES:
            evaluator = pl_module.test_evaluator()
            if evaluator is None:
                raise RGBXError(f"--missing: {name} keeps no evaluator, so it is scored once only.")
            self._evaluators[modality] = evaluator.to(pl_module.device)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Score the batch without each of its modalities."""
        own = pl_module.evaluator
        try:
            for modality, evaluator in self._evaluators.items():
                pl_module.evaluator = evaluator
                changed = without(batch, modality, trainer.datamodule)  # type: ignore[attr-defined]
                trainer.strategy.test_step(changed, batch_idx, dataloader_idx)
        finally:
            pl_module.evaluator = own

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Collect the scores."""
        own = pl_module.evaluator
        try:
            for modality, evaluator in self._evaluators.items():
                pl_module.evaluator = evaluator
                self.results[modality] = pl_module.test_results()
        finally:
            pl_module.evaluator = own


def without(batch: Mapping[str, Any], modality: Modality, data: RGBXDataModule) -> dict[str, Any]:
    """A batch as the data module makes it with ``blank: modality``."""
    images = batch[modality]
    has_colours = data.x_channels == 3 or 3 in (_count(data.x_mean), _count(data.x_std))
    channels = 3 if modality == "rgb" or has_colours else 1
    replaced = images.clone()
    for place, name in enumerate(batch["name"]):
        image = images[place, :channels].cpu()
        replaced[place] = blanked(image, data.blank_with, name, data.seed).to(images)
    return {**batch, modality: replaced}


def _count(value: Any) -> int:
    return len(value) if isinstance(value, tuple | list) else 1
