"""One image of a batch: where its files go, and what it looked like."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from torch import Tensor

from rgbx.data.base import RGBXDataModule
from rgbx.data.decoding.files import read_rgb
from rgbx.tasks.frame import Frame
from rgbx.visualization.sheet import ImageArray

__all__ = ["BatchImage", "images_of", "part_of_batch", "splits_of"]


@dataclass(frozen=True)
class BatchImage:
    """One image that was predicted or tested.

    Attributes:
        data: what it belongs to.
        batch: what it came in.
        index: its place there.
        split: name of the split, "predict" in prediction.
        stem: name of its files, without suffix, which no other image has; begins with the split
            where there are several.
    """

    data: RGBXDataModule
    batch: Mapping[str, Any]
    index: int
    split: str
    stem: str

    def __getitem__(self, key: str) -> Any:
        """What the batch holds under a key for this image."""
        return self.batch[key][self.index]

    @cached_property
    def rgb(self) -> ImageArray:
        """The visible image at its own size, upright, (h,w,3)."""
        return read_rgb(Path(self["path"]))

    @property
    def frame(self) -> Frame:
        """The way from the network's input to the image, where images are not just squashed."""
        return Frame(self.rgb.shape[:2], self["rgb"].shape[-2:], self.data.resize_mode)


def images_of(
    trainer: Trainer, batch: Mapping[str, Any], splits: Sequence[str], position: int = 0
) -> Iterator[BatchImage]:
    """The images of a batch.

    Args:
        trainer: knows the data module.
        batch: of the split at `position`.
        splits: names of all splits that are gone through.
        position: of this one.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, RGBXDataModule)
    split = splits[position]
    known = data.file_names(split)
    for index, (name, path) in enumerate(zip(batch["name"], batch["path"], strict=True)):
        own = known.get(path, str(name))
        place = f"{split}/{own}" if len(splits) > 1 else own
        yield BatchImage(data, batch, index, split, place)


def splits_of(trainer: Trainer) -> tuple[str, ...]:
    """Names of the splits of a test."""
    return tuple(trainer.datamodule.test_splits)  # type: ignore[attr-defined]


def part_of_batch(images: Sequence[BatchImage]) -> dict[str, Tensor]:
    """``rgb`` and ``x`` (if there is one) of some images of one batch, as a batch."""
    batch, places = images[0].batch, [image.index for image in images]
    return {key: batch[key][places] for key in ("rgb", "x") if key in batch}
