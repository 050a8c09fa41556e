"""The toy paper as a LightningModule: arguments, losses, what the tables print beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from rgbx.losses import cross_entropy
from rgbx.optim.schedules import Constant, Schedule
from rgbx.tasks import SemanticModule
from rgbx.tasks.base import OptimizerFactory
from tests.toys.paper.network import BrightnessNetwork

__all__ = ["Brightness"]


class Brightness(SemanticModule):
    """A semantic model in sixty lines.

    Args:
        num_classes: of the data set.
        class_names: of the data set.
        width: of the network.
        optimizer: from trainable parameters to an optimiser.
        schedule: learning-rate schedule.
    """

    published: ClassVar[Path] = Path(__file__).with_name("published.yaml")
    size_multiple = 8

    def __init__(
        self,
        num_classes: int = 2,
        class_names: Sequence[str] = ("ground", "object"),
        width: int = 8,
        optimizer: OptimizerFactory = lambda p: torch.optim.Adam(p, lr=0.01),
        schedule: Schedule = Constant(),
    ) -> None:
        arguments = dict(locals())
        super().__init__(num_classes, class_names, optimizer, schedule)
        self.keep_arguments(arguments)
        self.network = BrightnessNetwork(num_classes, width)

    def low_resolution(self, rgb: Tensor, x: Tensor | None) -> Tensor:
        """Class logits (B,K,H,W)."""
        assert x is not None
        return self.network(rgb, x)

    def losses(self, logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Cross-entropy."""
        return {"ce": cross_entropy(logits, mask)}
