"""What the RGB-X saliency data sets have in common: options, folders, several test sets."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_info

from rgbx.data.base import RGBXDataModule
from rgbx.data.records import Scan, find_folder, index_images, join, pair, seeded_split
from rgbx.errors import DataError

__all__ = ["MASK", "RGB", "Parts", "SaliencyDataModule", "join_sets", "nested"]

RGB = ("RGB", "Image", "Images", "Imgs", "Img")
MASK = ("GT", "Mask", "Masks", "GTs")


class Parts(NamedTuple):
    """The folders of one set of pairs; `mask` is None where it has no masks."""

    rgb: Path
    x: Path
    mask: Path | None

    def stems(self, labelled: bool = True) -> list[str]:
        """All names, also those that lack a file."""
        return sorted(set().union(*self._indices(labelled).values()))

    def scan(self, labelled: bool = True, names: Iterable[str] | None = None) -> Scan:
        """Pair the files by stem.

        Args:
            labelled: ask for masks.
            names: stems wanted; all by default, also those that lack a file.
        """
        wanted = self.stems(labelled) if names is None else names
        return pair(wanted, self._indices(labelled), where=str(self.rgb.parent))

    def _indices(self, labelled: bool) -> dict[str, dict[str, Path]]:
        indices = {"rgb": index_images(self.rgb), "x": index_images(self.x)}
        if labelled and self.mask is not None:
            indices["mask"] = index_images(self.mask)
        return indices


def nested(root: Path, names: Sequence[str], depth: int = 2) -> Iterator[Path]:
    """Yield `root`, the folders below it that have one of the names, and the same below these.

    Archives unpack to ``VT5000/VT5000_clear/...`` or ``VT1000/VT1000/...``, and people move them.
    """
    yield root
    if depth and root.is_dir():
        for name in names:
            folder = find_folder(root, (name,))
            if folder is not None:
                yield from nested(folder, names, depth - 1)


class SaliencyDataModule(RGBXDataModule):
    """Two classes, background and salient; masks are pictures, bright = salient.

    A subclass names its folders (`x_folders`, `tree`), sets `test_splits` and writes `scan`. X is
    scaled to [0, 1] and nothing else. Training masks keep their grey borders; validation and test
    masks are cut at half their scale, and test masks keep the size of their file.

    Attributes:
        x_folders: names of the folder of the second modality.
        tree: what a root looks like, for messages.

    Args:
        root: folder of the data set.
        size: (height, width) of the network's input, multiples of 16.
        flip: probability of a horizontal flip in training.
        scale: smallest and largest random scale in training; 1 shows the whole picture.
        jitter: strength of the colour changes of rgb in training, 0 for none.
        enhance: change brightness, contrast, colour and sharpness of rgb and of x in training,
            independently of each other (SAMSOD's augmentation).
        soft_masks: training masks are float32 in [0, 1] with their grey borders; false gives
            class ids as in validation.
        choose_on_test: checkpoints are chosen on the test set, as several papers do. Scores are
            then no estimate for unseen data; tables say so.
        resize_x: accept an x of another size and resize it to the visible picture.
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

    @property
    def choice(self) -> str:
        """What checkpoints are chosen on, as words for a table."""
        return "THE TEST SET" if self.choose_on_test else self._cut_choice()

    def why_no_test(self) -> str:
        """Say why there is no test split."""
        state = "has no test set" if self.root.is_dir() else "does not exist"
        return f"{self.root} {state}; set data.root to a folder with {self.tree}"

    def parts(self, folder: Path | None) -> Parts | None:
        """Find the folders of rgb, x and masks; None unless there are rgb and x."""
        if folder is None:
            return None
        rgb, x = find_folder(folder, RGB), find_folder(folder, self.x_folders)
        if rgb is None or x is None:
            return None
        return Parts(rgb, x, find_folder(folder, MASK))

    def first(self, folders: Iterable[Path | None]) -> Parts | None:
        """The first of some folders that holds pairs."""
        return next((parts for folder in folders if (parts := self.parts(folder))), None)

    def need_masks(self, parts: Parts, split: str) -> Parts:
        """Refuse a set without masks where they are needed.

        Raises:
            DataError: there is no folder of masks.
        """
        if parts.mask is None:
            raise DataError(
                f"{parts.rgb.parent} has no folder of masks ({' or '.join(MASK)}): {split} cannot "
                "go without; prediction can"
            )
        return parts

    def missing(self, what: str) -> DataError:
        """The error for a set that is not there."""
        state = f"has no {what}" if self.root.is_dir() else "does not exist"
        return DataError(f"{self.root} {state}; set data.root to a folder with {self.tree}")

    def cut(self, scan: Scan, split: str, siblings: Mapping[Path, str] | None = None) -> Scan:
        """Give train or val its part of the training pairs.

        Pairs that lack a file belong to train.

        Args:
            scan: of the whole training set.
            split: "train" or "val".
            siblings: family of each visible picture; families are not parted.
        """
        unique = len({r.name for r in scan.records}) == len(scan.records)
        by_key = {r.name if unique else str(r.rgb): r for r in scan.records}
        families = {k: siblings[r.rgb] for k, r in by_key.items()} if siblings else {}
        train, val = seeded_split(
            list(by_key), self.val_share, self.seed, lambda key: families.get(key, key)
        )
        rank_zero_info(
            f"{type(self).__name__} has no validation set; {len(val)} of {len(by_key)} training "
            f"samples are held out by seed {self.seed}"
        )
        if split == "val":
            return Scan([by_key[key] for key in val], [])
        return Scan([by_key[key] for key in train], scan.problems)


def join_sets(scans: Mapping[str, Scan]) -> Scan:
    """Put several sets together; names become SET/STEM if a stem occurs twice."""
    whole = join(scans.values())
    if len({record.name for record in whole.records}) == len(whole.records):
        return whole
    named = [replace(r, name=f"{name}/{r.name}") for name, s in scans.items() for r in s.records]
    return Scan(named, whole.problems)
