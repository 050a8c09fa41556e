"""A split whose images and boxes are listed in one COCO file."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from rgbx.data.annotations.boxes import Boxes
from rgbx.data.annotations.coco import CocoBoxes, CocoImage, read_coco
from rgbx.data.decoding.files import SampleError
from rgbx.data.splits.records import Problem, Record, Scan

__all__ = ["CocoNumbers", "Numbered", "coco_boxes", "coco_image", "scan_coco"]


def scan_coco(
    path: Path, folder: Path, rgb: Mapping[str, Path], x: Mapping[str, Path] | None
) -> Scan:
    """Pair the images that a COCO file names.

    The second modality is the file that ``file_name_lwir`` names, or the one of the same stem.

    Args:
        path: the JSON file.
        folder: that its file names start from.
        rgb: the visible images there, by stem.
        x: the second modality by stem; None for data without.

    Returns:
        The pairs, one problem for each image that lacks a file, and a note of images that the file
        does not name.

    Raises:
        SampleError: the file is no COCO file.
    """
    records, problems = [], []
    images = read_coco(path).images
    for name, image in images.items():
        visible = _find(image.file_name, folder, rgb)
        other = image.other or image.file_name
        second = None if x is None and image.other is None else _find(other, folder, x or {})
        wanted = {"rgb": visible, "x": second if x is not None or image.other else visible}
        missing = [part for part, found in wanted.items() if found is None]
        if visible is None or missing:
            what = " and no ".join(missing)
            problems.append(
                Problem("missing", f"{name} (named in {path.name}): no {what} image of this name")
            )
            continue
        records.append(Record(name, visible, second, boxes=path))
    used = {record.rgb for record in records} | {record.x for record in records}
    left = [file for file in rgb.values() if file not in used]
    notes = (f"{folder}: {len(left)} images are not named in {path.name}",) if left else ()
    return Scan(records, problems, notes)


def coco_boxes(record: Record) -> Boxes:
    """The boxes of one sample of a COCO file, see `coco_image`."""
    return coco_image(record).boxes


def coco_image(record: Record) -> CocoImage:
    """One sample as its COCO file has it.

    Raises:
        SampleError: the file does not name the image.
    """
    assert record.boxes is not None, "samples of a COCO file name it"
    images: Mapping[str, CocoImage] = read_coco(record.boxes).images
    for name in (record.name, record.rgb.stem):
        if name in images:
            return images[name]
    known = [n for n in images if PurePosixPath(n).name == record.rgb.stem]
    if len(known) != 1:
        raise SampleError(f"{record.boxes}: it names no image {record.name}")
    return images[known[0]]


class Numbered(NamedTuple):
    """A sample of a COCO file.

    Attributes:
        path: of the visible image.
        file: that names it.
        image: its entry there.
    """

    path: str
    file: CocoBoxes
    image: CocoImage


class CocoNumbers:
    """The ids that COCO files give to images and classes.

    Attributes:
        images: path of the visible image -> id.
        classes: label 0 to K-1 -> id of the category.
    """

    def __init__(self) -> None:
        self.images: dict[str, int] = {}
        self.classes: dict[int, int] = {}
        self._known: set[str] = set()

    def add(
        self,
        split: str,
        samples: Iterable[Numbered | None],
        class_id: Callable[[str], int],
    ) -> None:
        """Look the samples of a split up, once; a split is in one format.

        Args:
            split: its name.
            samples: None for one that is in no COCO file.
            class_id: label of a class by its name.
        """
        if split in self._known:
            return
        self._known.add(split)
        for sample in samples:
            if sample is None:
                return
            self.images[sample.path] = sample.image.id
            pairs = zip(sample.file.class_names, sample.file.category_ids, strict=True)
            self.classes = {class_id(name): number for name, number in pairs}


def _find(name: str, folder: Path, index: Mapping[str, Path]) -> Path | None:
    """The file of a name: below the folder as written, or by its stem."""
    place = folder / name
    if place.is_file():
        return place
    return index.get(PurePosixPath(name).stem) or index.get(
        str(PurePosixPath(name).with_suffix(""))
    )
