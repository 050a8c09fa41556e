"""The data module that all data sets share: options, checks, loaders."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.utils.data import DataLoader

from rgbx.data.dataset import Batch, RGBXDataset, Sample
from rgbx.data.file_names import file_names
from rgbx.data.inputs import Remembered
from rgbx.data.loaders import ordered_loader, training_loader
from rgbx.data.options import as_numbers, as_triple, bad_options
from rgbx.data.resume import Position, Resume, Shape
from rgbx.data.splits.records import Record
from rgbx.data.transforms.augment import EvalTransform, TrainTransform
from rgbx.data.transforms.corruption import Corruption, Drop
from rgbx.data.transforms.normalise import Statistics
from rgbx.data.transforms.resizing import Resize
from rgbx.errors import DataError, RGBXError

__all__ = ["RGBXDataModule", "Sample"]

_STAGES = {"fit": ("train", "val"), "validate": ("val",), "predict": ("predict",)}


class RGBXDataModule(Remembered, LightningDataModule):
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
        scale: smallest and largest random scale in training; 1 shows the whole image.
        jitter: strength of the colour changes of rgb in training, 0 for none.
        enhance: change brightness, contrast, colour and sharpness of rgb and of x in training,
            independently of each other and strongly (SAMSOD's augmentation).
        blank: modality that is replaced in every split (ablation).
        drop: shares of the training samples that lose a whole modality (`Drop`).
        x_noise: largest std of the Gaussian noise on x in training, for x in [0, 1].
        x_shift: x moves by at most so many pixels of the network's input in training.
        on_bad: "error" stops at samples with missing or unusable files and lists them; "skip"
            leaves them out and says how many. "skip" decodes every file once at the start.
        val_share: part of the training set cut off for validation (by `seed`) where the data set
            has no validation set of its own; 0 trains on everything and validates on nothing, so
            that the last epoch is the checkpoint.
        x_mean: replaces the data set's mean of x; one number for all channels, or three. Means and
            stds are for pixels in [0, 1]. With three, an x of one channel becomes three.
        x_std: replaces the data set's std of x, likewise.
        rgb_mean: replaces the mean of red, green and blue (ImageNet's), likewise.
        rgb_std: replaces their std, likewise.
        x_channels: 1 reads x as grey and repeats it; 3 reads its colours (pseudo-coloured thermal),
            and repeats where a file has one channel only.
        blank_with: what `blank` puts in the modality's place: its mean, or standard normal noise
            that depends on the sample's name and `seed` only.
        choose_on: one or several test splits that checkpoints are chosen on, as many papers do.
            Nothing is held out of training then; scores on these splits are no estimate for unseen
            data, and tables say so.
        resize: how images come to `size`: "opencv" (area mean to shrink, bilinear to grow, after
            normalising) or "pil" (PIL's bilinear with antialiasing, in 8 bits, before normalising:
            torchvision's `Resize` on PIL images).
        drop_last: leave out the last training batch of an epoch where it is shorter than the
            others (and not the only one); false trains on it, and so on every sample.
        x_invalid: stored values of x that mean "no measurement". Where x is stretched image by
            image (16 bits, floats), they do not set its scale; [] lets all values set it. By
            default 0 and the largest value of integers (65535), and NaN and infinity of floats.

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
        x_mean: float | Sequence[float] | None = None,
        x_std: float | Sequence[float] | None = None,
        enhance: bool = False,
        rgb_mean: float | Sequence[float] | None = None,
        rgb_std: float | Sequence[float] | None = None,
        x_channels: Literal[1, 3] = 1,
        blank_with: Literal["mean", "noise"] = "mean",
        choose_on: str | list[str] | None = None,
        resize: Resize = "opencv",
        drop_last: bool = True,
        x_invalid: list[float] | None = None,
        drop: Drop = Drop(),
        x_noise: float = 0.0,
        x_shift: int = 0,
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
        self.x_channels = x_channels
        self.blank_with = blank_with
        names = [choose_on] if isinstance(choose_on, str) else choose_on or ()
        self.choose_on = tuple(dict.fromkeys(names))
        self.resize: Resize = resize
        self.drop_last = drop_last
        self.x_invalid = x_invalid
        self.corruption = Corruption(drop, x_noise, x_shift)
        if x_mean is not None:
            self.x_mean = as_numbers(x_mean)
        if x_std is not None:
            self.x_std = as_numbers(x_std)
        if rgb_mean is not None:
            self.rgb_mean = as_triple(rgb_mean)
        if rgb_std is not None:
            self.rgb_std = as_triple(rgb_std)
        if bad := bad_options(self):
            raise RGBXError(f"{type(self).__name__} cannot work with {'; '.join(bad)}")
        self._sets: dict[str, RGBXDataset] = {}
        self._file_names: dict[str, dict[str, str]] = {}
        self._frequencies: dict[str, tuple[float, ...]] = {}
        #: where an interrupted training goes on; None if it begins
        self.position: Position | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Worker processes that are spawned receive a copy; the trainer neither can nor need go.
        return {**self.__dict__, "trainer": None, "_sets": {}}

    @property
    def statistics(self) -> Statistics:
        """Mean and std used to normalise."""
        return Statistics(self.rgb_mean, self.rgb_std, self.x_mean, self.x_std)

    @property
    def split_sizes(self) -> dict[str, int]:
        """Number of samples of every split that has been set up."""
        return {split: len(dataset) for split, dataset in self._sets.items()}

    def records(self, split: str) -> list[Record]:
        """The samples of a split that has been set up, in the order of its loader; else none."""
        found = self._sets.get(split)
        return [] if found is None else found.records

    def file_names(self, split: str) -> dict[str, str]:
        """For the visible image's path of each sample, what files about it are called."""
        if split not in self._file_names:
            self._file_names[split] = file_names(self.records(split), self.endings)
        return self._file_names[split]

    def setup(self, stage: str | None = None) -> None:
        """Find the samples of a stage (Lightning calls this).

        Raises:
            DataError: as `find_records`, or there is nothing to validate or test on.
        """
        if stage == "test" and not self.test_splits:
            raise DataError(self.why_no_test())
        if stage == "validate" and not self.has_val:
            raise DataError(
                f"{self.root} has no validation set; give data.val_share to cut one from train, or "
                "data.choose_on to validate on a test set"
            )
        for text in self.half_there():
            rank_zero_warn(text)
        for split in _STAGES.get(stage or "", self.test_splits if stage == "test" else self.splits):
            if split not in self._sets and split in (*self.splits, "predict"):
                self._sets[split] = self.dataset(split)
        callbacks: list[Any] = getattr(self.trainer, "callbacks", [])
        if stage == "fit":
            self.position = None
            callbacks[:] = [c for c in callbacks if not isinstance(c, Resume)] + [Resume(self)]

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
                self.resize,
            )
            read = partial(self.read, soft=soft)
            return self.corrupted(
                RGBXDataset(records, read, augment, self.blank, self.seed, self.blank_with)
            )
        small = split == "val" and not self.validates_as_test
        transform = EvalTransform(self.size, self.statistics, small, self.resize)
        return RGBXDataset(records, self.read, transform, self.blank, self.seed, self.blank_with)

    def corrupted(self, training: RGBXDataset) -> RGBXDataset:
        """Let `drop`, `x_noise` and `x_shift` change what is trained on.

        Raises:
            DataError: they are asked for, and a sample has no x.
        """
        alone = next((str(r.rgb) for r in training.records if r.x is None), None)
        if self.corruption.is_active and alone is not None:
            raise DataError(
                f"{alone} has no x, and drop, x_noise and x_shift need both modalities; leave them "
                "out, or give the folder of x"
            )
        training.corrupt(self.corruption, self.statistics.x_std)
        return training

    def why_no_test(self) -> str:
        """Say why there is no test split, where `test_splits` is empty."""
        return f"{self.root} has no test set"

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled and augmented; see `drop_last` for the last, shorter batch."""
        return training_loader(
            self._sets["train"],
            self.batch_size,
            self.num_workers,
            self.seed,
            self.drop_last,
            self.position,
        )

    @property
    def shape(self) -> Shape:
        """How an epoch of training is cut into batches."""
        trainer = self.trainer
        assert trainer is not None
        loader = self.train_dataloader()
        batches, limit = len(loader), trainer.limit_train_batches
        if limit is not None:
            batches = min(batches, limit if isinstance(limit, int) else int(batches * limit))
        return Shape(
            samples=len(self._sets["train"]),
            batch=self.batch_size,
            processes=trainer.world_size,
            batches=batches,
            seed=self.seed,
            window=trainer.accumulate_grad_batches,
            drop_last=bool(loader.drop_last),
        )

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """In order, masks at network size; an empty list where nothing is validated on."""
        if "val" not in self._sets:
            return []
        return self._loader(self._sets["val"])

    def test_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """In order, masks at the original size; a list where there are several test splits."""
        sets = [self._sets[split] for split in self.test_splits]
        loaders = [self._loader(dataset) for dataset in sets]
        return loaders if len(loaders) > 1 else loaders[0]

    def predict_dataloader(self) -> DataLoader[Batch]:
        """In order, no masks."""
        return self._loader(self._sets["predict"])

    def _loader(self, dataset: RGBXDataset) -> DataLoader[Batch]:
        return ordered_loader(dataset, self.eval_batch_size, self.num_workers)
