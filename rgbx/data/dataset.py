"""The sample that models receive, the map-style data set that makes it, and batching."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypedDict, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import NotRequired

from rgbx.data.sampler import sample_seed
from rgbx.data.splits.records import Record
from rgbx.data.transforms.augment import EvalTransform, Raw, TrainTransform
from rgbx.data.transforms.blank import BlankWith, blanked
from rgbx.data.transforms.corruption import Corruption
from rgbx.data.transforms.normalise import Triple
from rgbx.prompts import Prompt

__all__ = ["Batch", "RGBXDataset", "Sample", "collate"]


class Sample(TypedDict):
    """One sample, before batching.

    Keys:
        rgb: (3, H, W) float32, normalised.
        x: (3, H, W) float32, normalised, one channel repeated or three of its own; absent for
            RGB-only data.
        mask: (H, W) int64 class ids, 255 = ignore, or in training with soft masks (1, H, W)
            float32 in [0, 1]; at network size in training and validation, at the original size
            in test; absent in prediction.
        name: stem of the file.
        subset: "day", "night", or "".
        size: original (h, w) in pixels.
        path: the visible image, for messages and overlays.
        prompt: of promptable training data, in pixels of the network's input.
        prompt_mask: (1, H, W) float32 in [0, 1] at network size, from which a model draws its
            prompts in validation and test of promptable data.
        prompts: the user's, of promptable data in prediction, in pixels of the network's input.
        target: of detection data, ``boxes`` (n, 4) x1, y1, x2, y2, in pixels of the network's input
            in training and of the file elsewhere, ``labels``, ``ignore`` and ``occlusion`` (n,).
        seed: of detection data, what is drawn for this sample in training depends on.
    """

    rgb: Tensor
    x: NotRequired[Tensor]
    mask: NotRequired[Tensor]
    name: str
    subset: str
    size: tuple[int, int]
    path: str
    prompt: NotRequired[Prompt]
    prompt_mask: NotRequired[Tensor]
    prompts: NotRequired[list[Prompt]]
    target: NotRequired[dict[str, Tensor]]
    seed: NotRequired[int]


class Batch(TypedDict):
    """Samples of one batch: `rgb`, `x` (B, 3, H, W), `prompt_mask` (B, 1, H, W), the rest listed.

    `mask` is (B, H, W), (B, 1, H, W) where soft, or a list of (h, w) tensors where test images
    differ in size; either way ``zip(logits, batch["mask"])`` walks through the images.
    """

    rgb: Tensor
    x: NotRequired[Tensor]
    mask: NotRequired[Tensor | list[Tensor]]
    name: list[str]
    subset: list[str]
    size: list[tuple[int, int]]
    path: list[str]
    prompt: NotRequired[list[Prompt]]
    prompt_mask: NotRequired[Tensor]
    prompts: NotRequired[list[list[Prompt]]]
    target: NotRequired[list[dict[str, Tensor]]]
    seed: NotRequired[list[int]]


class RGBXDataset(Dataset[Sample]):
    """Reads, transforms and converts records to tensors.

    Args:
        records: what to read.
        read: gives the arrays of a record, already checked.
        transform: a `TrainTransform` or an `EvalTransform`.
        blank: modality that is replaced.
        seed: used where an index comes without a seed of its own, and for noise.
        blank_with: what the blanked modality is replaced by: its mean (zeros after
            normalisation), or standard normal noise.
    """

    def __init__(
        self,
        records: Sequence[Record],
        read: Callable[[Record], Raw],
        transform: TrainTransform | EvalTransform,
        blank: Literal["rgb", "x"] | None = None,
        seed: int = 0,
        blank_with: BlankWith = "mean",
    ) -> None:
        self.records = list(records)
        self.transform = transform
        self._read = read
        self._blank = blank
        self._seed = seed
        self._blank_with = blank_with
        self._corruption: Corruption | None = None
        self._x_std = torch.ones(1, 1, 1)

    def corrupt(self, corruption: Corruption, x_std: float | Triple) -> None:
        """From now on change every sample that has both modalities.

        Args:
            corruption: how.
            x_std: by which x is divided.
        """
        self._corruption = corruption if corruption.is_active else None
        self._x_std = torch.tensor(x_std, dtype=torch.float32).reshape(-1, 1, 1)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """Read one sample; a pure function of the key.

        Args:
            key: index, or (index, seed of the augmentation) as `SeededSampler` yields it.

        Raises:
            SampleError: a file cannot be used; the text names it.
        """
        index, seed = key if isinstance(key, tuple) else (key, sample_seed(self._seed, 0, key))
        record = self.records[index]
        raw = self._read(record)
        rgb, x, mask = self.transform(raw, seed)
        sample = Sample(
            rgb=self._image("rgb", rgb, record),
            name=record.name,
            subset=record.subset,
            size=(raw.rgb.shape[0], raw.rgb.shape[1]),
            path=str(record.rgb),
        )
        if x is not None:
            sample["x"] = self._image("x", x, record)
            self._corrupt(sample, seed)
        elif record.absent == "x":
            sample["x"] = torch.zeros_like(sample["rgb"])
        if mask is not None:
            is_soft = mask.dtype == np.float32
            sample["mask"] = torch.from_numpy(mask[None] if is_soft else mask.astype(np.int64))
        return sample

    def _corrupt(self, sample: Sample, seed: int) -> None:
        """Change a sample of both modalities in place, if that is asked for."""
        if self._corruption is not None:
            sample["rgb"], sample["x"] = self._corruption(
                sample["rgb"], sample["x"], sample["name"], seed, self._x_std
            )

    def _image(
        self, kind: Literal["rgb", "x"], array: NDArray[np.float32], record: Record
    ) -> Tensor:
        """An image (H, W) or (H, W, 3) as (3, H, W), replaced if it is the blanked one."""
        channels = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
        image = torch.from_numpy(np.ascontiguousarray(channels))
        if kind == record.absent:
            image = blanked(image, "mean", record.name, self._seed)
        elif kind == self._blank:
            image = blanked(image, self._blank_with, record.name, self._seed)
        return image if len(image) == 3 else image.repeat(3, 1, 1)


def collate(samples: Sequence[Sample]) -> Batch:
    """Join samples to a batch: images are stacked, everything else is listed."""
    items = cast(Sequence[dict[str, Any]], samples)
    batch: dict[str, Any] = {key: [item[key] for item in items] for key in items[0]}
    for key in ("rgb", "x", "prompt_mask"):
        if key in batch:
            batch[key] = torch.stack(batch[key])
    if "mask" in batch and len({mask.shape for mask in batch["mask"]}) == 1:
        batch["mask"] = torch.stack(batch["mask"])
    return cast(Batch, batch)
