"""Predictions as files: what every task defines for its own type of prediction."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image
from torch import Tensor

from rgbx.tasks.batch_image import BatchImage
from rgbx.visualization.sheet import Draw

__all__ = ["PredictionFiles"]


class PredictionFiles(ABC):
    """Writes the predictions of one command.

    Args:
        folder: where to.

    Attributes:
        contents: what is written, for the line that says where it is.
        legend: of the colours, once something has been written that needs one.
    """

    contents: ClassVar[str] = "predictions and overlays"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.legend: Image.Image | None = None

    @abstractmethod
    def write(
        self, image: BatchImage, prediction: Any, scored: Mapping[str, Tensor] | None = None
    ) -> Draw:
        """Write the files of one image.

        Args:
            image: what was predicted.
            prediction: for it.
            scored: in a test, folder -> (h,w) uint8: what was scored, see
                `rgbx.tasks.evaluated.Evaluated.scored_files`.

        Returns:
            Draws the image's row of the sheet.
        """

    @classmethod
    @abstractmethod
    def paths(cls, image: BatchImage, prediction: Any) -> dict[str, str]:
        """Where `write` puts the files of a test image, for the columns of ``images.csv``.

        Returns:
            "prediction" (or "prediction/NAME" where there are several) and, if there is a mask,
            "truth" -> path relative to the folder.
        """

    def close(self) -> None:  # noqa: B027  # most tasks have nothing to add
        """Write what needs all images, after the last one."""
