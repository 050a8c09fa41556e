"""From the pixels of the network's input back to those of the image."""

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rgbx.data.prompt_dataset import ResizeMode, content_size
from rgbx.prompts import Prompt

__all__ = ["Frame"]

DECIMALS = 2  # of coordinates that people read; float32 in the network holds no more of a 4K image


class Frame:
    """Where an image lies in the network's input.

    Args:
        size: (h,w) of the image.
        network: (H,W) of the input.
        mode: "squash" (the image fills the input) or "pad" (it keeps its proportions, and lies in
            the upper left corner).
    """

    def __init__(self, size: Sequence[int], network: Sequence[int], mode: ResizeMode) -> None:
        #: height and width of the image itself
        self.size = (int(size[0]), int(size[1]))
        #: height and width of the network's input
        self.network = (int(network[0]), int(network[1]))
        #: height and width of the image in the input
        self.content = content_size(self.size, self.network, mode)

    def scaled(self, size: Sequence[int]) -> "Frame":
        """The way to a copy of the image at another size (h,w)."""
        copied = copy(self)
        copied.size = (int(size[0]), int(size[1]))
        return copied

    def to_image(self, prompt: Prompt) -> dict[str, Any]:
        """Move a prompt to the image's pixels.

        Args:
            prompt: in the network's pixels.

        Returns:
            The same as plain lists; nothing for a prompt of another form, such as a mask.
        """
        moved: dict[str, Any] = {}
        if "box" in prompt:
            corners = prompt["box"].reshape(2, 2).cpu().numpy()
            moved["box"] = self.points(corners).reshape(4).tolist()
        if "points" in prompt:
            moved["points"] = self.points(prompt["points"].cpu().numpy()).tolist()
            moved["labels"] = prompt["labels"].tolist()
        return moved

    def boxes(self, boxes: Tensor) -> Tensor:
        """Move boxes (n,4) to the image's pixels, clipped to it."""
        scale = self.size[1] / self.content[1], self.size[0] / self.content[0]
        moved = boxes * boxes.new_tensor(scale * 2)
        limit = boxes.new_tensor([self.size[1], self.size[0]] * 2)
        return torch.minimum(moved.clamp(min=0), limit)

    def points(self, places: NDArray[np.floating]) -> NDArray[np.float64]:
        """Move places (...,2), x and y, to the image's pixels, rounded to hundredths."""
        scale = np.array([self.size[1] / self.content[1], self.size[0] / self.content[0]])
        return np.round(np.asarray(places, dtype=np.float64) * scale, DECIMALS)
