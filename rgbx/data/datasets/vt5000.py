"""VT5000, VT1000 and VT821: salient objects in RGB and thermal images."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from rgbx.data.decoding.scribbles import find_scribbles
from rgbx.data.saliency import SaliencyDataModule
from rgbx.data.splits.folders import Parts, join_sets, nested
from rgbx.data.splits.index import all_stems
from rgbx.data.splits.records import Scan, find_folder, held_out, index_images, pair
from rgbx.errors import DataError

__all__ = ["VT5000"]

_TRAIN = ("VT5000", "VT5000_clear")
_TESTS = ("VT5000", "VT1000", "VT821")


class VT5000(SaliencyDataModule):
    """VT5000 (Tu et al., 2020), trained on its 2500 training pairs, tested on three sets.

    The test sets are VT5000-Test (2500 pairs), VT1000 (1000) and VT821 (821), each a test split
    under its own name; most images have 480 x 640 pixels, those of VT821 vary. The root is one
    of

    * the folder that holds ``VT5000/``, ``VT1000/`` and ``VT821/`` side by side, each with
      ``{RGB,T,GT}`` (VT5000: ``{Train,Test}/{RGB,T,GT}``), also as the archives unpack:
      ``VT5000/VT5000_clear/...``, ``VT5000/VT5000/...``, ``VT1000/VT1000/...``, or
      ``VT5000_clear/...``;
    * SAMSOD's ``Train/{RGB,T,GT}`` and ``Test/{VT5000,VT1000,VT821}/{RGB,T,GT}``;
    * the folder of VT5000 alone;
    * a folder with ``RGB/`` and ``T/``, for prediction.

    Letter case does not matter; ``Image``, ``thermal``, ``IR`` and ``Mask`` are accepted, and any
    mixture of suffixes. Files are paired by stem. Pseudo-coloured thermal images are averaged to
    one channel unless `x_channels` is 3. JPEG masks are cut at > 128 for validation and test.

    There is no validation list: `val_share` of the training pairs is held out by `seed`; with 0
    all 2500 train, and the last epoch is the checkpoint. SAMSOD's authors choose the smallest MAE
    on VT821: `choose_on`.

    Prediction takes every image below the root, or those of `test_sets` if they are named.

    Args:
        root: folder of the data sets.
        test_sets: names of the test sets, VT5000, VT1000, VT821 or any other folder of the same
            kind (VT723, UVT2000); by default those of the three that are there.
        choose_on_test: as `choose_on` with VT5000's test set.
        scribbles: folder of scribbles that replace the training masks, with ``gt/`` (strokes on
            objects) and ``mask/`` (labelled pixels), or images of 0, 1 (object) and 2
            (background). It may also hold the training images themselves, in ``RGB/`` and
            ``T/``. Validation cut from train has scribbles too, test sets have full masks.
        soft_masks: training masks keep their grey borders (scribbles have none).
        enhance: SAMSOD's photometric augmentation.
        **kwargs: options of `SaliencyDataModule`.
    """

    x_folders = ("T", "thermal", "IR", "TH", "infrared")
    tree = (
        "VT5000/{Train,Test}/{RGB,T,GT}, VT1000/{RGB,T,GT} and VT821/{RGB,T,GT}, or "
        "Train/{RGB,T,GT} and Test/{VT5000,VT1000,VT821}/{RGB,T,GT}"
    )

    def __init__(
        self,
        root: str,
        test_sets: list[str] | None = None,
        choose_on_test: bool = False,
        scribbles: str | None = None,
        soft_masks: bool = True,
        enhance: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            root, choose_on_test=choose_on_test, soft_masks=soft_masks, enhance=enhance, **kwargs
        )
        self.test_sets = test_sets
        self.scribbles = None if scribbles is None else Path(scribbles).expanduser()
        there = [name for name in _TESTS if self._find_test(name)]
        self.test_splits = tuple(there if test_sets is None else dict.fromkeys(test_sets))
        val = held_out(2500, self.held_out_share)
        self.expected: Mapping[str, int] = {
            **{"train": 2500 - val, "val": val, "VT5000": 2500, "VT1000": 1000, "VT821": 821}
        }

    @property
    def chosen_on(self) -> tuple[str, ...]:
        """The test splits that checkpoints are chosen on."""
        return ("VT5000",) if self.choose_on_test else self.choose_on

    def scan(self, split: str) -> Scan:
        """Pair the files of a split; see `RGBXDataModule.scan`."""
        if split == "predict":
            return self._scan_predict()
        if split in ("train", "val"):
            return self.hold_out(self._scan_train(), split)
        parts = self._find_test(split)
        if parts is None:
            raise self.missing(f"folder of the test set {split} with RGB and T")
        return self.need_masks(parts, split).scan()

    def _find_train(self) -> Parts | None:
        folders = (find_folder(base, ("Train",)) for base in nested(self.root, _TRAIN))
        return self.first(folders)

    def _find_test(self, name: str) -> Parts | None:
        names = _TRAIN if name == "VT5000" else (name,)
        return self.first(self._test_folders(name, names))

    def _test_folders(self, name: str, names: Sequence[str]) -> Iterator[Path | None]:
        bases = list(nested(self.root, names))
        if name == "VT5000":
            yield from (find_folder(base, ("Test",)) for base in bases)
        else:
            here = self.root.name.lower() == name.lower()
            yield from bases if here else bases[1:]
        test = find_folder(self.root, ("Test",))
        if test is not None:
            yield from list(nested(test, names))[1:]

    def _scan_train(self) -> Scan:
        parts = self._find_train()
        if self.scribbles is not None:
            return self._scan_scribbles(self.scribbles, parts)
        if parts is None:
            raise self.missing("folder Train with RGB and T")
        return self.need_masks(parts, "training").scan()

    def _scan_scribbles(self, folder: Path, parts: Parts | None) -> Scan:
        coding, mask, labelled = find_scribbles(folder)
        rank_zero_info(f"VT5000: {len(mask)} scribbles in {folder}, coded as {coding}")
        parts = parts or self.parts(folder)
        if parts is None:
            raise DataError(
                f"The training images of the scribbles in {folder} are missing: neither "
                f"{self.root} has a folder Train with RGB and T, nor does {folder} hold RGB and T"
            )
        rgb, x = index_images(parts.rgb), index_images(parts.x) if parts.x else {}
        indices = {"rgb": rgb, "x": x, "mask": mask, "labelled": labelled}
        names = all_stems(indices.values())
        return pair(names, indices, where=f"{folder} or {parts.rgb.parent}")

    def _scan_predict(self) -> Scan:
        sets = {name: self._find_test(name) for name in self.test_splits}
        if self.test_sets is None:
            sets = {"Train": self._find_train(), **sets}
            if not any(sets.values()):
                sets = {self.root.name: self.parts(self.root)}
        else:
            for name in [name for name, parts in sets.items() if parts is None]:
                raise self.missing(f"folder of the test set {name} with RGB and T")
        found = {name: parts.scan(labelled=False) for name, parts in sets.items() if parts}
        if not found:
            raise self.missing("images in RGB and T")
        return join_sets(found)
