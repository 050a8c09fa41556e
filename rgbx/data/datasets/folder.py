"""Any folder of aligned pairs: rgb/, x/, mask/."""

from typing import Any

from rgbx.data.datasets.folder_labels import ToolLabels
from rgbx.data.transforms.augment import IGNORE
from rgbx.errors import RGBXError
from rgbx.visualization.drawing import generate_palette

__all__ = ["FolderRGBX"]

_NAMES = {
    "rgb": ("rgb", "visible", "vi", "vis", "image", "images", "imgs", "img", "color", "JPEGImages"),
    "x": ("x", "thermal", "t", "th", "ther", "infrared", "ir", "lwir", "depth", "d"),
    "mask": (
        "mask",
        "masks",
        "gt",
        "label",
        "labels",
        "annotations",
        "Segmentation_labels",
        "SegmentationClass",
    ),
}


class FolderRGBX(ToolLabels):
    """Pairs of one's own, files joined by stem, any image suffix.

    Either ``{train,val,test}/{rgb,x,mask}`` or ``rgb/ x/ mask/`` with ``train.txt``, ``val.txt``,
    ``test.txt``. Without lists, train, val and test are cut from all names by seed: `val_share` of
    them to val, as many to test, and the rest to train. With split folders or lists but none for
    val, val is cut from train. Folder names are matched whatever their letter case; ``visible``,
    ``thermal``, ``depth``, ``gt``, ``labels`` and some more are accepted. RGB-only data has no
    ``x`` folder; folders of images that are not used are named in a warning. Prediction needs no
    masks and no class names.

    Where ``rgb/`` holds no image but folders (a folder for each sequence), names are
    ``SEQUENCE/STEM``, and what is cut by seed are whole sequences as long as there are enough.
    ``NAME_rgb``, ``NAME_th`` and ``NAME_mask`` (and similar endings) pair as NAME, in folders of
    their own or in one.

    8-bit `x` is divided by 255; 16-bit and float `x` is stretched per image, from its smallest to
    its largest valid value (0 and 65535 are none, see `x_invalid`), unless `x_range` is given (see
    `rgbx.data.decoding.files.to_unit`). Both kinds in one folder are a problem without `x_range`.
    Masks may also be colours (of `palette`, of `label_map`, or of CVAT's ``labelmap.txt``), and
    ``mask/`` may hold JSON in the place of images: a file of LabelMe for each image, or one of COCO
    for all of them; what no polygon covers is id 0.

    All files are read upright, as their EXIF orientation says. A palette counts by its indices in
    class-id masks, and by its colours in binary ones.

    Args:
        root: folder of the data set.
        class_names: name of id 0, 1, ...; needed unless only predicting.
        palette: colour of each id, 0 to 255; distinct colours are made if it is not given.
        binary: masks are black-and-white images, bright = id 1 (above 128 of 255), not class ids;
            class names are then ["background", "foreground"] unless given.
        soft_masks: keep the grey borders of binary masks in training.
        resize_x: accept an `x` of another size and resize it to the visible image.
        x_range: stored values of `x` that become 0 and 1.
        invert_depth: turn `x` round (1 - x), where near is dark and a model was trained on bright.
        folders: names of the folders of rgb, x and mask where they have others, for instance
            ``{x: thermal16}``; below train, val and test if there are such.
        label_map: what ids, colours and names in the masks mean, for instance
            ``{7: road, "#ff0000": car, sky: ignore, "*": background}``; see
            `rgbx.data.decoding.label_map.LabelMap`.
        ignore_ids: ids in the masks that are not scored, as 255 is not ("void").
        **kwargs: options of `RGBXDataModule`.

    Raises:
        RGBXError: palette and class names differ in number, two classes are wanted and others are
            named, or `folders` or `ignore_ids` cannot be.
    """

    size_hint = "; resize_x: true accepts and resizes it"
    tree = (
        "rgb/, x/ and mask/ (also called visible, vi, images; thermal, ir, infrared, depth; gt, "
        "labels), or train/, val/, test/ with these inside"
    )

    def __init__(
        self,
        root: str,
        class_names: list[str] | None = None,
        palette: list[tuple[int, int, int]] | None = None,
        binary: bool = False,
        soft_masks: bool = False,
        resize_x: bool = False,
        x_range: tuple[float, float] | None = None,
        invert_depth: bool = False,
        folders: dict[str, str] | None = None,
        ignore_ids: list[int] | None = None,
        label_map: dict[str, int | str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        if binary and class_names is None:
            class_names = ["background", "foreground"]
        self.class_names = tuple(class_names or ())
        if self.num_classes > IGNORE:
            raise RGBXError(
                f"data.class_names has {self.num_classes} names, {IGNORE} are the most: ids are "
                f"bytes, and {IGNORE} means that a pixel is not labelled."
            )
        if binary and len(self.class_names) != 2:
            raise RGBXError(f"binary masks have 2 classes, but {len(self.class_names)} are named")
        self.palette = generate_palette(self.num_classes)
        if palette is not None:
            if len(palette) != self.num_classes:
                raise RGBXError(
                    f"palette has {len(palette)} colours for {self.num_classes} class names"
                )
            self.palette = tuple((c[0], c[1], c[2]) for c in palette)
        if soft_masks and not binary:
            raise RGBXError("soft_masks needs binary: true; class ids have no grey between them")
        self.binary = binary
        self.soft_masks = soft_masks
        self.resize_x = resize_x
        self.x_range = x_range
        self.invert_depth = invert_depth
        self.name_folders(_NAMES, folders)
        if binary and ignore_ids:
            raise RGBXError("ignore_ids are ids of classes, but binary masks are black and white")
        if bad := [i for i in ignore_ids or () if i < 0]:
            raise RGBXError(f"ignore_ids {bad[0]} cannot be in a mask; give 0 or more")
        self.ignore_ids = tuple(ignore_ids or ())
        if binary and label_map and any(str(key).lstrip("-").isdigit() for key in label_map):
            raise RGBXError("label_map names stored ids, but binary masks are black and white")
        self.label_map = dict(label_map or {})
        given = {} if palette is None else {c: i for i, c in enumerate(self.palette)}
        self.name_labels(self.label_map, given)
