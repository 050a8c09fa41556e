"""What a data set has to say about itself, and the reading of its files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from rgbx.data.checks.hints import mask_hint, size_error
from rgbx.data.decoding.colour import read_colour
from rgbx.data.decoding.files import (
    Kind,
    SampleError,
    read_binary,
    read_grey,
    read_ids,
    read_rgb,
    read_soft,
)
from rgbx.data.decoding.scribbles import read_scribble
from rgbx.data.splits.records import Record, Scan
from rgbx.data.splits.selection import SelectionSplit
from rgbx.data.transforms.augment import IGNORE, resize_image
from rgbx.data.transforms.normalise import Mask, Raw, Triple
from rgbx.visualization.drawing import overlay

__all__ = ["Source", "count_ids"]


class Source(SelectionSplit):
    """A data set on disk, without loaders: the part of `RGBXDataModule` that touches files.

    Attributes:
        class_names: name of id 0, 1, ...
        palette: (red, green, blue) of id 0, 1, ..., 0 to 255.
        subsets: parts of the test split that are also scored on their own.
        rgb_mean, rgb_std: of the visible images, for values in [0, 1] (ImageNet's, which are
            SAM's too).
        x_mean, x_std: of the second modality in [0, 1]; one for all its channels, or three.
        x_channels: 1 reads it as grey, 3 with its colours.
        x_range: stored values that become 0 and 1; None as in `rgbx.data.decoding.files.to_unit`.
        x_invalid: stored values that mean "no measurement" and do not set the scale of an image
            without `x_range`; None as in `rgbx.data.decoding.files.to_unit`.
        invert_depth: turn x round (1 - x) once it is in [0, 1].
        binary: masks are two-class images to be thresholded, not class ids.
        soft_masks: training masks keep their grey borders, float32 in [0, 1] (needs `binary`).
        grey_borders: two-class masks are grey at their borders by nature; nothing to warn of.
        resize_x: a second modality of another size is resized to the visible image.
        skipped: kinds of problems whose samples are left out with a count, whatever `on_bad` says.
        endings: of the files that are written about one sample.
        known_leaks: names of samples that a published protocol both trains and tests on.
        ignore_ids: ids in the masks that become 255, which is not scored.
        gives_prompts: samples bring prompts, for models that need them.
        resize_mode: images fill the network's input ("squash"), or keep their proportions ("pad").
        size_hint: what to do about a second modality of another size, after a semicolon.
        label_unit: what `count_labels` counts.
        has_boxes: labels are boxes, not masks.
    """

    class_names: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    subsets: tuple[str, ...] = ()
    rgb_mean: Triple = (0.485, 0.456, 0.406)
    rgb_std: Triple = (0.229, 0.224, 0.225)
    x_mean: float | Triple = 0.5
    x_std: float | Triple = 0.25
    x_channels: Literal[1, 3] = 1
    x_range: tuple[float, float] | None = None
    invert_depth: bool = False
    x_invalid: Sequence[float] | None = None
    binary: bool = False
    soft_masks: bool = False
    grey_borders: bool = False
    resize_x: bool = False
    skipped: tuple[Kind, ...] = ()
    endings: tuple[str, ...] = ("",)
    known_leaks: tuple[str, ...] = ()
    ignore_ids: tuple[int, ...] = ()
    size_hint: str = ""
    label_unit: ClassVar[str] = "labelled pixels"
    has_boxes: ClassVar[bool] = False
    gives_prompts: bool = False
    resize_mode: Literal["squash", "pad"] = "squash"
    on_bad: Literal["error", "skip"] = "error"

    @property
    def num_classes(self) -> int:
        """Number of class ids, background included."""
        return len(self.class_names)

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits with labels; "val" is absent where nothing is validated on."""
        return ("train", *(("val",) if self.has_val else ()), *self.test_splits)

    def scan(self, split: str) -> Scan:
        """Pair the files of a split by name, without opening the images.

        Args:
            split: one of `splits`, or "predict" for every image below the root, no labels asked.

        Returns:
            The pairs, and one problem for each name that lacks a file.

        Raises:
            DataError: the root is no data set of this kind.
        """
        raise NotImplementedError

    def read_images(self, record: Record) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
        """Read rgb (H, W, 3) uint8 and x of one sample.

        Returns:
            rgb, and x (H, W) float32 in [0, 1], or (H, W, 3) if `x_channels` is 3; None for
            RGB-only data.
        """
        read = read_grey if self.x_channels == 1 else read_colour
        x = None if record.x is None else read(record.x, self.x_range, self.x_invalid)
        if x is not None and self.invert_depth:
            x = np.float32(1) - x
        return read_rgb(record.rgb), x

    def read_mask(self, path: Path) -> NDArray[np.uint8]:
        """Read class ids (H, W) of one sample; of two-class masks as every viewer shows them.

        Raises:
            SampleError: an id is neither a class nor 255.
        """
        if self.binary:
            return read_binary(path).astype(np.uint8)
        try:
            ids = read_ids(path)
        except SampleError as error:
            hint = mask_hint(self, path, None, self.num_classes) if error.kind == "channels" else ""
            raise SampleError(f"{error}{hint}", error.kind) from error
        return self.checked_ids(path, self.without_ignored(ids))

    def without_ignored(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Ids (H,W) with 255 in the place of `ignore_ids`; the array itself is changed."""
        ids[np.isin(ids, self.ignore_ids)] = IGNORE
        return ids

    def checked_ids(self, path: Path, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Ids (H,W) of a file, all of them classes or 255.

        Raises:
            SampleError: one is neither.
        """
        values = np.unique(ids)
        foreign = values[(values != IGNORE) & ((values < 0) | (values >= self.num_classes))]
        if foreign.size:
            shown = ", ".join(str(v) for v in foreign[:8]) + (", ..." if foreign.size > 8 else "")
            hint = mask_hint(self, path, ids, self.num_classes)
            raise SampleError(
                f"{path}: class id {shown} is outside 0 to {self.num_classes - 1}{hint}", "ids"
            )
        return ids.astype(np.uint8)

    def read_labels(self, record: Record) -> NDArray[np.uint8] | None:
        """Read class ids (H, W) of one sample, full masks and scribbles alike (255 = no label).

        Raises:
            SampleError: an id is neither a class nor 255, or a scribble labels nothing.
        """
        if record.mask is None:
            return None
        if record.labelled is not None:
            return read_scribble(record.mask, record.labelled)
        return self.read_mask(record.mask)

    def read_annotation(self, record: Record) -> Any:
        """What is known of one sample, in the form that `count_labels` takes: its class ids (H, W).

        Raises:
            SampleError: the file cannot be used.
        """
        return self.read_labels(record)

    def count_labels(self, labels: Any) -> NDArray[np.int64]:
        """Pixels of each class id, and last those that carry no label (255), (K+1,)."""
        return count_ids(labels, self.num_classes)

    def paint_labels(
        self, image: NDArray[np.uint8], labels: Any, size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """The labels over the visible image (H, W, 3), at another size (h, w)."""
        painted = overlay(image, labels, self.palette).astype(np.float32)
        return np.rint(resize_image(painted, size)).astype(np.uint8)

    def paint_on_x(
        self, x: NDArray[np.uint8], labels: Any, size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """The second modality (h, w) or (h, w, 3) as it is shown next to `paint_labels`.

        Args:
            x: at the size that it is shown at.
            labels: in pixels of an image of `size`.
            size: (H, W).
        """
        return x

    def image_id(self, path: str, number: int) -> int:
        """Id of an image in files of results: its own where the data set numbers its images.

        Args:
            path: of the visible image.
            number: its place in the split, from 1 on.
        """
        return number

    def category_id(self, label: int) -> int:
        """Id of a class in files of results."""
        return label

    def read(self, record: Record, soft: bool = False) -> Raw:
        """Read one sample's arrays, checked.

        Args:
            record: what to read.
            soft: keep the grey of a full two-class mask.

        Raises:
            SampleError: a file is unreadable, sizes differ, or an id is outside the classes.
        """
        rgb, x = self.read_images(record)
        size = (rgb.shape[0], rgb.shape[1])
        if x is not None and record.x is not None:
            if self.resize_x:
                x = resize_image(x, size)
            self._check_size(record.x, x.shape[:2], record, size)
        mask: Mask | None
        if soft and record.mask is not None and record.labelled is None:
            mask = read_soft(record.mask)
        else:
            mask = self.read_labels(record)
        if mask is not None and record.mask is not None:
            self._check_size(record.mask, mask.shape, record, size)
        return Raw(rgb, x, mask)

    def _check_size(
        self, path: Path, size: tuple[int, ...], record: Record, rgb_size: tuple[int, ...]
    ) -> None:
        if tuple(size) != tuple(rgb_size):
            hint = self.size_hint if path == record.x else ""
            raise size_error(path, size, record, rgb_size, hint)


def count_ids(mask: NDArray[np.uint8], num_classes: int) -> NDArray[np.int64]:
    """Count the pixels of each id in a mask.

    Returns:
        (num_classes + 1,): id 0, 1, ..., and last the pixels of 255 (no label).
    """
    counts = np.bincount(mask.ravel(), minlength=IGNORE + 1)
    return np.append(counts[:num_classes], counts[IGNORE])
