"""NJU2K, NLPR, STERE, SIP and others: salient objects in RGB and depth images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from rgbx.data.datasets.rgbd_folders import DEPTH, RGBD_SETS, RGBDFolders, canonical
from rgbx.data.decoding.files import SampleError, probe
from rgbx.data.saliency import SaliencyDataModule
from rgbx.data.splits.folders import Found, join_sets
from rgbx.data.splits.records import Record, Scan, held_out, join
from rgbx.errors import RGBXError

__all__ = ["RGBDSaliency"]

_TRAIN_COUNTS = {"NJU2K": 1485, "NLPR": 700, "DUT": 800}
_TEST_COUNTS = {
    **{"NLPR": 300, "NJU2K": 500, "STERE": 1000, "SIP": 929},
    **{"LFSD": 100, "DES": 135, "SSD": 80, "DUT": 400},
}


class RGBDSaliency(SaliencyDataModule):
    """RGB-D saliency: by default trained on NJU2K and NLPR (2185 pairs), tested on up to 8 sets.

    Each test set that is there is a test split: NLPR (300), NJU2K (500), STERE (1000), SIP (929),
    LFSD (100), DES (135), SSD (80), DUT (400). NJUD and NJU2000 mean NJU2K, STEREO and SSB mean
    STERE, RGBD135 means DES, RGBD1000 means NLPR, DUTLF-Depth and DUT-RGBD mean DUT. Layouts, which
    may be mixed; NAME is a set's:

    * the packs of BBS-Net and SwinNet: ``train/{RGB,depth,GT}`` (all training sets in one folder,
      so that `train_sets` has no say) or ``train/NAME/{RGB,depth,GT}``, and
      ``test/NAME/{RGB,depth,GT}``;
    * CAVER's: ``NAME/{Image,Depth,Mask}`` (NJUD_FULL, NLPR_FULL) with lists of the stems of train
      and test. A list is a ``.txt`` or ``.lst`` file with "train" or "test" in its name, in NAME,
      or with one of the set's names in its name too, in the root or its ``lists``, ``datasets`` or
      ``splits`` (``njud_train_jw_name_list.lst``, ``NLPR_test.txt``). If only one of the two lists
      is there, the other part is the rest;
    * DUT's: ``NAME/{Train,Test}/{RGB,depth,GT}``;
    * D3Net's: ``NAME/{RGB,depth,GT}`` without lists: a test set;
    * ``RGB/`` and ``depth/`` in the root, for prediction.

    There is no validation list: `val_share` of the training pairs is held out by `seed`. Depth is
    scaled to [0, 1]: 8 bits by 255, 16 bits and floats from the smallest to the largest valid value
    of each image (see `x_invalid`; missing depth stays 0, or 1 where it was 65535 or `invert_depth`
    turns it round); maps that are constant or not finite become 0. Its polarity differs between
    packs.

    Prediction takes every image below the root, or those of `test_sets` if they are named.

    Args:
        root: folder of the data sets.
        train_sets: names of the sets to train on.
        test_sets: names of the sets to test on; by default all that are there.
        choose_on_test: as `choose_on` with all test sets.
        invert_depth: turn depth round (1 - depth), where near is dark in one pack and bright in
            another.
        **kwargs: options of `SaliencyDataModule`.

    Raises:
        RGBXError: a set is unknown.
    """

    x_folders = DEPTH
    tree = (
        "train/{RGB,depth,GT} and test/NAME/{RGB,depth,GT}, or NAME/{Image,Depth,Mask} and lists, "
        "or NAME/{Train,Test}/{RGB,depth,GT}, or NAME/{RGB,depth,GT}; NAME is NJU2K, NLPR, STERE, "
        "SIP, LFSD, DES, SSD or DUT"
    )

    def __init__(
        self,
        root: str,
        train_sets: list[str] | tuple[str, ...] = ("NJU2K", "NLPR"),
        test_sets: list[str] | None = None,
        choose_on_test: bool = False,
        invert_depth: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, choose_on_test=choose_on_test, **kwargs)
        self.train_sets = tuple(dict.fromkeys(canonical(name) for name in train_sets))
        if not self.train_sets:
            raise RGBXError("train_sets is empty; name at least one set, for instance NJU2K")
        self.test_sets = test_sets
        self._folders = RGBDFolders(self.root)
        self.invert_depth = invert_depth
        there = [name for name in RGBD_SETS if self._folders.find_test(name)]
        wanted = there if test_sets is None else [canonical(name) for name in test_sets]
        self.test_splits = tuple(dict.fromkeys(wanted))
        total = sum(_TRAIN_COUNTS.get(name, 0) for name in self.train_sets)
        val = held_out(total, self.held_out_share)
        self.expected = dict(_TEST_COUNTS)
        if all(name in _TRAIN_COUNTS for name in self.train_sets):
            self.expected["train"] = total - val
            self.expected["val"] = val

    def scan(self, split: str) -> Scan:
        """Pair the files of a split; see `RGBXDataModule.scan`."""
        if split == "predict":
            return self._scan_predict()
        if split in ("train", "val"):
            return self.hold_out(self._scan_train(), split)
        return self._scan_test(split)

    def remarks(self, split: str, records: Sequence[Record]) -> list[str]:
        """Notice a training pack whose images were all shrunk to 256 x 256."""
        if split != "train" or not records or not all(_is_256(record.rgb) for record in records):
            return []
        return [
            f"{self.root}: all training images have 256 x 256 pixels; one shared pack was "
            "resized so, and scores of training on it are not comparable with published ones"
        ]

    def _scan_train(self) -> Scan:
        merged = self._folders.find_merged()
        if merged is not None:
            where = merged.rgb.parent
            rank_zero_info(f"RGBDSaliency: {where} holds all training sets in one folder")
            return self.need_masks(merged, "training").scan()
        scans = []
        for name in self.train_sets:
            found = self._folders.find_train(name)
            if found is None:
                raise self.missing(
                    f"training set {name} (train/, {name}/Train or {name} with lists)"
                )
            self.need_masks(found.parts, "training")
            scans.append(found.scan())
        return join(scans)

    def _scan_test(self, name: str, labelled: bool = True) -> Scan:
        found = self._folders.find_test(name)
        if found is None:
            raise self.missing(f"folder of the test set {name}")
        if labelled:
            self.need_masks(found.parts, name)
        return found.scan(labelled)

    def _scan_predict(self) -> Scan:
        sets = {name: self._scan_test(name, labelled=False) for name in self.test_splits}
        if self.test_sets is None:
            merged = self._folders.find_merged()
            own = {f"{name}-train": self._folders.find_train(name) for name in self.train_sets}
            if merged is not None:
                own = {"train": Found(merged)}
            sets |= {name: found.scan(labelled=False) for name, found in own.items() if found}
            if not sets and (here := self.parts(self.root)):
                sets[self.root.name] = here.scan(labelled=False)
        if not sets:
            raise self.missing("images in RGB and depth")
        return join_sets(sets)


def _is_256(path: Path) -> bool:
    try:
        header = probe(path)
    except SampleError:
        return False
    return (header.height, header.width) == (256, 256)
