"""Masks of one's own as labelling tools write them: ids, colours, polygons."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgbx.data.annotations.polygons import (
    coco_stems,
    draw_coco,
    draw_labelme,
    is_coco,
    stated_size,
)
from rgbx.data.datasets.folder_splits import FolderSplits
from rgbx.data.decoding.decode import SampleError, read_raw
from rgbx.data.decoding.files import Header, probe, read_ids
from rgbx.data.decoding.label_map import LabelMap, read_labelmap_txt
from rgbx.data.splits.index import Index, find_folder, index_images
from rgbx.data.splits.records import Record
from rgbx.data.transforms.normalise import Raw
from rgbx.errors import DataError

__all__ = ["ToolLabels"]

_LABELMAP = "labelmap.txt"


class ToolLabels(FolderSplits):
    """The part of `FolderRGBX` that knows what a mask's ids, colours and names mean."""

    _labels: LabelMap | None
    _entries: Mapping[str, int | str]
    _colours: Mapping[tuple[int, int, int], int]

    def name_labels(
        self, entries: Mapping[str, int | str], colours: Mapping[tuple[int, int, int], int]
    ) -> None:
        """Set what labels mean.

        Args:
            entries: see `LabelMap`.
            colours: of a palette that the user gave, colour -> id.

        Raises:
            RGBXError: a value is no class, or a key no colour.
        """
        self._entries, self._colours, self._labels = entries, colours, None
        if self.class_names:  # predictions have none
            LabelMap(entries, self.class_names)

    @property
    def labels(self) -> LabelMap:
        """What labels mean; the colours of ``labelmap.txt`` are read when masks are."""
        if self._labels is None:
            colours: dict[tuple[int, int, int], int | str] = dict(self._colours)
            file = self.root / _LABELMAP
            if file.is_file():
                colours |= read_labelmap_txt(file)
            self._labels = LabelMap(self._entries, self.class_names, colours)
        return self._labels

    # ------------------------------------------------------------------ files
    def _indices(self, folder: Path, labelled: bool) -> tuple[dict[str, Index], list[str]]:
        """As the base; a folder of masks that holds no image may hold JSON."""
        place = find_folder(folder, self._names["mask"]) if labelled else None
        found = None if place is None else _of_json(place)
        indices, notes = super()._indices(folder, labelled and found is None)
        if found is not None:
            indices["mask"] = found
        return indices, notes

    def header(self, path: Path, record: Record) -> Header:
        """As the base; JSON says of which size its image is, or takes the size of the image."""
        if path.suffix.lower() != ".json":
            return super().header(path, record)
        size = stated_size(path, record.name)
        if size is None:
            shown = probe(record.rgb)
            size = (shown.height, shown.width)
        return Header(*size, 1)

    # ------------------------------------------------------------------ masks
    def read_mask(self, path: Path) -> NDArray[np.uint8]:
        """As the base, ids and colours mapped to class ids."""
        if self.binary:
            return super().read_mask(path)
        stored = read_raw(path)
        if self.labels.colours and stored.ndim == 3 and not _is_grey(stored):
            return self.checked_ids(path, self.labels.of_colours(path))
        if self.labels.ids:
            ids = read_ids(path)
            return self.checked_ids(path, self.labels.of_ids(path, self.without_ignored(ids)))
        return super().read_mask(path)

    def read_labels(self, record: Record) -> NDArray[np.uint8] | None:
        """As the base; polygons are drawn at the size that their file states, or the image's."""
        path = record.mask
        if path is None or path.suffix.lower() != ".json":
            return super().read_labels(record)
        header = self.header(path, record)
        size = (header.height, header.width)
        if is_coco(path):
            ids = draw_coco(path, record.name, size, self.labels)
        else:
            ids = draw_labelme(path, size, self.labels)
        return self.checked_ids(path, self.without_ignored(ids))

    def read(self, record: Record, soft: bool = False) -> Raw:
        """As the base; polygons have no grey borders to be kept."""
        if soft and record.mask is not None and record.mask.suffix.lower() == ".json":
            raw = super().read(record)
            assert raw.mask is not None, "the sample has a mask"
            return raw._replace(mask=raw.mask.astype(np.float32))
        return super().read(record, soft)


def _of_json(folder: Path) -> Index | None:
    """JSON files of a folder that holds no image, by stem of their images; None if there are none.

    Raises:
        DataError: several files and one of COCO are there.
    """
    if index_images(folder, nested=True):
        return None
    index = index_images(folder, suffixes=(".json",), nested=True)
    if not index:
        return None
    files = list(index.values())
    try:
        coco = [path for path in files if is_coco(path)]
        if not coco:
            return index
        if len(files) > 1:
            raise DataError(
                f"{folder} holds {len(files)} JSON files, and {coco[0].name} is COCO's, which is "
                "one for all images: leave one of them"
            )
        found = Index(folder)
        found.update(dict.fromkeys(coco_stems(coco[0]), coco[0]))
    except SampleError as error:
        raise DataError(str(error)) from error
    return found


def _is_grey(stored: NDArray[Any]) -> bool:
    return bool((stored[..., :3] == stored[..., :1]).all())
