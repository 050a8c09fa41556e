"""What data sets of boxes have in common: options, classes by name, samples."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from numpy.typing import NDArray

from rgbx.data.checks.findings import SplitReport
from rgbx.data.decoding.files import SampleError, probe
from rgbx.data.detection.audit import audit_boxes, other_size
from rgbx.data.detection.dataset import BoxDataset, BoxEval
from rgbx.data.detection.reading import BoxReading
from rgbx.data.prompt_dataset import ResizeMode
from rgbx.data.splits.records import Problem, Record
from rgbx.data.transforms.boxes import BoxJitter, BoxTargets
from rgbx.data.transforms.resizing import resize_image
from rgbx.errors import DataError, RGBXError
from rgbx.visualization.boxes import draw_boxes
from rgbx.visualization.sheet import ImageArray

__all__ = ["BoxDataModule"]


class BoxDataModule(BoxReading):
    """RGB-X images with annotated boxes; a data set writes `scan` and `read_annotation_file`.

    Classes are mapped by name (letter case does not count); boxes of other classes are left out
    and counted in a warning. There is no class for the background: ids go from 0 to K-1.

    In training an image is flipped, scaled in its own proportions, cropped and padded, both
    modalities alike (`BoxJitter`). Elsewhere it is fitted into the network's input as
    `resize_mode` says, and boxes stay in pixels of the file.

    Args:
        root: folder of the data set.
        size: (height, width) of the network's input.
        resize_mode: how images come to the network's size outside training: "pad" (letterbox)
            keeps their proportions and fills up to the right and below, "squash" stretches them
            (UniRGB-IR's own tests).
        flip: probability of a horizontal flip.
        scale: smallest and largest scale in training; 1 shows the whole image.
        jitter: strength of the colour changes of rgb in training, 0 for none.
        keep_empty: train on images without objects, too.
        min_side: pixels of the network's input that a side of a box must have in training.
        **kwargs: further options of `rgbx.data.RGBXDataModule`.

    Raises:
        RGBXError: an option has a value that cannot work.
    """

    label_unit = "boxes"
    has_boxes = True
    inputs = (*BoxReading.inputs, "resize_mode")
    validates_as_test = True

    def __init__(
        self,
        root: str,
        size: tuple[int, int] = (512, 640),
        resize_mode: ResizeMode = "pad",
        flip: float = 0.5,
        scale: tuple[float, float] = (0.5, 2.0),
        jitter: float = 0.0,
        keep_empty: bool = False,
        min_side: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, size, flip=flip, scale=scale, jitter=jitter, **kwargs)
        if resize_mode not in ("squash", "pad"):
            raise RGBXError(f"resize_mode {resize_mode!r} is not known; give squash or pad")
        if not min_side >= 0:
            raise RGBXError(f"min_side {min_side} cannot work; give pixels, 0 or more")
        self.resize_mode: ResizeMode = resize_mode
        self.keep_empty = keep_empty
        self.min_side = min_side

    # ------------------------------------------------------------------ samples
    def dataset(self, split: str) -> BoxDataset:
        """Build the data set of a split.

        Raises:
            DataError: as `find_records`.
        """
        records = self.find_records(split)
        rank_zero_info(f"{type(self).__name__}: {len(records)} {split} samples in {self.root}")
        transform: BoxJitter | BoxEval
        if split == "train":
            options = (self.flip, self.scale, self.jitter, self.enhance, self.resize)
            transform = BoxJitter(self.size, self.statistics, *options, least=self.min_side)
        else:
            transform = BoxEval(self.size, self.statistics, self.resize_mode, self.resize)
        data = BoxDataset(
            records, self.read_sample, transform, self.blank, self.seed, self.blank_with
        )
        if split == "train":
            self.corrupted(data)
        return data

    def find_records(self, split: str) -> list[Record]:
        """As the base; images without objects are left out of training with a count."""
        records = super().find_records(split)
        if split != "train" or self.keep_empty:
            return records
        kept = [record for record in records if self._has_objects(record)]
        if not kept:
            raise DataError(
                f"{self.root}: no training image has an object of {', '.join(self.class_names)}; "
                "the annotations name "
                f"{', '.join(sorted(self.count_names(records))) or 'none'}"
            )
        if len(kept) < len(records):
            rank_zero_warn(
                f"{self.root}: {len(records) - len(kept)} images without objects are left out of "
                "training (data.keep_empty: true trains on them)"
            )
        return kept

    def _has_objects(self, record: Record) -> bool:
        targets = self.read_annotation(record)
        return targets is not None and not targets.ignore.all()

    def remarks(self, split: str, records: Sequence[Record]) -> list[str]:
        """Boxes that are left out: of unknown classes, or with no part of them in the image."""
        lines = super().remarks(split, records)
        labelled = [record for record in records if record.boxes is not None]
        try:
            names = self.count_names(labelled)
            hidden = sum(int((~self.visible(record)).sum()) for record in labelled)
        except SampleError:  # reported file by file
            return lines
        if hidden:
            lines.append(
                f"{split}: {hidden} boxes without an area in their images are left out; "
                "`rgbx check-data` names their files"
            )
        foreign = {name: n for name, n in names.items() if self.class_id(name) < 0}
        if foreign:
            said = ", ".join(f"{name} ({n})" for name, n in sorted(foreign.items()))
            lines.append(
                f"{split}: {sum(foreign.values())} boxes of other classes are left out: {said}"
            )
        return lines

    def class_frequencies(self, split: str = "train") -> tuple[float, ...]:
        """Share of each class among the boxes of a split.

        Raises:
            DataError: there is no such split, or it has no box.
        """
        if split not in self.splits:
            raise DataError(
                f"{self.root} has no boxes of a split {split!r}; it has {', '.join(self.splits)}"
            )
        counts = np.zeros(self.num_classes + 1, np.int64)
        for record in self.find_records(split):
            counts += self.count_labels(self.read_annotation(record))
        if not counts[:-1].any():
            raise DataError(f"{self.root}: {split} has no box, so classes cannot be counted")
        return tuple((counts[:-1] / counts[:-1].sum()).tolist())

    # ------------------------------------------------------------------ checks
    def inspect(self, record: Record, decode: bool = False) -> list[Problem]:
        """As the base; annotations are always read, as only they tell what is in them."""
        problems = super().inspect(record, decode)
        try:
            self.read_annotation(record)
            stated = None if record.boxes is None else self.annotation(record).size
            if stated is not None:
                header = probe(record.rgb)
                if stated != (header.height, header.width):
                    problems.append(other_size(record, stated, (header.height, header.width)))
        except SampleError as error:
            problems.append(Problem(error.kind, str(error)))
        return list(dict.fromkeys(problems))

    def count_labels(self, labels: BoxTargets | None) -> NDArray[np.int64]:
        """Boxes of each class, and last the ignored ones, (K+1,)."""
        counts = np.zeros(self.num_classes + 1, np.int64)
        if labels is not None:
            counts[:-1] = np.bincount(labels.labels[~labels.ignore], minlength=self.num_classes)
            counts[-1] = int(labels.ignore.sum())
        return counts

    def audit_labels(
        self, report: SplitReport, record: Record, labels: Any, rgb: ImageArray
    ) -> None:
        """Note boxes outside the image, empty, tiny and double ones."""
        if record.boxes is not None:
            size = (rgb.shape[0], rgb.shape[1])
            audit_boxes(report, record, self.annotation(record), size)

    def judge_labels(self, split: str, found: SplitReport) -> list[str]:
        """A split without any box cannot be trained or scored on."""
        if found.pixels[:-1].any() or not found.pairs:
            return []
        named = ", ".join(self.class_names)
        return [f"{self.root}: no image of {split} has a box of {named}"]

    def paint_labels(
        self, image: ImageArray, labels: BoxTargets, size: tuple[int, int]
    ) -> ImageArray:
        """The boxes on the visible image (H,W,3), at another size (h,w)."""
        small = np.rint(resize_image(image.astype(np.float32), size)).astype(np.uint8)
        return self.paint_on_x(small, labels, (image.shape[0], image.shape[1]))

    def paint_on_x(self, x: ImageArray, labels: BoxTargets, size: tuple[int, int]) -> ImageArray:
        """The boxes, in pixels of an image of `size`, on an image of another size."""
        scale = np.array([x.shape[1] / size[1], x.shape[0] / size[0]] * 2)
        return draw_boxes(
            x,
            labels.boxes * scale,
            labels.labels.tolist(),
            self.class_names,
            self.palette,
            ignore=labels.ignore.tolist(),
        )
