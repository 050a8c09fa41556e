"""Samples of promptable data: an image, an object's mask, and what asks for the object."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from rgbx.data.dataset import RGBXDataset, Sample
from rgbx.data.decoding.files import SampleError
from rgbx.data.sampler import sample_seed
from rgbx.data.splits.records import Record
from rgbx.data.transforms.augment import EvalTransform, Raw, Statistics, resize_soft
from rgbx.data.transforms.blank import BlankWith
from rgbx.data.transforms.jitter import LargeScaleJitter, resize_image
from rgbx.data.transforms.occlusion import occlude
from rgbx.prompts import PromptFile, PromptMixture, foreground, scale_prompt

__all__ = ["PromptedEvaluation", "PromptedTraining", "ResizeMode", "content_size"]

ResizeMode = Literal["squash", "pad"]
_TRIES = 20


class PromptedTraining(RGBXDataset):
    """Jittered images with occlusion and a prompt.

    Everything random about a sample follows from its seed; with it changes which second sample
    hides it. A sample whose mask is empty is replaced by another one, drawn by the same seed.

    Args:
        records: what to read.
        read: gives rgb and the soft mask of a record.
        transform: the jitter.
        mixture: which prompts.
        occlusion: probability of synthetic occlusion.
        blank: "rgb" replaces the image.
        seed: used where an index comes without a seed of its own, and for noise.
        blank_with: what it is replaced by, as in `RGBXDataset`.
    """

    def __init__(
        self,
        records: Sequence[Record],
        read: Callable[[Record], Raw],
        transform: LargeScaleJitter,
        mixture: PromptMixture,
        occlusion: float = 0.0,
        blank: Literal["rgb", "x"] | None = None,
        seed: int = 0,
        blank_with: BlankWith = "mean",
    ) -> None:
        super().__init__(records, read, transform, blank, seed, blank_with)
        self._jitter = transform
        self._mixture = mixture
        self._occlusion = occlusion

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """Read one sample; a pure function of the key.

        Args:
            key: index, or (index, seed of everything random) as `SeededSampler` yields it.

        Raises:
            SampleError: a file cannot be used, or twenty masks in a row were empty.
        """
        index, seed = key if isinstance(key, tuple) else (key, sample_seed(self._seed, 0, key))
        record, raw, framed = self._find(index, seed)
        rng = np.random.default_rng([seed, 1])
        if len(self.records) > 1 and rng.random() < self._occlusion:
            framed = self._occlude(record, framed, rng)
        assert framed.mask is not None, "training samples have masks"
        prompt = self._mixture.draw(framed.mask, np.random.default_rng([seed, 2]))
        return Sample(
            rgb=self._image("rgb", self._jitter.finish(framed).rgb, record),
            mask=torch.from_numpy(np.asarray(framed.mask, dtype=np.float32))[None],
            prompt=prompt,
            name=record.name,
            subset=record.subset,
            size=(raw.rgb.shape[0], raw.rgb.shape[1]),
            path=str(record.rgb),
        )

    def _find(self, index: int, seed: int) -> tuple[Record, Raw, Raw]:
        """The sample of the index, or the first of some others whose mask is not empty."""
        rng = np.random.default_rng([seed, 3])
        record = self.records[index]
        for _ in range(_TRIES):
            raw = self._read(record)
            framed = self._jitter.frame(raw, seed)
            assert framed.mask is not None, "training samples have masks"
            if foreground(framed.mask).any():
                return record, raw, framed
            record = self.records[int(rng.integers(len(self.records)))]
        raise SampleError(
            f"{self.records[index].mask}: the mask is empty, and so were those of {_TRIES - 1} "
            "other samples that were tried instead; look at the masks with `rgbx check-data`",
            "black",
        )

    def _occlude(self, record: Record, framed: Raw, rng: np.random.Generator) -> Raw:
        chosen = int(rng.integers(len(self.records)))
        if self.records[chosen] is record:
            chosen = (chosen + 1) % len(self.records)
        other = self.records[chosen]
        view = int(rng.integers(2**32))
        return occlude(framed, self._read(other), lambda raw: self._jitter.frame(raw, view), rng)


def content_size(
    size: tuple[int, int], frame: tuple[int, int], mode: ResizeMode
) -> tuple[int, int]:
    """(h, w) that an image of `size` fills in the frame, from its upper left corner."""
    if mode == "squash":
        return frame
    scale = min(frame[0] / size[0], frame[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


class PromptedEvaluation(RGBXDataset):
    """Resized images, with masks to be scored on or with the user's prompts.

    With masks, a sample holds `mask` (h, w) int64 at the original size and `prompt_mask`
    (1, H, W), the soft mask resized like the image. An object that fades away when it is resized
    (no pixel above 128 of 255) is made as much brighter as its brightest pixel allows.

    Args:
        records: what to read.
        read: gives rgb and the soft mask of a record.
        size: (H, W) of the network's input.
        statistics: of the data set.
        mode: "squash" fills the input, "pad" keeps the proportions and pads to the right and below
            with the mean colour.
        prompts: the user's; masks are not asked for then.
        blank: "rgb" replaces the image.
        seed: has no effect but for noise.
        blank_with: what the image is replaced by, as in `RGBXDataset`.
    """

    def __init__(
        self,
        records: Sequence[Record],
        read: Callable[[Record], Raw],
        size: tuple[int, int],
        statistics: Statistics,
        mode: ResizeMode = "squash",
        prompts: PromptFile | None = None,
        blank: Literal["rgb", "x"] | None = None,
        seed: int = 0,
        blank_with: BlankWith = "mean",
    ) -> None:
        view = EvalTransform(size, statistics, False)
        super().__init__(records, read, view, blank, seed, blank_with)
        self._size = size
        self._mode = mode
        self._statistics = statistics
        self._prompts = prompts

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """Read one sample.

        Args:
            key: index; a seed next to it has no effect.

        Raises:
            SampleError: a file cannot be used, or the mask is empty.
        """
        record = self.records[key[0] if isinstance(key, tuple) else key]
        raw = self._read(record)
        size = (raw.rgb.shape[0], raw.rgb.shape[1])
        content = content_size(size, self._size, self._mode)
        small = raw._replace(rgb=resize_image(raw.rgb, content))
        rgb = self._image("rgb", self._statistics.normalise(small), record)
        sample = Sample(
            rgb=torch.zeros((3, *self._size)),
            name=record.name,
            subset=record.subset,
            size=size,
            path=str(record.rgb),
        )
        sample["rgb"][:, : content[0], : content[1]] = rgb
        if self._prompts is not None:
            found = self._prompts.prompts(record.name, size)
            sample["prompts"] = [scale_prompt(prompt, size, content) for prompt in found]
        elif raw.mask is not None:
            sample["mask"], sample["prompt_mask"] = self._masks(raw.mask, content, record)
        return sample

    def _masks(
        self, mask: NDArray[np.generic], content: tuple[int, int], record: Record
    ) -> tuple[torch.Tensor, torch.Tensor]:
        inside = foreground(mask)
        if not inside.any():
            raise SampleError(
                f"{record.mask}: the mask is empty, so there is nothing to prompt for; on_bad: "
                "skip leaves such samples out",
                "black",
            )
        small = resize_soft(np.asarray(mask, dtype=np.float32), content)
        if not foreground(small).any():
            small = small / small.max()
        framed = np.zeros((1, *self._size), dtype=np.float32)
        framed[0, : content[0], : content[1]] = small
        return torch.from_numpy(inside.astype(np.int64)), torch.from_numpy(framed)
