"""What a detector is trained on, for one image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

__all__ = ["Target"]


@dataclass(frozen=True)
class Target:
    """The objects of one image.

    Attributes:
        boxes: (n,4) x1, y1, x2, y2 in pixels of the network's input.
        labels: (n,) int64 classes, 0 to K-1.
        ignored: (m,4) regions that are neither object nor background.
    """

    boxes: Tensor
    labels: Tensor
    ignored: Tensor

    @classmethod
    def of(cls, target: Mapping[str, Any], like: Tensor) -> Self:
        """From a sample's ``target`` (see `rgbx.data.dataset.Sample`), on the device of `like`."""
        boxes = torch.as_tensor(target["boxes"], device=like.device).reshape(-1, 4)
        labels = torch.as_tensor(target["labels"], device=like.device)
        ignore = target.get("ignore")
        if ignore is None:
            ignore = torch.zeros(len(boxes), dtype=torch.bool)
        ignore = ignore.to(like.device)
        return cls(boxes[~ignore], labels[~ignore], boxes[ignore])
