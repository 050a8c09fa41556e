"""ISTD: cast shadows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rgbx.data.splits.folders import MASK, RGB, Parts, nested
from rgbx.data.splits.records import Record, Scan, find_folder
from rgbx.data.two_class import TwoClassDataModule

__all__ = ["ISTD", "scene_of"]

_ARCHIVES = ("ISTD_Dataset", "ISTD", "ISTD+", "ISTD_plus", "ISTD_adjusted")
_TRAIN_COUNT, _TEST_COUNT = 1330, 540


class ISTD(TwoClassDataModule):
    """ISTD (Wang et al., 2018): 1330 training and 540 test images of cast shadows, 480 x 640.

    ``{train,test}/{train_A,train_B}`` (``test_A``, ``test_B``), in the root or in ``ISTD_Dataset``,
    ``ISTD`` or ``ISTD+`` below it: A is the image, B the mask of the shadow; C, the image
    without shadow, is not used. ``A`` and ``B``, and ``Image`` and ``Mask``, are accepted. Masks
    are grey at some borders.

    Images are called N-M: shadow M in scene N. Where validation is cut from train, all images
    of a scene stay together, as they differ in the shadow only. Prediction takes every image.

    Args:
        root: folder of the data set.
        choose_on_test: as `choose_on` with the test set.
        **kwargs: options of `TwoClassDataModule`.
    """

    class_names = ("background", "shadow")
    tree = "train/{train_A,train_B} and test/{test_A,test_B}, also below ISTD_Dataset"

    def __init__(self, root: str, choose_on_test: bool = False, **kwargs: Any) -> None:
        super().__init__(root, choose_on_test=choose_on_test, **kwargs)
        if self._find("test") is None:
            self.test_splits = ()
        self.expected = {"test": _TEST_COUNT}
        if not self.held_out_share:  # else val ends between two scenes, near its share
            self.expected["train"] = _TRAIN_COUNT

    @property
    def choice(self) -> str:
        """What checkpoints are chosen on, as words for a table."""
        return super().choice + (", scenes kept together" if self.held_out_share else "")

    def scan_train(self) -> Scan:
        """Pair all training images with their shadow masks."""
        return self._scan("train")

    def scan_test(self, name: str) -> Scan:
        """Pair the test images with their shadow masks."""
        return self._scan(name)

    def scan_predict(self) -> Mapping[str, Scan]:
        """Every image of train and test, or those of a root with images only."""
        found = {name: parts for name in ("train", "test") if (parts := self._find(name))}
        if not found and (here := self.parts(self.root)) is not None:
            found[self.root.name] = here
        return {name: parts.scan(labelled=False) for name, parts in found.items()}

    def families(self, scan: Scan) -> Mapping[Path, str]:
        """The scene of each image."""
        return {record.rgb: scene_of(record.name) for record in scan.records}

    def remarks(self, split: str, records: Sequence[Record]) -> list[str]:
        """Count the training images, those included that are held out."""
        if split != "train" or "train" in self.expected:
            return []
        total = len(self.scan_train().records)
        if total == _TRAIN_COUNT:
            return []
        return [
            f"{self.root}: {total} training images, those held out included; {_TRAIN_COUNT} are "
            "usual; scores may not be comparable with published ones"
        ]

    def half_there(self) -> list[str]:
        """Name the splits that have masks (B) but no images (A)."""
        masks = {s: m for s in ("train", "test") if (m := self._find_masks(s)) is not None}
        return [
            f"{mask} is there, but the folder of its images ({split}_A) is not: it is not used"
            for split, mask in masks.items()
            if self._find(split) is None
        ]

    def _find_masks(self, split: str) -> Path | None:
        bases = list(nested(self.root, _ARCHIVES))
        places = [p for b in bases for p in (find_folder(b, (split,)), b) if p is not None]
        found = (find_folder(place, (f"{split}_B",)) for place in places)
        return next((mask for mask in found if mask is not None), None)

    def _scan(self, split: str) -> Scan:
        parts = self._find(split)
        if parts is None:
            raise self.missing(f"folder {split} with images ({split}_A)")
        return self.need_masks(parts, split).scan()

    def _find(self, split: str) -> Parts | None:
        for base in nested(self.root, _ARCHIVES):
            folder = find_folder(base, (split,))
            for place in (base,) if folder is None else (folder, base):
                inside = place == folder
                rgb = find_folder(place, (f"{split}_A", *(("A", *RGB) if inside else ())))
                if rgb is not None:
                    names = (f"{split}_B", *(("B", *MASK) if inside else ()))
                    return Parts(rgb, None, find_folder(place, names))
        return None


def scene_of(stem: str) -> str:
    """The scene of an image called N-M.

    >>> scene_of("114-5"), scene_of("test7")
    ('114', 'test7')
    """
    scene, _, number = stem.rpartition("-")
    return scene if scene and number.isdecimal() else stem
