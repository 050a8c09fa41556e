"""The data module that all data sets share: options, checks, loaders."""

import warnings
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader

from rgbx.data.dataset import Batch, RGBXDataset, Sample, collate
from rgbx.data.sampler import SeededSampler, resume_position
from rgbx.data.source import Source
from rgbx.data.transforms import EvalTransform, Statistics, TrainTransform
from rgbx.errors import DataError, RGBXError

__all__ = ["RGBXDataModule", "Sample"]

_STAGES = {"fit": ("train", "val"), "validate": ("val",), "predict": ("predict",)}


class RGBXDataModule(Source, LightningDataModule):
    """RGB-X segmentation data on disk.

    A data set is a subclass that sets the class attributes of `rgbx.data.source.Source` and writes
    `scan`. Batches follow `rgbx.data.Batch`. Training order is a pure function of (seed, epoch),
    augmentation of (seed, epoch, sample), whatever the number of processes and workers; training
    resumed in the middle of an epoch goes on with the samples that had not been seen.

    Args:
        root: folder of the data set.
        size: (height, width) of the network's input; the model says which sizes it takes.
        batch_size: training samples per process and step.
        eval_batch_size: samples per process and step in validation, test and prediction.
        num_workers: reading processes per loader.
        seed: of order, augmentation, and splits cut from the training set.
        flip: probability of a horizontal flip in training.
        scale: smallest and largest random scale in training; 1 shows the whole picture.
        jitter: strength of the colour changes of rgb in training, 0 for none.
        enhance: change brightness, contrast, colour and sharpness of rgb and of x in training,
            independently of each other and strongly (SAMSOD's augmentation).
        blank: modality that is replaced by its mean in every split (ablation).
        on_bad: "error" stops at samples with missing or unusable files and lists them; "skip"
            leaves them out and says how many. "skip" decodes every file once at the start.
        val_share: part of the training set cut off for validation (by `seed`) where the data set
            has no validation set of its own.
        x_mean: replaces the data set's.
        x_std: replaces the data set's.

    Raises:
        RGBXError: an option has a value that cannot work.
    """

    def __init__(
        self,
        root: str,
        size: tuple[int, int] = (480, 640),
        batch_size: int = 4,
        eval_batch_size: int = 1,
        num_workers: int = 4,
        seed: int = 0,
        flip: float = 0.5,
        scale: tuple[float, float] = (0.5, 2.0),
        jitter: float = 0.4,
        blank: Literal["rgb", "x"] | None = None,
        on_bad: Literal["error", "skip"] = "error",
        val_share: float = 0.1,
        x_mean: float | None = None,
        x_std: float | None = None,
        enhance: bool = False,
    ) -> None:
        super().__init__()
        self.root = Path(root).expanduser()
        self.size = (size[0], size[1])
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.flip = flip
        self.scale = (scale[0], scale[1])
        self.jitter = jitter
        self.enhance = enhance
        self.blank = blank
        self.on_bad = on_bad
        self.val_share = val_share
        if x_mean is not None:
            self.x_mean = x_mean
        if x_std is not None:
            self.x_std = x_std
        self._check_options()
        self._sets: dict[str, RGBXDataset] = {}

    def _check_options(self) -> None:
        wrong = {
            f"size {list(self.size)} (give height, width; above 0)": min(self.size) < 1,
            f"batch_size {self.batch_size} (give 1 or more)": self.batch_size < 1,
            f"eval_batch_size {self.eval_batch_size} (give 1 or more)": self.eval_batch_size < 1,
            f"seed {self.seed} (give 0 or more)": self.seed < 0,
            f"flip {self.flip} (a probability)": not 0 <= self.flip <= 1,
            f"scale {list(self.scale)} (give smallest, largest; above 0)": not (
                0 < self.scale[0] <= self.scale[1]
            ),
            f"jitter {self.jitter} (give 0 to 1)": not 0 <= self.jitter <= 1,
            f"val_share {self.val_share} (give 0 to below 1)": not 0 <= self.val_share < 1,
            f"x_std {self.x_std} (give more than 0)": self.x_std <= 0,
        }
        bad = [text for text, is_wrong in wrong.items() if is_wrong]
        if bad:
            raise RGBXError(f"{type(self).__name__} cannot work with {'; '.join(bad)}")

    def __getstate__(self) -> dict[str, Any]:
        # Worker processes that are spawned receive a copy; the trainer neither can nor need go.
        return {**self.__dict__, "trainer": None, "_sets": {}}

    @property
    def statistics(self) -> Statistics:
        """Mean and deviation used to normalise."""
        return Statistics(self.rgb_mean, self.rgb_std, self.x_mean, self.x_std)

    @property
    def split_sizes(self) -> dict[str, int]:
        """Number of samples of every split that has been set up."""
        return {split: len(dataset) for split, dataset in self._sets.items()}

    def setup(self, stage: str | None = None) -> None:
        """Find the samples of a stage (Lightning calls this).

        Raises:
            DataError: as `find_records`, or there is nothing to validate or test on.
        """
        if stage == "test" and not self.test_splits:
            raise DataError(self.why_no_test())
        if stage == "validate" and "val" not in self.splits:
            raise DataError(
                f"{self.root} has no validation set; give data.val_share to cut one from train"
            )
        for split in _STAGES.get(stage or "", self.test_splits if stage == "test" else self.splits):
            if split not in self._sets and split in (*self.splits, "predict"):
                self._sets[split] = self.dataset(split)

    def dataset(self, split: str) -> RGBXDataset:
        """Build the data set of a split: augmented for "train", labels untouched for test.

        Raises:
            DataError: as `find_records`.
        """
        records = self.find_records(split)
        rank_zero_info(f"{type(self).__name__}: {len(records)} {split} samples in {self.root}")
        if split == "train":
            soft = self.soft_masks and all(record.labelled is None for record in records)
            augment = TrainTransform(
                self.size,
                self.statistics,
                self.flip,
                self.scale,
                self.jitter,
                self.enhance,
                soft,
            )
            read = partial(self.read, soft=soft)
            return RGBXDataset(records, read, augment, self.blank, self.seed)
        transform = EvalTransform(self.size, self.statistics, resize_mask=split == "val")
        return RGBXDataset(records, self.read, transform, self.blank, self.seed)

    @property
    def choice(self) -> str:
        """What checkpoints are chosen on, as words for a table."""
        return "its val list"

    def _cut_choice(self) -> str:
        """The words where validation is cut from the training set."""
        return f"a seeded {100 * self.val_share:g} % of train (seed {self.seed})"

    def why_no_test(self) -> str:
        """Say why there is no test split, where `test_splits` is empty."""
        return f"{self.root} has no test set"

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled and augmented; the last, shorter batch is dropped unless it is the only one."""
        dataset = self._sets["train"]
        sampler = SeededSampler(dataset, self.seed)
        drop = sampler.total_size > self.batch_size * sampler.num_replicas
        if drop:
            sampler = SeededSampler(dataset, self.seed, drop_last=True)
        loader = self._loader(dataset, self.batch_size, sampler=sampler, drop_last=drop)
        if self.trainer is not None:
            place = partial(resume_position, self.trainer, len(loader))
            sampler.resume_at(place, self.batch_size)
            # Lightning knows one way to resume a loader, and warns of all others.
            warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended")
        return loader

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """In order, masks at network size; an empty list where nothing is validated on."""
        if "val" not in self._sets:
            return []
        return self._loader(self._sets["val"], self.eval_batch_size)

    def test_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """In order, masks at the original size; a list where there are several test splits."""
        sets = [self._sets[split] for split in self.test_splits]
        loaders = [self._loader(dataset, self.eval_batch_size) for dataset in sets]
        return loaders if len(loaders) > 1 else loaders[0]

    def predict_dataloader(self) -> DataLoader[Batch]:
        """In order, no masks."""
        return self._loader(self._sets["predict"], self.eval_batch_size)

    def _loader(
        self,
        dataset: RGBXDataset,
        batch_size: int,
        sampler: SeededSampler | None = None,
        drop_last: bool = False,
    ) -> DataLoader[Batch]:
        loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self.num_workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
        )
        return loader
