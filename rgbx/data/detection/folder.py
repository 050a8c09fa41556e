"""Any folder of aligned pairs with boxes, and M3FD, which is one."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from rgbx.data.annotations.boxes import Boxes
from rgbx.data.annotations.coco import read_coco, read_json
from rgbx.data.annotations.labelme import read_labelme
from rgbx.data.annotations.voc import read_voc
from rgbx.data.annotations.yolo import read_class_list, read_yolo
from rgbx.data.datasets.folder_splits import FolderSplits
from rgbx.data.decoding.files import SampleError, probe
from rgbx.data.detection.coco_split import Numbered, coco_boxes, coco_image, scan_coco
from rgbx.data.detection.module import BoxDataModule
from rgbx.data.splits.index import Index
from rgbx.data.splits.records import Record, Scan, find_folder, index_images
from rgbx.errors import DataError, RGBXError
from rgbx.visualization.drawing import generate_palette

__all__ = ["M3FD", "FolderRGBXBoxes"]

_NAMES = {
    "rgb": ("rgb", "visible", "vi", "vis", "image", "images", "imgs", "img", "color"),
    "x": ("x", "thermal", "t", "th", "ther", "infrared", "ir", "lwir", "depth", "d"),
    "boxes": ("boxes", "labels", "label", "annotations", "annotation", "Annotations", "xml", "gt"),
}
_SUFFIXES = (".xml", ".txt", ".json")
_JSON = ("{split}.json", "instances_{split}.json", "Annotation_{split}.json", "{split}_coco.json")
_CLASS_LISTS = ("classes.txt", "classes.names", "data.yaml", "data.yml", "dataset.yaml")


class FolderRGBXBoxes(FolderSplits, BoxDataModule):
    """Pairs of one's own with boxes, files joined by stem; what is there decides how they are read.

    Folders as those of `FolderRGBX`, with ``labels/`` (also ``boxes``, ``annotations``) in the
    place of masks: Pascal VOC (``.xml``), YOLO (``.txt``; an empty file for an image without
    objects) or LabelMe (``.json``, rectangles and polygons). Or COCO: ``train.json``, ``val.json``,
    ``test.json`` (or ``instances_train.json``, ...) in the root or in ``annotations/``, file names
    as in ``rgb/``; the second modality is the file of ``file_name_lwir``, or the one of the same
    stem in ``x/``. Splits as `FolderRGBX` makes them.

    Args:
        root: folder of the data set.
        class_names: name of id 0, 1, ... (no background); by default those of ``classes.txt``,
            ``data.yaml`` or the COCO file. Boxes of other classes are left out and counted.
        palette: colour of each id, 0 to 255; distinct colours are made if it is not given.
        class_map: names in the files -> names of `class_names`.
        one_based: Pascal VOC's pixels count from 1.
        resize_x: accept an `x` of another size and resize it to the visible image.
        x_range: stored values of `x` that become 0 and 1.
        invert_depth: turn `x` round (1 - x).
        folders: names of the folders of rgb, x and boxes where they have others.
        **kwargs: options of `BoxDataModule`.

    Raises:
        RGBXError: palette and class names differ in number, or `folders` cannot be.
    """

    label = "boxes"
    label_suffixes: ClassVar[tuple[str, ...]] = _SUFFIXES
    size_hint = "; resize_x: true accepts and resizes it"
    tree = (
        "rgb/, x/ and labels/ (also called visible, infrared, thermal, boxes, annotations), or "
        "train/, val/, test/ with these inside, or rgb/, x/ and train.json, val.json, test.json"
    )

    def __init__(
        self,
        root: str,
        class_names: list[str] | None = None,
        palette: list[tuple[int, int, int]] | None = None,
        class_map: dict[str, str] | None = None,
        one_based: bool = True,
        resize_x: bool = False,
        x_range: tuple[float, float] | None = None,
        invert_depth: bool = False,
        folders: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.name_folders(_NAMES, folders)
        self.class_names = tuple(class_names or self._found_names())
        self.palette = generate_palette(len(self.class_names) + 1)[1:]
        if palette is not None:
            if len(palette) != self.num_classes:
                raise RGBXError(
                    f"palette has {len(palette)} colours for {self.num_classes} class names"
                )
            self.palette = tuple((c[0], c[1], c[2]) for c in palette)
        own = {name.casefold(): target for name, target in (class_map or {}).items()}
        if foreign := [t for t in own.values() if class_names and t not in class_names]:
            raise RGBXError(
                f"class_map names {foreign[0]!r}, which is none of {', '.join(self.class_names)}"
            )
        self._own_names = own
        self.one_based = one_based
        self.resize_x = resize_x
        self.x_range = x_range
        self.invert_depth = invert_depth

    def class_id(self, name: str) -> int:
        """As the base, after `class_map`."""
        return super().class_id(self._own_names.get(name.casefold(), name))

    def scan(self, split: str) -> Scan:
        """Pair the files of a split; see `RGBXDataModule.scan`."""
        listed = self._coco_files()
        if split == "predict" or not listed:
            return super().scan(split)
        source = "train" if split == "val" and "val" not in listed else split
        if source not in listed:
            raise DataError(f"{self.root} has no {source}.json next to its other COCO files")
        scan = self._scan_coco(listed[source])
        if source == "train" and "val" not in listed:
            names = [record.name for record in scan.records]
            chosen = set(self.hold_out(names, split)[0])
            kept = [record for record in scan.records if record.name in chosen]
            scan = scan._replace(records=kept, problems=scan.problems if split == "train" else [])
        return scan

    @property
    def own_val(self) -> str:
        """Its validation list, folder or file, where there is one."""
        listed = self._coco_files()
        return ("its val.json" if "val" in listed else "") if listed else super().own_val

    def read_annotation_file(self, record: Record) -> Boxes:
        """Read the boxes of one sample, in the format that its file is in."""
        path = record.boxes
        assert path is not None, "labelled samples have boxes"
        if path.suffix == ".xml":
            return read_voc(path, self.one_based)
        if path.suffix == ".txt":
            header = probe(record.rgb)
            names = _names_near(path) or self.class_names
            return read_yolo(path, names, (header.height, header.width))
        if path in self._coco_files().values():
            return coco_boxes(record)
        return read_labelme(path)

    def numbered(self, record: Record) -> Numbered | None:
        """The split's COCO file and the sample in it, where that is the format."""
        if record.boxes is None or record.boxes not in self._coco_files().values():
            return None
        return Numbered(str(record.rgb), read_coco(record.boxes), coco_image(record))

    def _indices(self, folder: Path, labelled: bool) -> tuple[dict[str, Index], list[str]]:
        indices, notes = super()._indices(folder, labelled)
        if boxes := indices.get("boxes"):
            for name in _CLASS_LISTS:
                boxes.pop(Path(name).stem, None)
        return indices, notes

    def _coco_files(self) -> dict[str, Path]:
        """Split -> its COCO file, for those that have one."""
        found: dict[str, Path] = {}
        for split in ("train", "val", "test"):
            places = [self.root, *(f for f in [find_folder(self.root, self._names["boxes"])] if f)]
            files = [p / name.format(split=split) for p in places for name in _JSON]
            path = next((file for file in files if file.is_file()), None)
            if path is not None and _is_coco(path, path.stat().st_mtime_ns):
                found[split] = path
        return found

    def _scan_coco(self, path: Path) -> Scan:
        split = path.stem.removeprefix("instances_").removeprefix("Annotation_")
        below = find_folder(self.root, (split,)) or self.root
        rgb = find_folder(below, self._names["rgb"]) or find_folder(self.root, self._names["rgb"])
        x = find_folder(below, self._names["x"]) or find_folder(self.root, self._names["x"])
        if rgb is None:
            raise DataError(f"{self.root} has {path.name}, but no folder of visible images")
        visible, second = (None if f is None else index_images(f, nested=True) for f in (rgb, x))
        assert visible is not None
        try:
            return scan_coco(path, rgb, visible, second)._replace(notes=())
        except SampleError as error:
            raise DataError(str(error)) from error

    def _found_names(self) -> tuple[str, ...]:
        """Class names as the data set has them, without those of its options."""
        for name in _CLASS_LISTS:
            if (self.root / name).is_file():
                return read_class_list(self.root / name)
        folder = find_folder(self.root, self._names["boxes"])
        if folder is not None and (near := _names_near(folder / "any.txt")):
            return near
        coco = next(iter(self._coco_files().values()), None)
        return () if coco is None else read_coco(coco).class_names


class M3FD(FolderRGBXBoxes):
    """M3FD (Liu et al., CVPR 2022): 4,200 pairs of 1024 x 768 with boxes of 6 classes.

    ``Vis/``, ``Ir/`` and ``Annotation/`` (Pascal VOC). There is no official split: without
    ``train.txt`` and ``test.txt``, train, val and test are cut by seed, and numbers of others are
    for other splits.

    Args:
        root: folder of the data set, or the one around it.
        **kwargs: options of `FolderRGBXBoxes`.
    """

    def __init__(self, root: str, **kwargs: Any) -> None:
        inner = Path(root).expanduser() / "M3FD_Detection"
        options: Mapping[str, Any] = {
            "class_names": ["People", "Car", "Bus", "Motorcycle", "Lamp", "Truck"],
            "folders": {"rgb": "Vis", "x": "Ir", "boxes": "Annotation"},
        }
        super().__init__(str(inner) if inner.is_dir() else root, **{**options, **kwargs})


def _names_near(path: Path) -> tuple[str, ...]:
    """Class names of a list in the folder of an annotation, or one or two folders above."""
    for folder in list(path.parents)[:3]:
        for name in _CLASS_LISTS:
            if (folder / name).is_file():
                return read_class_list(folder / name)
    return ()


@lru_cache(maxsize=16)
def _is_coco(path: Path, changed: int) -> bool:
    content = read_json(path)
    return isinstance(content, dict) and "annotations" in content and "images" in content
