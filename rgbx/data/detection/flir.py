"""FLIR-aligned: driving scenes, visible and thermal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch.utilities import rank_zero_info

from rgbx.data.annotations.boxes import Boxes
from rgbx.data.annotations.coco import read_coco
from rgbx.data.annotations.voc import read_voc
from rgbx.data.detection.coco_split import Numbered, coco_boxes, coco_image, scan_coco
from rgbx.data.detection.module import BoxDataModule
from rgbx.data.splits.folders import join_sets
from rgbx.data.splits.index import Index
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

__all__ = ["FLIR"]

_RGB, _THERMAL = "_RGB", "_PreviewData"
_LISTS = {"train": "align_train.txt", "test": "align_validation.txt"}
_JSON = {"train": "Annotation_train.json", "test": "Annotation_test.json"}


class FLIR(BoxDataModule):
    """FLIR ADAS v1, aligned by Zhang et al. (2020): 4,129 + 1,013 pairs of 640 x 512.

    Two published layouts are recognised:

    * ``align/``: ``JPEGImages/FLIR_NNNNN_RGB.jpg`` and ``FLIR_NNNNN_PreviewData.jpeg`` (thermal),
      ``Annotations/FLIR_NNNNN_PreviewData.xml`` (Pascal VOC, for both modalities),
      ``align_train.txt``, ``align_validation.txt``;
    * UniRGB-IR's: ``{train,test}/`` with both modalities, ``Annotation_{train,test}.json`` (COCO,
      with ``file_name_lwir`` for the thermal image).

    Classes are mapped by name: the two layouts number them differently. Dogs and the stray label
    "FLIR" are left out and counted. Only the thermal images were annotated. There is no validation
    list: `val_share` of train is held out by seed; the authors validate on the test list
    (``choose_on: test``).

    Args:
        root: folder of the data set.
        **kwargs: options of `BoxDataModule`.
    """

    class_names = ("car", "person", "bicycle")
    palette = ((40, 140, 255), (255, 70, 40), (60, 200, 80))
    renamed: ClassVar[dict[str, str]] = {"bike": "bicycle", "people": "person"}
    expected: Mapping[str, int] = {"test": 1013}

    def __init__(self, root: str, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)

    def scan(self, split: str) -> Scan:
        """Pair the files of a split; see `RGBXDataModule.scan`."""
        folder, packed = self._folder()
        if split == "predict":
            parts = ("train", "test") if packed else ("JPEGImages",)
            found = {part: _images(f) for part in parts if (f := find_folder(folder, (part,)))}
            return join_sets({p: pair(sorted(i["rgb"]), i, where=p) for p, i in found.items()})
        part = "test" if split == "test" else "train"
        scan = _scan_packed(folder, part) if packed else _scan_aligned(folder, part)
        return scan if part == "test" else self._hold_out(scan, split)

    def read_annotation_file(self, record: Record) -> Boxes:
        """Read the boxes of one sample from its XML or the split's JSON."""
        assert record.boxes is not None, "labelled samples have boxes"
        return coco_boxes(record) if record.boxes.suffix == ".json" else read_voc(record.boxes)

    def numbered(self, record: Record) -> Numbered | None:
        """The split's JSON and the sample in it, in UniRGB-IR's layout."""
        if record.boxes is None or record.boxes.suffix != ".json":
            return None
        return Numbered(str(record.rgb), read_coco(record.boxes), coco_image(record))

    def _folder(self) -> tuple[Path, bool]:
        """The folder of the data, and whether it is UniRGB-IR's layout."""
        for folder in (self.root, self.root / "align", self.root / "FLIR_align"):
            if (folder / _JSON["train"]).is_file() or (folder / _JSON["test"]).is_file():
                return folder, True
            if find_folder(folder, ("JPEGImages",)):
                return folder, False
        state = "is no FLIR-aligned data set" if self.root.is_dir() else "does not exist"
        raise DataError(
            f"{self.root} {state}; set data.root to a folder with JPEGImages/, Annotations/ and "
            "align_train.txt, align_validation.txt, or with train/, test/ and "
            "Annotation_train.json, Annotation_test.json"
        )

    def _hold_out(self, scan: Scan, split: str) -> Scan:
        names = [record.name for record in scan.records]
        train, val = seeded_split(names, self.held_out_share, self.seed)
        if split == "val":
            rank_zero_info(
                f"FLIR: {len(val)} of {len(names)} training pairs are held out by seed {self.seed}"
            )
        chosen = set(val if split == "val" else train)
        kept = [record for record in scan.records if record.name in chosen]
        return scan._replace(records=kept, problems=[] if split == "val" else scan.problems)


def _images(folder: Path) -> dict[str, Index]:
    """Both modalities of one folder, by the part of the name that they share."""
    found = index_images(folder)
    rgb, x = found.renamed(_ended(_RGB)), found.renamed(_ended(_THERMAL))
    if not rgb:  # 08864.png and 08864_ir.png
        x = found.renamed(_ended("_ir"))
        rgb = found.renamed(lambda stem: None if stem.endswith("_ir") else stem)
    return {"rgb": rgb, "x": x}


def _ended(ending: str) -> Any:
    return lambda stem: stem.removesuffix(ending) if stem.endswith(ending) else None


def _scan_aligned(folder: Path, part: str) -> Scan:
    images = find_folder(folder, ("JPEGImages",))
    notes = find_folder(folder, ("Annotations",))
    path = folder / _LISTS[part]
    if images is None or notes is None or not path.is_file():
        lacks = path.name if notes is not None else "Annotations"
        raise DataError(f"{folder} has no {lacks}, which FLIR's {part} split needs")
    indices = _images(images)
    indices["boxes"] = index_images(notes, suffixes=(".xml",)).renamed(_ended(_THERMAL))
    # lists name the thermal image; other copies name the number alone
    names = [n.removesuffix(_THERMAL).removesuffix(_RGB) for n in read_list(path)]
    return pair(names, indices, where=path.name)


def _scan_packed(folder: Path, part: str) -> Scan:
    place, path = find_folder(folder, (part,)), folder / _JSON[part]
    if place is None or not path.is_file():
        lacks = path.name if place is not None else f"{part}/"
        raise DataError(f"{folder} has no {lacks}, which FLIR's {part} split needs")
    indices = _images(place)
    by_file = index_images(place)
    scan = scan_coco(path, place, by_file, indices["x"])
    return scan._replace(notes=())  # thermal images are named next to their visible ones
