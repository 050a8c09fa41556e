"""KAIST: pedestrians by day and night, visible and long-wave infrared."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from lightning.pytorch.utilities import rank_zero_info

from rgbx.data.annotations.boxes import Boxes
from rgbx.data.annotations.coco import read_coco
from rgbx.data.annotations.kaist import read_kaist_json, read_kaist_txt
from rgbx.data.annotations.voc import read_voc
from rgbx.data.decoding.files import SampleError
from rgbx.data.detection.coco_split import Numbered
from rgbx.data.detection.module import BoxDataModule
from rgbx.data.splits.index import subfolders
from rgbx.data.splits.records import Problem, Record, Scan, find_folder, index_images, seeded_split
from rgbx.errors import DataError

__all__ = ["KAIST", "is_night"]

_NAME = re.compile(r"(set\d\d)[/_](V\d\d\d)[/_](I\d{5})")
_LISTS = {"train": ("train-all-02.txt", "train.txt"), "test": ("test-all-20.txt", "test.txt")}
_TEST_JSON = ("KAIST_annotation.json", "KAIST_annotation.json.gz")
_FOLDERS = {
    "sanitized": ("annotations_sanitized", "sanitized_annotations", "annotations-sanitized"),
    "paired": ("annotations_paired", "annotations-paired", "kaist-paired"),
    "improved": ("annotations_improved", "improved_annotations", "annotations-improved"),
    "original": ("annotations", "annotations-xml-15", "annotations_original"),
}
_NIGHT = (3, 4, 5, 9, 10, 11)
_EVERY = 20  # frames between two of the test list
Generation = Literal["auto", "sanitized", "paired", "improved", "original"]


def is_night(name: str) -> bool:
    """Whether a frame ``setNN/VNNN/INNNNN`` was taken by night (sets 03 to 05, 09 to 11)."""
    return int(name[3:5]) in _NIGHT


class KAIST(BoxDataModule):
    """KAIST multispectral pedestrians (Hwang et al., CVPR 2015): 640 x 512, persons, day and night.

    ``images/setNN/VNNN/{visible,lwir}/INNNNN.jpg``; train is set00 to set05, test set06 to set11.
    Lists ``train-all-02.txt`` and ``test-all-20.txt`` (in the root or ``imageSets/``); without
    them, train is every annotated frame, test every 20th. Several generations of annotations are in
    use; by default

    * train reads ``annotations_sanitized/`` (Li et al., BMVC 2018), else ``annotations_paired/``
      (AR-CNN; those of the visible image), else ``annotations/``;
    * test reads ``KAIST_annotation.json`` (the improved annotation of Liu et al., BMVC 2016),
      else ``annotations_improved/``, else ``annotations/``.

    People, cyclists and uncertain persons are ignored regions. Next to COCO's scores the
    log-average miss rate ("reasonable") is reported, for all, day and night.

    Args:
        root: folder of the data set.
        train_annotations: which generation train reads.
        test_annotations: which generation test reads.
        **kwargs: options of `BoxDataModule`.
    """

    class_names = ("person",)
    palette = ((255, 70, 40),)
    subsets = ("day", "night")
    pedestrians = True
    renamed: ClassVar[dict[str, str]] = {"pedestrian": "person"}
    expected: Mapping[str, int] = {"test": 2252}

    def __init__(
        self,
        root: str,
        train_annotations: Generation = "auto",
        test_annotations: Generation = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.train_annotations = train_annotations
        self.test_annotations = test_annotations

    def scan(self, split: str) -> Scan:
        """Pair the files of a split; see `RGBXDataModule.scan`."""
        images = self._images()
        if split == "predict":
            return _pair(images, list(_frames(images, range(12))), {}, "")
        part = "test" if split == "test" else "train"
        boxes, where = self._annotations(part)
        names, listed = self._names(part, images, boxes)
        if part == "train":
            # frames of one video are alike: whole videos are held out
            train, val = seeded_split(names, self.held_out_share, self.seed, _video)
            names = val if split == "val" else train
            if split == "val":
                rank_zero_info(f"KAIST: {len(val)} training frames are held out, whole videos")
        return _pair(images, names, boxes, listed or where)

    def read_annotation_file(self, record: Record) -> Boxes:
        """Read the boxes of one frame from its own file or the test annotation."""
        path = record.boxes
        assert path is not None, "labelled samples have boxes"
        if path.suffix == ".xml":
            return read_voc(path)
        if path.suffix == ".txt":
            return read_kaist_txt(path)
        known = read_kaist_json(path)
        if record.name not in known:
            raise SampleError(f"{path}: it names no image {record.name}")
        return known[record.name]

    def numbered(self, record: Record) -> Numbered | None:
        """The test annotation and the frame in it."""
        path = record.boxes
        if path is None or path.suffix in (".txt", ".xml"):
            return None
        file = read_coco(path, name="im_name")
        return Numbered(str(record.rgb), file, file.images[record.name])

    def _images(self) -> Path:
        for folder in (find_folder(self.root, ("images",)), self.root):
            if folder is not None and any(p.name.startswith("set") for p in subfolders(folder)):
                return folder
        state = "is no KAIST data set" if self.root.is_dir() else "does not exist"
        raise DataError(
            f"{self.root} {state}; set data.root to a folder with images/setNN/VNNN/visible and "
            "images/setNN/VNNN/lwir"
        )

    def _annotations(self, part: str) -> tuple[dict[str, Path], str]:
        """Frame -> its file of boxes, and where they are."""
        wanted = self.train_annotations if part == "train" else self.test_annotations
        order = ("sanitized", "paired", "original") if part == "train" else ("improved", "original")
        tried = order if wanted == "auto" else (wanted,)
        for generation in tried:
            if generation == "improved" and part == "test":
                for folder in (self.root, *subfolders(self.root)):
                    path = next((folder / n for n in _TEST_JSON if (folder / n).is_file()), None)
                    if path is not None:
                        return dict.fromkeys(read_kaist_json(path), path), path.name
            folder_ = find_folder(self.root, _FOLDERS[generation])
            if folder_ is not None:
                return _boxes_below(folder_), folder_.name
        names = ", ".join(_FOLDERS[generation][0] for generation in tried)
        names += ", KAIST_annotation.json" * (part == "test")
        raise DataError(f"{self.root} has no annotations of {part}: none of {names} is there")

    def _names(self, part: str, images: Path, boxes: Mapping[str, Path]) -> tuple[list[str], str]:
        for folder in (self.root, *(self.root / n for n in ("imageSets", "ImageSets", "lists"))):
            for name in _LISTS[part]:
                if (folder / name).is_file():
                    return _read_frames(folder / name), name
        sets = range(6) if part == "train" else range(6, 12)
        if part == "test" and len(set(boxes.values())) == 1:  # the JSON is the list
            return list(boxes), ""
        names = [n for n in _frames(images, sets) if n in boxes]
        if part == "test":
            names = [n for n in names if int(n[-5:]) % _EVERY == _EVERY - 1]
        return names, ""


def _video(name: str) -> str:
    return name.rpartition("/")[0]


def _read_frames(path: Path) -> list[str]:
    """The frames of a list, ``set00/V000/I00001`` on each line."""
    names = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        match = _NAME.search(line)
        if match is None:
            raise DataError(f"{path} line {number} is no frame such as set06/V000/I00019: {line!r}")
        names.append("/".join(match.groups()))
    return list(dict.fromkeys(names))


def _frames(images: Path, sets: range) -> Iterator[str]:
    """The frames of some sets that have a visible image."""
    for number in sets:
        folder = images / f"set{number:02d}"
        for video in sorted(subfolders(folder)):
            visible = find_folder(video, ("visible",))
            for stem in sorted(index_images(visible)) if visible else ():
                yield f"{folder.name}/{video.name}/{stem}"


def _boxes_below(folder: Path) -> dict[str, Path]:
    """Frame -> its file, from ``setNN/VNNN/[visible/]INNNNN.txt`` or ``setNN_VNNN_INNNNN.txt``."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".txt", ".xml") or path.parent.name == "lwir":
            continue
        name = str(path.relative_to(folder)).replace("visible/", "")
        if (match := _NAME.search(name)) is not None:
            found["/".join(match.groups())] = path
    return found


def _pair(images: Path, names: list[str], boxes: Mapping[str, Path], where: str) -> Scan:
    """Frames with both images, and a file of boxes where there are any."""
    records, problems = [], []
    found: dict[str, tuple[Mapping[str, Path], Mapping[str, Path]]] = {}
    for name in names:
        video, stem = _video(name), name.rpartition("/")[2]
        if video not in found:
            below = [find_folder(images / video, (part,)) for part in ("visible", "lwir")]
            rgb, x = ({} if f is None else index_images(f) for f in below)
            found[video] = rgb, x
        visible, thermal = (index.get(stem) for index in found[video])
        parts = {"visible image": visible, "lwir image": thermal}
        if boxes:
            parts["file of boxes"] = boxes.get(name)
        lacks = [part for part, path in parts.items() if path is None]
        if visible is None or lacks:
            source = f" (named in {where})" if where else ""
            problems.append(Problem("missing", f"{name}{source}: no {' and no '.join(lacks)}"))
            continue
        subset = "night" if is_night(name) else "day"
        records.append(Record(name, visible, thermal, subset=subset, boxes=boxes.get(name)))
    return Scan(records, problems)
