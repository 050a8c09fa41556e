"""LLVIP: pedestrians at night, visible and infrared."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from rgbx.data.annotations.boxes import Boxes
from rgbx.data.annotations.voc import read_voc
from rgbx.data.detection.module import BoxDataModule
from rgbx.data.splits.folders import join_sets
from rgbx.data.splits.index import Index, all_stems
from rgbx.data.splits.records import Record, Scan, find_folder, index_images, pair, seeded_split
from rgbx.errors import DataError

__all__ = ["LLVIP"]


class LLVIP(BoxDataModule):
    """LLVIP (Jia et al., ICCV workshops 2021): 12,025 + 3,463 pairs of 1280 x 1024, persons.

    ``{visible,infrared}/{train,test}/NNNNNN.jpg`` and ``Annotations/NNNNNN.xml`` (Pascal VOC, one
    file for both modalities and both splits). There is no validation list: `val_share` of train is
    held out by seed. The labels were corrected in 2023; older numbers differ by points.

    Args:
        root: folder of the data set, or the one around it.
        **kwargs: options of `BoxDataModule`.
    """

    class_names = ("person",)
    palette = ((255, 70, 40),)
    expected: Mapping[str, int] = {"train": 12025, "test": 3463}

    def __init__(self, root: str, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)

    def expected_size(self, split: str) -> int | None:
        """As the base; what is held out of train is not expected there."""
        if split == "train" and self.held_out_share:
            return None
        return super().expected_size(split)

    def scan(self, split: str) -> Scan:
        """Pair the files of a split; see `RGBXDataModule.scan`."""
        root = self._folder()
        if split == "predict":
            parts = {part: self._indices(root, part) for part in ("train", "test")}
            return join_sets(
                {
                    part: pair(all_stems(found.values()), found, where=part)
                    for part, found in parts.items()
                    if found
                }
            )
        part = "test" if split == "test" else "train"
        images = self._indices(root, part)
        place = find_folder(root, ("Annotations",))
        if not images or place is None:
            lacks = "Annotations" if images else f"visible/{part} and infrared/{part}"
            raise DataError(f"{root} has no {lacks}, which LLVIP's {split} split needs")
        names = all_stems(images.values())
        boxes = index_images(place, suffixes=(".xml",))
        notes = self._orphans(root, boxes)
        if part == "train":
            names = self._hold_out(names, split)
        scan = pair(names, images | {"boxes": boxes}, where=f"visible/{part}")
        return scan._replace(notes=notes)

    def read_annotation_file(self, record: Record) -> Boxes:
        """Read an XML file of 1-based corners."""
        assert record.boxes is not None, "labelled samples have boxes"
        return read_voc(record.boxes)

    def _folder(self) -> Path:
        for folder in (self.root, self.root / "LLVIP"):
            if find_folder(folder, ("visible",)) and find_folder(folder, ("infrared",)):
                return folder
        state = "is no LLVIP data set" if self.root.is_dir() else "does not exist"
        raise DataError(
            f"{self.root} {state}; set data.root to a folder with visible/, infrared/ (each with "
            "train/ and test/) and Annotations/"
        )

    def _indices(self, root: Path, part: str) -> dict[str, Index]:
        """Visible and infrared images of train or test; empty if neither is there."""
        found = {}
        for key, name in (("rgb", "visible"), ("x", "infrared")):
            above = find_folder(root, (name,))
            folder = None if above is None else find_folder(above, (part,))
            if folder is not None:
                found[key] = index_images(folder)
        if len(found) == 1:
            there = "visible" if "rgb" in found else "infrared"
            raise DataError(f"{root} has {there}/{part}, but the other modality has no {part}")
        return found

    def _orphans(self, root: Path, boxes: Index) -> tuple[str, ...]:
        """Annotations that belong to no image of either split."""
        known = {
            stem
            for part in ("train", "test")
            for index in self._indices(root, part).values()
            for stem in index
        }
        left = sorted(boxes.keys() - known)
        if not left:
            return ()
        return (f"{boxes.folder}: {len(left)} files belong to no image: {', '.join(left[:5])}",)

    def _hold_out(self, names: list[str], split: str) -> list[str]:
        train, val = seeded_split(names, self.held_out_share, self.seed)
        if split == "val":
            rank_zero_info(
                f"LLVIP: {len(val)} of {len(names)} training pairs are held out by seed {self.seed}"
            )
        return val if split == "val" else train
