"""COCO-format annotation files: the objects of every image, one after the other."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rgbx.errors import DataError
from rgbx.metrics.coco_schema import read_annotations

__all__ = ["SGINW", "CocoInstance", "CocoInstances", "sginw_sets"]

#: the 25 data sets of "Segmentation in the Wild"
SGINW = (
    "Airplane-Parts",
    "Bottles",
    "Brain-Tumor",
    "Chicken",
    "Cows",
    "Electric-Shaver",
    "Elephants",
    "Fruits",
    "Garbage",
    "Ginger-Garlic",
    "Hand",
    "Hand-Metal",
    "House-Parts",
    "HouseHold-Items",
    "Nutterfly-Squireel",
    "Phones",
    "Poles",
    "Puppies",
    "Rail",
    "Salmon-Fillet",
    "Strawberry",
    "Tablets",
    "Toolkits",
    "Trash",
    "Watermelon",
)


@dataclass(frozen=True)
class CocoInstance:
    """One object of one image.

    Attributes:
        id: Of the annotation, as in the file.
        image_id: Of the image.
        path: The image's file.
        category_id: Its class.
        mask: (h, w) bool at the image's size.
        box: (4,) float32 x_min, y_min, x_max, y_max in pixels of the image, from the file where
            that has a box with an area, else around the mask's pixels (as HQ-SAM's boxes: no 1 is
            added to the largest coordinates).
    """

    id: int
    image_id: int
    path: Path
    category_id: int
    mask: NDArray[np.bool_]
    box: Tensor


class CocoInstances:
    """The instances that a COCO annotation file describes.

    Args:
        annotations: The JSON file.
        images: Folder of the images.

    Attributes:
        path: The JSON file.
        coco: pycocotools' own index of the file; its annotations are numbered from 1 on.
        empty: Instances without a pixel met so far; they are scored as missed.

    Raises:
        DataError: As `rgbx.metrics.coco_schema.read_annotations`, or if the file names images
            that are not in the folder.
    """

    def __init__(self, annotations: str | Path, images: str | Path) -> None:
        self.path = Path(annotations)
        self._images = Path(images)
        self.empty = 0
        self.coco = _index(read_annotations(self.path))
        self._check_images()
        for annotation in self.coco.anns.values():
            if "area" not in annotation:  # which its evaluation takes for granted
                annotation["area"] = int(self._mask(annotation).sum())

    def __len__(self) -> int:
        """Images with instances that are no crowd."""
        return len(self.groups())

    @property
    def image_count(self) -> int:
        """All images of the file."""
        return len(self.coco.imgs)

    def groups(self) -> dict[int, list[int]]:
        """Image id -> ids of its instances that are no crowd, in the order of the file."""
        found: dict[int, list[int]] = {}
        for key, annotation in self.coco.anns.items():
            if not annotation["iscrowd"]:
                found.setdefault(annotation["image_id"], []).append(key)
        return found

    def __iter__(self) -> Iterator[list[CocoInstance]]:
        """The instances of one image after the other; images without any are left out."""
        for ids in self.groups().values():
            instances = [found for key in ids if (found := self._instance(key)) is not None]
            if instances:
                yield instances

    def _instance(self, key: int) -> CocoInstance | None:
        annotation = self.coco.anns[key]
        image = annotation["image_id"]
        mask = self._mask(annotation)
        if not mask.any():
            self.empty += 1
            return None
        box = torch.tensor(_box(annotation, mask), dtype=torch.float32)
        path = self._path(image)
        category = annotation["category_id"]
        return CocoInstance(annotation["own_id"], image, path, category, mask, box)

    def _mask(self, annotation: dict[str, Any]) -> NDArray[np.bool_]:
        return np.asarray(self.coco.annToMask(annotation), dtype=np.bool_)

    def _path(self, image: int) -> Path:
        return self._images / self.coco.imgs[image]["file_name"]

    def _check_images(self) -> None:
        groups = self.groups()
        missing = [self._path(image) for image in groups if not self._path(image).is_file()]
        if missing:
            raise DataError(
                f"{len(missing)} of the {len(groups)} images that {self.path} names are not in "
                f"{self._images}, first {missing[0].name}; give the folder that belongs to the file"
            )


def sginw_sets(root: str | Path) -> dict[str, tuple[Path, Path]]:
    """The 25 data sets of SGinW: name -> annotation file and folder of its validation images.

    Raises:
        DataError: If one of them is missing: a mean over fewer is another number.
    """
    found = {name: Path(root) / name / "valid" for name in SGINW}
    files = {name: folder / "_annotations_min1cat.coco.json" for name, folder in found.items()}
    missing = [name for name, file in files.items() if not file.is_file()]
    if missing:
        raise DataError(
            f"{root} holds {len(SGINW) - len(missing)} of SGinW's {len(SGINW)} data sets; "
            f"{missing[0]}/valid/_annotations_min1cat.coco.json is missing"
        )
    return {name: (files[name], found[name]) for name in SGINW}


def _index(content: dict[str, Any]) -> Any:
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        coco.createIndex()
    return coco


def _box(annotation: dict[str, Any], mask: NDArray[np.bool_]) -> list[float]:
    x, y, width, height = annotation.get("bbox") or (0, 0, 0, 0)
    if width > 0 and height > 0:
        return [x, y, x + width, y + height]
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])]
