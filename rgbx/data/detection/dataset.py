"""Samples of detection data: an image of two modalities, and the boxes in it."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from rgbx.data.dataset import RGBXDataset, Sample
from rgbx.data.prompt_dataset import ResizeMode, content_size
from rgbx.data.sampler import sample_seed
from rgbx.data.splits.records import Record
from rgbx.data.transforms.augment import (
    EvalTransform,
    Moved,
    Statistics,
    stacked,
    unstacked,
)
from rgbx.data.transforms.blank import BlankWith
from rgbx.data.transforms.boxes import BoxJitter, BoxTargets, padded
from rgbx.data.transforms.normalise import Raw

__all__ = ["BoxDataset", "BoxEval"]

Read = Callable[[Record], tuple[Raw, BoxTargets | None]]


class BoxEval(EvalTransform):
    """Resize to the network's size, nothing random.

    Args:
        size: (h, w) of the frame.
        statistics: of the data set.
        mode: "squash" stretches the image to the frame, "pad" (letterbox) keeps its proportions
            and fills up to the right and below with grey.
        resize: see `rgbx.data.transforms.resizing.Resize`.
    """

    def __init__(
        self,
        size: tuple[int, int],
        statistics: Statistics,
        mode: ResizeMode,
        resize: Literal["opencv", "pil"],
    ) -> None:
        super().__init__(size, statistics, False, resize)
        self.mode: ResizeMode = mode

    def __call__(self, raw: Raw, seed: int = 0) -> Moved:
        """Transform the images of one sample; `seed` has no effect."""
        content = content_size((raw.rgb.shape[0], raw.rgb.shape[1]), self.size, self.mode)
        images = stacked(raw, content, self.statistics, self.resize)
        return unstacked(padded(images, self.size, self.statistics), None)


class BoxDataset(RGBXDataset):
    """Reads, transforms and converts records to tensors; boxes are in ``target``.

    In training they are in pixels of the network's input, else in those of the image's file.
    Samples also hold ``seed``, from which whoever samples boxes draws: what is drawn for an image
    does not depend on the batch or the process that it is in.

    Args:
        records: what to read.
        read: gives the images and boxes of a record, already checked.
        transform: a `BoxJitter` for training, or a `BoxEval`.
        blank: modality that is replaced.
        seed: used where an index comes without a seed of its own, and for noise.
        blank_with: what the blanked modality is replaced by.
    """

    def __init__(
        self,
        records: Sequence[Record],
        read: Read,
        transform: BoxJitter | BoxEval,
        blank: Literal["rgb", "x"] | None = None,
        seed: int = 0,
        blank_with: BlankWith = "mean",
    ) -> None:
        super().__init__(records, self._images, transform, blank, seed, blank_with)
        self._read_boxes = read

    def _images(self, record: Record) -> Raw:
        return self._read_boxes(record)[0]

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """Read one sample; a pure function of the key.

        Args:
            key: index, or (index, seed of the augmentation) as `SeededSampler` yields it.

        Raises:
            SampleError: a file cannot be used; the text names it.
        """
        index, seed = key if isinstance(key, tuple) else (key, sample_seed(self._seed, 0, key))
        record = self.records[index]
        raw, targets = self._read_boxes(record)
        if isinstance(self.transform, BoxJitter):
            assert targets is not None, "training samples have boxes"
            moved, targets = self.transform.with_boxes(raw, targets, seed)
        else:
            moved = self.transform(raw, seed)
        sample = Sample(
            rgb=self._image("rgb", moved.rgb, record),
            name=record.name,
            subset=record.subset,
            size=(raw.rgb.shape[0], raw.rgb.shape[1]),
            path=str(record.rgb),
            seed=seed,
        )
        if moved.x is not None:
            sample["x"] = self._image("x", moved.x, record)
            self._corrupt(sample, seed)
        elif record.absent == "x":
            sample["x"] = torch.zeros_like(sample["rgb"])
        if targets is not None:
            sample["target"] = as_tensors(targets)
        return sample


def as_tensors(targets: BoxTargets) -> dict[str, Tensor]:
    """``boxes`` (n,4), ``labels``, ``ignore`` and ``occlusion`` (n,)."""
    values: dict[str, Any] = vars(targets)
    return {name: torch.from_numpy(value) for name, value in values.items()}
