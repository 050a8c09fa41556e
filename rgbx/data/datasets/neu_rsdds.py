"""NEU RSDDS-AUG: surface defects of rails in RGB and depth images."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from rgbx.data.saliency import SaliencyDataModule
from rgbx.data.splits.folders import MASK, RGB, Parts, join_sets, nested
from rgbx.data.splits.records import Scan, find_folder
from rgbx.data.splits.siblings import families
from rgbx.errors import DataError

__all__ = ["NEURSDDS"]

_ARCHIVES = ("NEU-RSDDS-AUG", "NEU_RSDDS_AUG", "RSDDS-AUG", "RGB_D_rail")
_SPLITS = {"train": ("train",), "val": ("value", "val", "valid"), "test": ("test",)}
_TRAIN_COUNT, _TEST_COUNT = 1500, 362


class NEURSDDS(SaliencyDataModule):
    """NEU RSDDS-AUG (Wang et al., 2022): 1500 training and 362 test pairs of rail surfaces.

    Layouts:

    * A, the authors': ``{Image,Depth,GT}_{train,test}``; Image ``.bmp``, Depth ``.tiff``, GT
      ``.png``. Copies without ``GT_test`` exist: they can be trained on and predicted.
    * B: ``{train,value,test}/{rgb,d,gt}``; the folder ``value`` is the validation set.

    They may lie in ``NEU-RSDDS-AUG/`` or ``RGB_D_rail/`` below the root. Depth is float or 16 bits
    and is scaled to [0, 1] from the smallest to the largest valid value of each image (of 16 bits,
    0 and 65535 are none, see `x_invalid`; floats in [0, 1] stay); maps that are constant or not
    finite become 0. Masks may be 0/255, 0/1 or 1-bit.

    The set was augmented (rotations, flips, ...) before it was published. Where validation is cut
    from train, copies of one image stay together: see `rgbx.data.splits.siblings.families`, which
    reads every training image once.

    Prediction takes every image below the root.

    Args:
        root: folder of the data set.
        choose_on_test: as `choose_on` with the test set.
        **kwargs: options of `SaliencyDataModule`.
    """

    x_folders = ("depth", "d", "depths")
    tree = (
        "{Image,Depth,GT}_{train,test}, or {train,value,test}/{rgb,d,gt}; the folder may be "
        "NEU-RSDDS-AUG or RGB_D_rail below it"
    )
    expected: Mapping[str, int] = {"test": _TEST_COUNT}

    def __init__(self, root: str, choose_on_test: bool = False, **kwargs: Any) -> None:
        super().__init__(root, choose_on_test=choose_on_test, **kwargs)
        self._families: dict[Path, str] = {}
        test = self._find("test")
        if test is not None and test.mask is None:
            self.test_splits = ()

    @property
    def own_val(self) -> str:
        """The folder ``value``, where there is one."""
        return "its value folder" if self._find("val") is not None else ""

    @property
    def choice(self) -> str:
        """What checkpoints are chosen on."""
        cut = self.held_out_share > 0 and not self.own_val
        return super().choice + (", copies of one image kept together" if cut else "")

    def why_no_test(self) -> str:
        """Say that the test masks are missing."""
        return (
            f"{self.root} has test images but no test masks (GT_test, or test/gt): it can be "
            "trained on and predicted, but not tested"
        )

    def scan(self, split: str) -> Scan:
        """Pair the files of a split; see `RGBXDataModule.scan`."""
        found = {name: parts for name in _SPLITS if (parts := self._find(name))}
        if split == "predict":
            if not found:
                raise self.missing("images and depth")
            return join_sets({name: parts.scan(labelled=False) for name, parts in found.items()})
        cut = split in ("train", "val") and "val" not in found
        source = "train" if cut else split
        if source not in found:
            raise self.missing(f"{source} images with depth")
        parts = found[source]
        if source == "test" and parts.mask is None:
            raise DataError(self.why_no_test())
        scan = self.need_masks(parts, source).scan()
        return self._hold_out(scan, split) if cut else scan

    def _hold_out(self, scan: Scan, split: str) -> Scan:
        if len(scan.records) != _TRAIN_COUNT:
            rank_zero_warn(
                f"NEURSDDS: {len(scan.records)} training pairs, {_TRAIN_COUNT} are usual; scores "
                "may not be comparable with published ones"
            )
        images = {record.name: record.rgb for record in scan.records}
        if set(images.values()) != self._families.keys():
            found = families(images)
            self._families = {images[name]: family for name, family in found.items()}
            rank_zero_info(f"NEURSDDS: {len(set(found.values()))} families of siblings in train")
        return self.hold_out(scan, split, self._families)

    def _find(self, split: str) -> Parts | None:
        """Folders of a split, whichever the layout."""
        bases = list(nested(self.root, _ARCHIVES))
        inside = self.first(f for base in bases for f in _split_folders(base, split))
        if inside is not None:
            return inside
        for base in bases:
            rgb, x, mask = (
                find_folder(base, [f"{name}_{word}" for word in _SPLITS[split] for name in names])
                for names in (RGB, self.x_folders, MASK)
            )
            if rgb is not None and x is not None:
                return Parts(rgb, x, mask)
        return None


def _split_folders(base: Path, split: str) -> Iterator[Path]:
    for name in _SPLITS[split]:
        folder = find_folder(base, (name,))
        if folder is not None:
            yield folder
