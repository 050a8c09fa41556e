"""Kvasir-SEG: polyps in images of the colon; and PraNet's pack of five such sets."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_info

from rgbx.data.datasets.kvasir_split import Division, divide_by_hash, read_division
from rgbx.data.splits.folders import Parts, nested
from rgbx.data.splits.lists import is_there
from rgbx.data.splits.records import Record, Scan, find_folder
from rgbx.data.two_class import TwoClassDataModule
from rgbx.errors import RGBXError

__all__ = ["KvasirSEG"]

Split = Literal["seed42_80_20", "lists", "pranet"]
_ARCHIVES = ("Kvasir-SEG", "Kvasir_SEG", "KvasirSEG", "Kvasir")
_TOTAL, _SESSILE = 1000, 196
# PraNet's test sets, usual sizes and other names
_PRANET: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "Kvasir": (100, ("Kvasir", "Kvasir-SEG")),
    "CVC-ClinicDB": (62, ("CVC-ClinicDB", "ClinicDB", "CVC-612")),
    "CVC-ColonDB": (380, ("CVC-ColonDB", "ColonDB")),
    "CVC-300": (60, ("CVC-300", "CVC-T", "EndoScene")),
    "ETIS-LaribPolypDB": (196, ("ETIS-LaribPolypDB", "ETIS")),
}
_PRANET_TRAIN = 1450


class KvasirSEG(TwoClassDataModule):
    """Kvasir-SEG (Jha et al., 2020): 1000 images of polyps, 332 x 487 to 1920 x 1072.

    Layouts:

    * the set's own, ``{images,masks}/ID.jpg``, in the root or in ``Kvasir-SEG`` below it. Masks are
      JPEG with one channel or three, and are cut at > 128. It was published undivided;
    * PraNet's pack, ``TrainDataset/{image,mask}`` (1450: 900 of Kvasir-SEG, 550 of ClinicDB) and
      ``TestDataset/NAME/{images,masks}``; NAME is Kvasir (100), CVC-ClinicDB (62), CVC-ColonDB
      (380), CVC-300 (60) or ETIS-LaribPolypDB (196), each a test split.

    Scores of different divisions are not comparable; `split_note` says which one was used, and
    tables print it. Prediction takes every image.

    Args:
        root: folder of the data set.
        split: "seed42_80_20" trains on 800 and tests on 200 images, chosen by a hash of their
            names, so on every machine the same; "lists" reads ``train.txt``, ``val.txt`` and
            ``test.txt`` (with ``train.txt`` and ``val.txt`` only, the 880/120 of the authors,
            ``val.txt`` is the test list); "pranet" is PraNet's pack. By default what is there:
            PraNet's pack, else lists, else "seed42_80_20".
        test_sets: of PraNet's pack, the names of the sets to test on; by default all that are
            there.
        choose_on_test: as `choose_on` with all test sets.
        **kwargs: options of `TwoClassDataModule`.

    Raises:
        RGBXError: a set is unknown, or test sets are named without PraNet's pack.
    """

    class_names = ("background", "polyp")
    palette = ((0, 0, 0), (40, 200, 255))  # red would not show on mucosa
    tree = (
        "{images,masks} (also below Kvasir-SEG), or TrainDataset/{image,mask} and "
        "TestDataset/NAME/{images,masks}"
    )

    def __init__(
        self,
        root: str,
        split: Split | None = None,
        test_sets: list[str] | None = None,
        choose_on_test: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, choose_on_test=choose_on_test, **kwargs)
        self.test_sets = test_sets
        self.split = split or self._split_at_hand()
        if self.split == "pranet":
            there = [name for name in _PRANET if self._find_pranet(name)]
            wanted = there if test_sets is None else [_canonical(name) for name in test_sets]
            self.test_splits = tuple(dict.fromkeys(wanted))
            tests = {name: count for name, (count, _) in _PRANET.items()}
            self.expected = {**tests, **self.usual(_PRANET_TRAIN)}
            return
        if test_sets is not None:
            raise RGBXError(
                f"test_sets {test_sets} are parts of PraNet's pack, but {root} is divided by "
                f"{self.split}; leave test_sets out"
            )
        if self._whole is None:
            self.test_splits = ()
        elif self.split == "seed42_80_20":
            self.expected = {"test": _TOTAL // 5, **self.usual(_TOTAL - _TOTAL // 5)}
        elif self._division.val is None and is_there(self._whole.rgb.parent / "val.txt"):
            self.expected = {"test": 120, **self.usual(880)}

    def _split_at_hand(self) -> Split:
        if self._pack("TrainDataset") or self._pack("TestDataset"):
            return "pranet"
        whole = self._whole
        lists = whole is not None and is_there(whole.rgb.parent / "train.txt")
        return "lists" if lists else "seed42_80_20"

    @property
    def split_note(self) -> str:
        """Which division into train and test was used."""
        if self.split == "pranet":
            return "PraNet's pack (Kvasir-SEG 900 and ClinicDB 550 for training)"
        return "" if self._whole is None else f"divided {self._division.note}"

    @property
    def own_val(self) -> str:
        """Its own list, where there is one."""
        return "" if self._val_list is None else "its val list"

    @property
    def _val_list(self) -> list[str] | None:
        undivided = self.split == "pranet" or self._whole is None
        return None if undivided else self._division.val

    def scan(self, split: str) -> Scan:
        """Pair the files of a split; see `RGBXDataModule.scan`."""
        listed = self._val_list
        if listed is None or split not in ("train", "val"):
            return super().scan(split)
        return self.scan_train() if split == "train" else self._listed(listed, "val")

    def scan_train(self) -> Scan:
        """Pair the training images."""
        rank_zero_info(f"KvasirSEG: {self.split_note}")
        if self.split != "pranet":
            return self._listed(self._division.train, "train")
        parts = self.parts(self._pack("TrainDataset"))
        if parts is None:
            raise self.missing("folder TrainDataset with images and masks")
        return self.need_masks(parts, "training").scan()

    def scan_test(self, name: str) -> Scan:
        """Pair the images of a test set."""
        if self.split != "pranet":
            return self._listed(self._division.test, name)
        parts = self._find_pranet(name)
        if parts is None:
            raise self.missing(f"folder of the test set {name}")
        return self.need_masks(parts, name).scan()

    def scan_predict(self) -> Mapping[str, Scan]:
        """Every image of the set, or of PraNet's pack (`test_sets` only, if they are named)."""
        if self.split != "pranet":
            found = {} if self._whole is None else {"Kvasir-SEG": self._whole}
        else:
            found = {n: parts for n in self.test_splits if (parts := self._find_pranet(n))}
            train = self.parts(self._pack("TrainDataset"))
            if train is not None and self.test_sets is None:
                found["train"] = train
        return {name: parts.scan(labelled=False) for name, parts in found.items()}

    def remarks(self, split: str, records: Sequence[Record]) -> list[str]:
        """Notice the smaller set that some call by this one's name, and lists of odd length."""
        if split != "train" or self.split == "pranet" or self._whole is None:
            return []
        if len(self._whole.stems()) == _SESSILE:
            return [
                f"{self.root}: {_SESSILE} images are those of Kvasir-Sessile, a part of "
                "Kvasir-SEG; scores are not comparable with those of the whole"
            ]
        listed = sum(map(len, (self._division.train, self._val_list or (), self._division.test)))
        if listed != _TOTAL and "train" not in self.expected:
            return [f"{self.root}: its lists name {listed} images, {_TOTAL} are usual"]
        return []

    def _listed(self, names: Sequence[str], split: str) -> Scan:
        parts = self._need_whole()
        return self.need_masks(parts, split).scan(names=names)

    def _need_whole(self) -> Parts:
        if self._whole is None:
            raise self.missing("folders images and masks")
        return self._whole

    @cached_property
    def _whole(self) -> Parts | None:
        return self.first(nested(self.root, _ARCHIVES))

    @cached_property
    def _division(self) -> Division:
        parts = self._need_whole()
        names = parts.stems()
        if self.split == "seed42_80_20":
            return divide_by_hash(names)
        found = read_division(parts.rgb.parent, names)
        if found is None:
            raise self.missing("train.txt (split: lists)")
        return found

    def _pack(self, name: str) -> Path | None:
        return find_folder(self.root, (name,))

    def _find_pranet(self, name: str) -> Parts | None:
        tests = self._pack("TestDataset")
        return None if tests is None else self.parts(find_folder(tests, _PRANET[name][1]))


def _canonical(name: str) -> str:
    for usual, (_, aliases) in _PRANET.items():
        if name.lower() in {alias.lower() for alias in aliases}:
            return usual
    raise RGBXError(f"KvasirSEG knows no test set {name!r}; choose among {', '.join(_PRANET)}")
