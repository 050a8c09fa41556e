"""What data sets for promptable models have in common: options, samples, one's own prompts."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray

from rgbx.data.base import RGBXDataModule
from rgbx.data.dataset import RGBXDataset
from rgbx.data.decoding.files import probe, read_soft
from rgbx.data.prompt_dataset import PromptedEvaluation, PromptedTraining, ResizeMode
from rgbx.data.splits.records import Problem, Record, Scan, seeded_split
from rgbx.data.transforms.corruption import Drop
from rgbx.data.transforms.jitter import LargeScaleJitter
from rgbx.errors import DataError, RGBXError
from rgbx.prompts import KINDS, RTS, PromptFile, PromptMixture, foreground, read_prompts

__all__ = ["PromptableDataModule"]

_PROMPTS = ("prompts.json", "prompts.csv")


class PromptableDataModule(RGBXDataModule):
    """Images with the mask of one object each, and prompts that ask for it.

    Training samples hold a prompt, drawn from the mask after large-scale jitter and occlusion;
    masks are grey at their borders, and the object is what exceeds 128 of 255. In validation and
    test, masks come at the original size, next to one at the network's (`prompt_mask`) from which a
    model draws its prompts. Prediction takes the prompts of a file, in pixels of the images as
    shown; see `rgbx.prompts.files` for its format.

    Images without a mask are left out with a count. In training, empty masks are replaced by
    other samples; in validation and test they are errors, or left out with ``on_bad: skip``.

    Args:
        root: folder of the data set.
        size: (height, width) of the network's input.
        mixture: weights of the kinds of prompts in training.
        occlusion: probability of synthetic occlusion in training.
        resize_mode: how images come to the network's size outside training: "squash" gives up
            their proportions, "pad" keeps them and fills up to the right and below.
        prompts: file of prompts for prediction, ``.json`` or ``.csv``; by default ``prompts.json``
            or ``prompts.csv`` in the root.
        flip: probability of a horizontal flip in training.
        scale: smallest and largest scale of large-scale jitter; 1 shows the whole image.
        jitter: strength of the colour changes in training, 0 for none.
        val_share: part of the training set held out for validation by `seed`, where there is no
            validation set; 0 validates on nothing.
        **kwargs: further options of `RGBXDataModule`.

    Raises:
        RGBXError: an option has a value that cannot work.
    """

    class_names = ("background", "object")
    palette = ((0, 0, 0), (255, 40, 60))
    binary = True
    gives_prompts = True
    soft_masks = True
    grey_borders = True
    skipped = ("missing",)
    inputs = (*RGBXDataModule.inputs, "resize_mode")
    x_inputs = ()
    endings = tuple(f"_{kind}" for kind in KINDS)

    def __init__(
        self,
        root: str,
        size: tuple[int, int] = (1024, 1024),
        mixture: PromptMixture = RTS,
        occlusion: float = 0.5,
        resize_mode: ResizeMode = "squash",
        prompts: str | None = None,
        flip: float = 0.5,
        scale: tuple[float, float] = (0.1, 2.0),
        jitter: float = 0.0,
        val_share: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            root,
            size,
            flip=flip,
            scale=scale,
            jitter=jitter,
            val_share=val_share,
            choose_on=None,  # no option of these sets, as the next one
            resize="opencv",
            drop=Drop(),
            x_noise=0.0,
            x_shift=0,
            **kwargs,
        )
        if not 0 <= occlusion <= 1:
            raise RGBXError(f"occlusion {occlusion} is no probability; give 0 to 1")
        if resize_mode not in ("squash", "pad"):
            raise RGBXError(f"resize_mode {resize_mode!r} is not known; give squash or pad")
        self.mixture = mixture
        self.occlusion = occlusion
        self.resize_mode: ResizeMode = resize_mode
        self.prompts = prompts

    def dataset(self, split: str) -> RGBXDataset:
        """Build the data set of a split.

        Raises:
            DataError: as `find_records`, or prediction finds no prompts or one that lies outside
                its image.
        """
        if split == "predict":
            return self._predict_dataset()
        records = self.find_records(split)
        rank_zero_info(f"{type(self).__name__}: {len(records)} {split} samples in {self.root}")
        read = partial(self.read, soft=True)
        if split != "train":
            return PromptedEvaluation(
                records,
                read,
                self.size,
                self.statistics,
                self.resize_mode,
                None,
                self.blank,
                self.seed,
                self.blank_with,
            )
        view = LargeScaleJitter(
            self.size, self.statistics, self.flip, self.scale, self.jitter, self.enhance
        )
        return PromptedTraining(
            records,
            read,
            view,
            self.mixture,
            self.occlusion,
            self.blank,
            self.seed,
            self.blank_with,
        )

    def _predict_dataset(self) -> RGBXDataset:
        found = self._read_prompts()
        records = self.find_records("predict")
        found.check_names(record.name for record in records)
        asked = [record for record in records if record.name in set(found.names)]
        if not asked:
            raise DataError(f"{found.path} holds no prompt; name an image and what to ask for")
        for record in asked:  # so that a mistake shows before the first image, not in a worker
            header = probe(record.rgb)
            found.warn_moved(record.name, (header.height, header.width))
        rank_zero_info(
            f"{found.path}: prompts for {len(asked)} of {len(records)} images in {self.root}"
        )
        return PromptedEvaluation(
            asked,
            self.read,
            self.size,
            self.statistics,
            self.resize_mode,
            found,
            self.blank,
            self.seed,
            self.blank_with,
        )

    def _read_prompts(self) -> PromptFile:
        if self.prompts is not None:
            return read_prompts(Path(self.prompts).expanduser())
        for name in _PROMPTS:
            if os.path.lexists(self.root / name):
                return read_prompts(self.root / name)
        raise DataError(
            f"{self.root} holds no prompts: prediction needs {' or '.join(_PROMPTS)} there, or "
            "data.prompts set to such a file"
        )

    def read_mask(self, path: Path) -> NDArray[np.uint8]:
        """Read a mask (H, W): 1 where it exceeds 128 of 255.

        Raises:
            SampleError: the file is unreadable.
        """
        return foreground(read_soft(path)).astype(np.uint8)

    def inspect(self, record: Record, decode: bool = False) -> list[Problem]:
        """As `Source.inspect`; where pixels are read, an empty mask is a problem too."""
        problems = super().inspect(record, decode)
        if not decode or problems or record.mask is None or self.read_mask(record.mask).any():
            return problems
        return [Problem("black", f"{record.mask}: the mask is empty")]

    def hold_out(self, scan: Scan, split: str) -> Scan:
        """Give train or val its part of the training pairs; pairs without a file stay in train."""
        paths = [str(record.rgb) for record in scan.records]  # stems may repeat between folders
        held = set(seeded_split(paths, self.val_share, self.seed)[1])
        chosen = [r for r in scan.records if (str(r.rgb) in held) == (split == "val")]
        return Scan(chosen, scan.problems if split == "train" else [], scan.notes)
