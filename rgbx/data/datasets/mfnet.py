"""MFNet: street scenes by day and night, RGB and thermal, 9 classes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray

from rgbx.data.base import RGBXDataModule
from rgbx.data.datasets.mfnet_layouts import LAYOUTS, Layout
from rgbx.data.decoding.files import Header, SampleError, read_raw
from rgbx.data.splits.folders import join_sets
from rgbx.data.splits.index import Index, all_stems, passed_over, subfolders
from rgbx.data.splits.lists import is_there
from rgbx.data.splits.records import (
    Record,
    Scan,
    find_folder,
    index_images,
    pair,
    read_list,
    seeded_split,
)
from rgbx.errors import DataError

__all__ = ["MFNet"]


class MFNet(RGBXDataModule):
    """MFNet (Ha et al., IROS 2017): 1569 pairs of 480 x 640, 820 by day and 749 by night.

    Five published layouts are recognised:

    * A, the original: ``images/00001D.png`` (RGBA: red, green, blue, thermal), ``labels/`` (ids),
      ``train.txt val.txt test.txt``;
    * B, RTFNet's: A plus ``test_day.txt test_night.txt``;
    * C: ``seperated_images/NAME_rgb.png`` and ``NAME_th.png``, ``labels/``, the lists;
    * D, CMX's: ``RGB/ Thermal/ Label/`` and the lists; without ``val.txt``, validation is cut from
      ``train.txt`` by seed;
    * E, mmsegmentation's: ``images/{train,val} annotations/{train,val}``; without a test folder,
      ``val`` is the test split and validation is cut from ``train`` by seed.

    Stems end in D (day) or N (night); ``test_day.txt`` and ``test_night.txt`` override the letter.
    Scores count all 9 ids, "unlabelled" included; the files hold no ignore value.

    The thermal mean and std are those of the two original frames 01234N and 01477D, the only
    ones at hand; enhanced copies (MSRS) are darker, see ``rgbx check-data``.

    Args:
        root: folder of the data set.
        layout: one of the layouts, or "auto" to look for them.
        protocol: "trainval" trains on train and val together, as CMX does; val stays what it is
            and then says nothing about unseen data.
        **kwargs: options of `RGBXDataModule`.
    """

    class_names = (
        "unlabelled",
        "car",
        "person",
        "bike",
        "curve",
        "car_stop",
        "guardrail",
        "color_cone",
        "bump",
    )
    palette = (
        (0, 0, 0),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
        (0, 0, 192),
        (128, 128, 0),
        (64, 64, 128),
        (192, 128, 128),
        (192, 64, 0),
    )
    subsets = ("day", "night")
    expected: Mapping[str, int] = {"train": 784, "val": 392, "test": 393}
    x_mean = 0.257
    x_std = 0.088

    def __init__(
        self,
        root: str,
        layout: Literal["auto", "A", "B", "C", "D", "E"] = "auto",
        protocol: Literal["train", "trainval"] = "train",
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.layout = layout
        self.protocol = protocol
        if protocol == "trainval":
            self.expected = {**self.expected, "train": 1176}

    def scan(self, split: str) -> Scan:
        """Pair the files of a split; see `RGBXDataModule.scan`."""
        letter = self._find_layout(labelled=split != "predict")
        layout = LAYOUTS[letter]
        if split == "predict":
            return self._scan_predict(layout)
        if letter == "E":
            return self._scan_folders(layout, split)
        x = self._index(layout.x, layout.x_ending) if layout.x else None
        rgb, mask = self._index(layout.rgb, layout.rgb_ending), self._index(layout.mask)
        lists, names = self._names(split, all_stems((rgb, x or {}, mask)))
        return self._pair(names, rgb, x, mask, lists)

    def share_by_design(self, first: str, second: str) -> bool:
        """With the protocol "trainval", val is trained on."""
        both = self.protocol == "trainval" and {first, second} == {"train", "val"}
        return both or super().share_by_design(first, second)

    @property
    def own_val(self) -> str:
        """Its validation list or folder, where there is one."""
        if self._find_layout(labelled=False) == "E":
            images = find_folder(self.root, LAYOUTS["E"].rgb)
            has_val = images is not None and find_folder(images, ("test",)) is not None
            words = "its val folder"
        else:
            has_val, words = is_there(self.root / "val.txt"), "its val list"
        return words if has_val else ""

    @property
    def choice(self) -> str:
        """What checkpoints are chosen on."""
        both = self.protocol == "trainval" and self.has_val and not self.chooses_on_test
        return f"{super().choice}{', which was trained on too' * both}"

    def _find_layout(self, labelled: bool) -> str:
        tried = list(LAYOUTS) if self.layout == "auto" else [self.layout]
        for letter in tried:
            if self._fits(letter, labelled):
                return letter
        trees = "; ".join(f"{letter}: {LAYOUTS[letter].tree}" for letter in sorted(tried))
        state = "is no MFNet data set" if self.root.is_dir() else "does not exist"
        raise DataError(f"{self.root} {state}; set data.root to a folder with one of: {trees}")

    def _fits(self, letter: str, labelled: bool) -> bool:
        layout = LAYOUTS[letter]
        rgb = find_folder(self.root, layout.rgb)
        if rgb is None or (layout.x and find_folder(self.root, layout.x) is None):
            return False
        if (letter == "E") != (find_folder(rgb, ("train",)) is not None):
            return False
        if not labelled:
            return True
        has_list = letter == "E" or is_there(self.root / "train.txt")
        days = letter != "B" or is_there(self.root / "test_day.txt")
        return has_list and days and find_folder(self.root, layout.mask) is not None

    def _index(self, names: tuple[str, ...], ending: str = "") -> Index:
        folder = find_folder(self.root, names)
        assert folder is not None, "the layout was found with this folder"
        return index_images(folder, ending)

    def _names(self, split: str, known: list[str]) -> tuple[str, list[str]]:
        """Stems of a split and the file they come from."""
        if split == "train" and self.protocol == "trainval":
            train, val = self._names_of("train", known), self._names_of("val", known)
            return "train.txt and val.txt", list(dict.fromkeys(train + val))
        return f"{split}.txt", self._names_of(split, known)

    def _names_of(self, split: str, known: list[str]) -> list[str]:
        path = self.root / f"{split}.txt"
        if split == "test" or is_there(self.root / "val.txt"):
            if not is_there(path):
                raise DataError(f"{path} is missing: MFNet needs it to know the {split} split")
            return read_list(path, known)
        return self._hold_out(read_list(self.root / "train.txt", known), split)

    def _hold_out(self, names: list[str], split: str) -> list[str]:
        train, val = seeded_split(names, self.held_out_share, self.seed)
        rank_zero_info(
            f"MFNet: {self.root} has no validation list; {len(val)} of {len(names)} training "
            f"samples are held out by seed {self.seed}"
        )
        return train if split == "train" else val

    def _scan_folders(self, layout: Layout, split: str) -> Scan:
        """Layout E: the splits are folders."""
        images, labels = (find_folder(self.root, names) for names in (layout.rgb, layout.mask))
        assert images is not None and labels is not None, "the layout was found with these folders"
        own_test = find_folder(images, ("test",)) is not None
        folder = split if own_test else {"train": "train", "val": "train", "test": "val"}[split]
        rgb_folder, mask_folder = find_folder(images, (folder,)), find_folder(labels, (folder,))
        if rgb_folder is None or mask_folder is None:
            raise DataError(f"{images}, {labels}: no folder {folder} in both for the {split} split")
        rgb, mask = index_images(rgb_folder), index_images(mask_folder)
        names = [stem for stem in all_stems((rgb, mask)) if not stem.endswith("_flip")]
        if not own_test and split != "test" and self.protocol == "train":
            names = self._hold_out(names, split)
        return self._pair(names, rgb, None, mask, str(rgb_folder))

    def _scan_predict(self, layout: Layout) -> Scan:
        folder = find_folder(self.root, layout.rgb)
        assert folder is not None, "the layout was found with this folder"
        x = self._index(layout.x, layout.x_ending) if layout.x else None
        found: dict[str, Scan] = {}
        for place in (folder, *(subfolders(folder) if x is None else ())):
            rgb = index_images(place, layout.rgb_ending)
            names = [stem for stem in all_stems([rgb]) if not stem.endswith("_flip")]
            scan = self._pair(names, rgb, x, None, str(place))
            found[place.name] = scan._replace(notes=tuple(passed_over([rgb], names)))
        return join_sets({name: scan for name, scan in found.items() if scan.records} or found)

    def _pair(
        self,
        names: list[str],
        rgb: Index,
        x: Index | None,
        mask: Index | None,
        where: str,
    ) -> Scan:
        # In the 4-channel layouts the thermal channel lies in the visible image's own file.
        folders = {"rgb": rgb, "x": x, "mask": mask}
        scan = pair(names, folders, self._subsets(names), where)
        if x is not None:
            return scan
        packed = [Record(r.name, r.rgb, r.rgb, r.mask, r.subset) for r in scan.records]
        return scan._replace(records=packed)

    def _subsets(self, names: list[str]) -> Callable[[str], str]:
        listed: dict[str, str] = {}
        for subset in self.subsets:
            path = self.root / f"test_{subset}.txt"
            if is_there(path):
                listed.update(dict.fromkeys(read_list(path, names), subset))
        letters = {"D": "day", "N": "night"}
        return lambda stem: listed.get(
            stem, letters.get(stem.removesuffix("_flip")[-1:].upper(), "")
        )

    def check_header(self, path: Path, header: Header, record: Record) -> None:
        """Demand the thermal channel where it lies in the image's own file."""
        if path == record.rgb == record.x:
            _check_channels(path, header.channels)

    def read_images(self, record: Record) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
        """Read rgb and thermal as `Source.read_images` does, from one file or two."""
        if record.x != record.rgb:
            return super().read_images(record)
        # read_raw, as every conversion to RGB would throw the fourth channel away.
        array = read_raw(record.rgb)
        _check_channels(record.rgb, array.shape[2] if array.ndim == 3 else 1)
        if array.dtype != np.uint8:
            raise SampleError(
                f"{record.rgb}: its values are {array.dtype}, where MFNet's layout has 8 bits",
                "channels",
            )
        rgb = np.ascontiguousarray(array[..., :3].astype(np.uint8))
        thermal = array[..., 3].astype(np.float32) / np.float32(255)
        return rgb, thermal if self.x_channels == 1 else np.repeat(thermal[..., None], 3, axis=2)


def _check_channels(path: Path, channels: int) -> None:
    if channels != 4:
        raise SampleError(
            f"{path}: it has {channels} channels where MFNet's layout needs 4 (red, green, blue, "
            "thermal); the thermal channel was lost, take the original file",
            "channels",
        )
