"""Reading box annotations: classes by name, what cannot be seen left out, ids of COCO files."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rgbx.data.annotations.boxes import Boxes
from rgbx.data.base import RGBXDataModule
from rgbx.data.decoding.files import probe
from rgbx.data.detection.coco_split import CocoNumbers, Numbered
from rgbx.data.splits.records import Record
from rgbx.data.transforms.boxes import BoxTargets
from rgbx.data.transforms.normalise import Raw

__all__ = ["BoxReading"]


class BoxReading(RGBXDataModule):
    """The part of `rgbx.data.BoxDataModule` that reads annotations.

    Attributes:
        renamed: names of classes in files, in lower case -> names of `class_names`.
        pedestrians: whether the miss rate of pedestrian detection is among the scores.
    """

    renamed: ClassVar[dict[str, str]] = {}
    pedestrians: ClassVar[bool] = False

    @cached_property
    def _known(self) -> dict[str, Boxes]:
        """What was read, by the path of the visible image."""
        return {}

    @cached_property
    def _coco_numbers(self) -> CocoNumbers:
        return CocoNumbers()

    def read_annotation_file(self, record: Record) -> Boxes:
        """The boxes of one sample as its file holds them.

        Raises:
            SampleError: the file cannot be used.
        """
        raise NotImplementedError

    def annotation(self, record: Record) -> Boxes:
        """As `read_annotation_file`, read once."""
        key = str(record.rgb)
        if key not in self._known:
            self._known[key] = self.read_annotation_file(record)
        return self._known[key]

    def class_id(self, name: str) -> int:
        """Id of a class by its name in a file; -1 if it is none of the data set's."""
        wanted = self.renamed.get(name.casefold(), name.casefold())
        known = [own.casefold() for own in self.class_names]
        return known.index(wanted.casefold()) if wanted.casefold() in known else -1

    def read_annotation(self, record: Record) -> BoxTargets | None:
        """The boxes of one sample: classes by number.

        Unknown classes, boxes without an area and boxes outside the image are left out.

        Raises:
            SampleError: the file cannot be used.
        """
        if record.boxes is None:
            return None
        found = self.annotation(record)
        ids = np.array([self.class_id(name) for name in found.names], np.int64)
        kept = self.visible(record) & ((ids >= 0) | found.ignore)
        labels = np.maximum(ids, 0)
        whole = BoxTargets(found.corners, labels, found.ignore, found.occlusion)
        return whole.kept(np.asarray(kept))

    def visible(self, record: Record) -> NDArray[np.bool_]:
        """Which annotated boxes have an area within the image; no detector can find others."""
        found = self.annotation(record)
        size = found.size
        if size is None:
            header = probe(record.rgb)
            size = (header.height, header.width)
        corners = np.clip(found.corners, 0, [size[1], size[0]] * 2)
        return np.asarray((corners[:, 2:] > corners[:, :2]).all(1))

    def read_sample(self, record: Record) -> tuple[Raw, BoxTargets | None]:
        """The images and boxes of one sample, checked.

        Raises:
            SampleError: a file cannot be used, or sizes differ.
        """
        return self.read(record), self.read_annotation(record)

    def numbered(self, record: Record) -> Numbered | None:
        """A sample's path, the COCO file that it is from, and its entry there; None without one."""
        return None

    def image_id(self, path: str, number: int) -> int:
        """As the base; of a COCO file its own id."""
        return self._numbers().images.get(path, number)

    def category_id(self, label: int) -> int:
        """As the base; of a COCO file the id of the class of that name."""
        return self._numbers().classes.get(label, label)

    def _numbers(self) -> CocoNumbers:
        for split in self.split_sizes:
            self._coco_numbers.add(split, map(self.numbered, self.records(split)), self.class_id)
        return self._coco_numbers

    def count_names(self, records: Sequence[Record]) -> Counter[str]:
        """How often each class is annotated, ignored regions left out."""
        found: Counter[str] = Counter()
        for record in records:
            boxes = self.annotation(record)
            pairs = zip(boxes.names, boxes.ignore, strict=True)
            found.update(name for name, ignored in pairs if not ignored)
        return found
