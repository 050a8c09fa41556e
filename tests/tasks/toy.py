"""A task that rgbx does not know: the share of an image that objects cover."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torchmetrics import Metric

from rgbx.disk import write_bytes, write_image
from rgbx.metrics import Evaluator
from rgbx.optim.schedules import Constant, Schedule
from rgbx.tasks import PredictionFiles, RGBXModule
from rgbx.tasks.base import OptimizerFactory


class CoverageHit(Metric):
    """1 - median of the absolute errors; its state is a list, as torchmetrics' curves have."""

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("errors", default=[], dist_reduce_fx="cat")

    def update(self, prediction: torch.Tensor, target: torch.Tensor) -> None:
        self.errors.append((prediction - target).abs().reshape(1))

    def compute(self) -> dict[str, torch.Tensor]:
        return {"coverage_hit": 1 - torch.cat([e.reshape(-1) for e in self.errors]).median()}


class CoverageFiles(PredictionFiles):
    """``coverage/NAME.txt``, the number, and ``bars/NAME.png``, the same as a bar."""

    contents = "coverages"

    def write(self, image, prediction, scored=None):
        bar = np.full((20, 100, 3), 255, np.uint8)
        bar[:, : round(100 * float(prediction))] = (30, 120, 220)
        write_image(bar, self.folder / self.paths(image, prediction)["prediction"])
        write_bytes(self.folder / f"coverage/{image.stem}.txt", f"{float(prediction):.4f}".encode())
        titles = [image.stem, f"covered {float(prediction):.0%}"]
        return lambda: ([image.rgb, bar], titles)

    @classmethod
    def paths(cls, image, prediction):
        return {"prediction": f"bars/{image.stem}.png"}


class Coverage(RGBXModule):
    """Pools both cameras, and regresses the share of pixels that are no background."""

    published: ClassVar[Path] = Path(__file__).with_name("toy_published.yaml")

    def __init__(
        self,
        width: int = 8,
        optimizer: OptimizerFactory = torch.optim.AdamW,
        schedule: Schedule | None = None,
    ) -> None:
        arguments = dict(locals())
        super().__init__(optimizer, schedule or Constant())
        self.keep_arguments(arguments)
        layers = [nn.Conv2d(6, width, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.network = nn.Sequential(*layers, nn.Linear(width, 1))
        self.errors = CoverageHit()

    def forward(self, rgb: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return self.network(torch.cat([rgb, x], 1))[:, 0].sigmoid()

    def training_losses(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        target = (batch["mask"] > 0).float().mean((1, 2))
        return {"l1": (self(*self.inputs(batch)) - target).abs().mean()}

    @classmethod
    def validation_metrics(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        return ("val/coverage_hit",)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        for prediction, mask in zip(self(*self.inputs(batch)), batch["mask"], strict=True):
            self.errors.update(prediction, (mask > 0).float().mean())

    def on_validation_epoch_end(self) -> None:
        self.log("val/coverage_hit", self.errors.compute()["coverage_hit"])
        self.errors.reset()

    def test_evaluator(self) -> Evaluator:
        return Evaluator(CoverageHit(), self.test_splits, self.subsets)

    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0):
        predictions = list(self(*self.inputs(batch)))
        for found, mask, subset in zip(predictions, batch["mask"], batch["subset"], strict=True):
            target = (mask > 0).float().mean()
            self.evaluator.update(self.test_splits[dataloader_idx], subset, found, target)
        return predictions

    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0):
        return list(self(*self.inputs(batch)).cpu())

    def protocol(self) -> dict[str, str]:
        return {"coverage_hit": "1 - median over the images of |predicted - true share|"}

    def prediction_files(self, folder: Path) -> CoverageFiles:
        return CoverageFiles(folder)
