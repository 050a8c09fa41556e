"""From the pixels of the network's input back to those of the picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgbx.errors import RGBXError
from rgbx.prompts import Prompt

__all__ = ["Frame"]

DECIMALS = (
    2  # of coordinates that people read; float32 in the network holds no more of a 4K picture
)


class Frame:
    """Where a picture lies in the network's input.

    Args:
        size: (h,w) of the picture.
        network: (H,W) of the input.
        mode: "squash" (the picture fills the input) or "pad" (it keeps its proportions, and lies in
            the upper left corner).

    Raises:
        RGBXError: there is no such mode.
    """

    def __init__(self, size: Sequence[int], network: Sequence[int], mode: str = "squash") -> None:
        height, width = int(network[0]), int(network[1])
        if mode == "pad":
            scale = min(height / size[0], width / size[1])
            height, width = round(size[0] * scale), round(size[1] * scale)
        elif mode != "squash":
            raise RGBXError(f"There is no resize mode {mode!r}; give squash or pad.")
        #: height and width of the picture in the input
        self.content = (max(1, height), max(1, width))
        #: height and width of the picture itself
        self.size = (int(size[0]), int(size[1]))

    def to_picture(self, prompt: Prompt) -> dict[str, Any]:
        """Move a prompt to the picture's pixels.

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

    def points(self, places: NDArray[np.floating]) -> NDArray[np.float64]:
        """Move places (...,2), x and y, to the picture's pixels, rounded to hundredths."""
        scale = np.array([self.size[1] / self.content[1], self.size[0] / self.content[0]])
        return np.round(np.asarray(places, dtype=np.float64) * scale, DECIMALS)
