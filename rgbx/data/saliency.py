"""What the RGB-X saliency data sets have in common: options, messages, the cut of train."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from rgbx.data.base import RGBXDataModule
from rgbx.data.splits.folders import MASK, Parts, find_parts, first_parts, half_parts
from rgbx.data.splits.index import subfolders
from rgbx.data.splits.records import Scan, seeded_split
from rgbx.errors import DataError, RGBXError
from rgbx.text import printable

__all__ = ["SaliencyDataModule"]


class SaliencyDataModule(RGBXDataModule):
    """Two classes, background and salient; masks are images, bright = salient.

    A subclass names its folders (`x_folders`, `tree`), sets `test_splits` and writes `scan`. X is
    scaled to [0, 1] and nothing else. Training masks keep their grey borders; validation and test
    masks are cut above 128 of 255, and test masks keep the size of their file.

    Attributes:
        x_folders: names of the folder of the second modality.
        tree: what a root looks like, for messages.

    Args:
        root: folder of the data set.
        size: (height, width) of the network's input.
        flip: probability of a horizontal flip in training.
        scale: smallest and largest random scale in training; 1 shows the whole image.
        jitter: strength of the colour changes of rgb in training, 0 for none.
        enhance: change brightness, contrast, colour and sharpness of rgb and of x in training,
            independently of each other (SAMSOD's augmentation).
        soft_masks: training masks are float32 in [0, 1] with their grey borders; false gives
            class ids as in validation.
        choose_on_test: as `choose_on` with all test sets.
        resize_x: accept an x of another size and resize it to the visible image.
        **kwargs: further options of `RGBXDataModule`.
    """

    class_names = ("background", "salient")
    palette = ((0, 0, 0), (255, 40, 60))
    x_mean = 0.0
    x_std = 1.0
    binary = True
    size_hint = "; resize_x: true accepts and resizes it"
    x_folders: tuple[str, ...] = ()
    tree: str = ""

    def __init__(
        self,
        root: str,
        size: tuple[int, int] = (512, 512),
        flip: float = 0.0,
        scale: tuple[float, float] = (1.0, 1.0),
        jitter: float = 0.0,
        enhance: bool = True,
        soft_masks: bool = True,
        choose_on_test: bool = False,
        resize_x: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            root, size, flip=flip, scale=scale, jitter=jitter, enhance=enhance, **kwargs
        )
        self.soft_masks = soft_masks
        self.choose_on_test = choose_on_test
        self.resize_x = resize_x
        if choose_on_test and self.choose_on:
            raise RGBXError(
                f"choose_on_test: true stands for all test sets, and choose_on names "
                f"{', '.join(self.choose_on)}: give one of the two"
            )

    @property
    def chooses_on_test(self) -> bool:
        """Validation reads test sets, those of `chosen_on`."""
        return self.choose_on_test or bool(self.choose_on)

    @property
    def chosen_on(self) -> tuple[str, ...]:
        """The test splits that checkpoints are chosen on."""
        return self.test_splits if self.choose_on_test else self.choose_on

    @property
    def validates_as_test(self) -> bool:
        """On test sets, at the size of their masks: validation gives the scores of a test."""
        return self.chooses_on_test

    def half_there(self) -> list[str]:
        """Name folders of sets in which that of rgb or of x is missing."""
        return half_parts(self.root, self.x_folders)

    def why_no_test(self) -> str:
        """Say why there is no test split."""
        state = "has no test set" if self.root.is_dir() else "does not exist"
        return f"{self.root} {state}; set data.root to a folder with {self.tree}"

    def parts(self, folder: Path | None) -> Parts | None:
        """As `rgbx.data.splits.folders.find_parts`, with this data set's names for x."""
        return find_parts(folder, self.x_folders)

    def first(self, folders: Iterable[Path | None]) -> Parts | None:
        """The first of some folders that holds pairs."""
        return first_parts(folders, self.x_folders)

    def need_masks(self, parts: Parts, split: str) -> Parts:
        """Refuse a set without masks where they are needed.

        Raises:
            DataError: there is no folder of masks.
        """
        if parts.mask is None:
            used = (parts.rgb.name, parts.x.name if parts.x else "")
            others = [p.name for p in subfolders(parts.rgb.parent) if p.name not in used]
            there = f"; there are {', '.join(map(printable, others[:8]))}" if others else ""
            raise DataError(
                f"{parts.rgb.parent} has no folder of masks ({' or '.join(MASK)}){there}: {split} "
                "cannot go without; prediction can"
            )
        return parts

    def missing(self, what: str) -> DataError:
        """The error for a set that is not there."""
        state = f"has no {what}" if self.root.is_dir() else "does not exist"
        return DataError(f"{self.root} {state}; set data.root to a folder with {self.tree}")

    def hold_out(self, scan: Scan, split: str, siblings: Mapping[Path, str] | None = None) -> Scan:
        """Give train or val its part of the training pairs; all to train without `held_out_share`.

        Pairs that lack a file belong to train.

        Args:
            scan: of the whole training set.
            split: "train" or "val".
            siblings: family of each visible image; families are not parted.
        """
        unique = len({r.name for r in scan.records}) == len(scan.records)
        by_key = {r.name if unique else str(r.rgb): r for r in scan.records}
        families = {k: siblings[r.rgb] for k, r in by_key.items()} if siblings else {}
        train, val = seeded_split(
            list(by_key), self.held_out_share, self.seed, lambda key: families.get(key, key)
        )
        if self.held_out_share:
            rank_zero_info(
                f"{type(self).__name__} has no validation set; {len(val)} of {len(by_key)} "
                f"training samples are held out by seed {self.seed}"
            )
        if split == "val":
            return Scan([by_key[key] for key in val], [], scan.notes)
        return Scan([by_key[key] for key in train], scan.problems, scan.notes)
