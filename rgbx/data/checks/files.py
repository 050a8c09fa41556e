"""What ``rgbx check-data`` notes of the files of usable samples: odd, but no reason to stop."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgbx.data.checks.findings import ImageArray, SplitReport
from rgbx.data.checks.mixed import type_of_floats
from rgbx.data.decoding.files import Kind, look, read_pixels, read_raw, read_soft
from rgbx.data.decoding.mask_files import is_jpeg
from rgbx.data.source import Source
from rgbx.data.splits.records import Problem, Record

__all__ = ["NOTES", "add_x", "audit_files", "audit_mask"]

NOTES: dict[Kind, str] = {
    "constant": "x images are constant or hold no finite value, and say nothing",
    "nan": "x images hold NaN or infinity, which become 0",
    "black": "masks are all black",
    "white": "masks are all white",
    "inverted": "palette masks show id 0 white and id 1 black; are they read by their ids on "
    "purpose? (FolderRGBX with binary: true reads them as they look)",
    "jpeg": "masks of class ids are JPEG, which changes the ids along every border",
    "dark": "rgb images of 16 bits use less than an eighth of their range, and come out dark",
    "turned": "files are turned as their EXIF orientation says and viewers show them",
    "outside": "files have boxes that lie outside the image",
    "over": "files have boxes that reach over the image's border by more than a pixel",
    "hollow": "files have boxes without an area, which are left out",
    "tiny": "files have boxes with a side below 8 pixels",
    "double": "files have the same box twice",
    "unboxed": "images have no object",
    "several": "files hold several images, of which only the first is read",
}
_DARK = 65535 // 8


def audit_files(record: Record, report: SplitReport) -> None:
    """Note orientation, further images and types of a sample's files."""
    for path in dict.fromkeys((record.rgb, record.x, record.mask, record.labelled)):
        if path is None or path.suffix.lower() == ".json":  # polygons
            continue
        facts = look(path)
        if facts.orientation > 1:
            report.notes.append(Problem("turned", str(path)))
        if facts.images > 1:
            report.notes.append(Problem("several", str(path)))
        if path == record.rgb:
            report.rgb_types[path] = facts.stored
            if facts.stored == "16-bit" and read_pixels(path).max() < _DARK:
                report.notes.append(Problem("dark", str(path)))
        elif path == record.x:
            report.x_types[path] = facts.stored


def add_x(report: SplitReport, x: NDArray[np.float32], path: Path) -> None:
    """Add a second modality (H, W) or (H, W, 3) in [0, 1] to the sums of its split."""
    if x.min() == x.max():
        report.notes.append(Problem("constant", str(path)))
    elif report.x_types.get(path) == "float":
        stored = read_raw(path)
        if not np.isfinite(stored).all():
            report.notes.append(Problem("nan", str(path)))
        report.x_types[path] = type_of_floats(stored)
    report.x_sum += float(x.sum(dtype=np.float64))
    report.x_squares += float(np.square(x, dtype=np.float64).sum())
    report.x_count += x.size
    report.x_low = min(report.x_low, float(x.min()))
    report.x_high = max(report.x_high, float(x.max()))


def audit_mask(data: Source, report: SplitReport, path: Path, mask: ImageArray) -> None:
    """Note what is odd about a full mask (H, W) of ids."""
    if data.binary:
        _audit_two_class(report, path, mask)
    elif is_jpeg(path):
        report.notes.append(Problem("jpeg", str(path)))
    elif data.num_classes == 2 and _shows_inverted(path, mask):
        report.notes.append(Problem("inverted", str(path)))


def _audit_two_class(report: SplitReport, path: Path, mask: ImageArray) -> None:
    if not mask.any():
        report.notes.append(Problem("black", str(path)))
    elif mask.all():
        report.notes.append(Problem("white", str(path)))
    elif np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean() > 0.9:
        report.bright_borders += 1
    values = read_soft(path) * 255
    if read_raw(path).dtype == np.uint8:
        grey = ((values > 8) & (values < 247)).mean()
        if grey > 0.01:
            report.grey_masks[str(path)] = round(float(grey), 4)


def _shows_inverted(path: Path, mask: ImageArray) -> bool:
    """A palette shows id 0 in white and id 1 in black."""
    if read_raw(path).ndim == 3 or not (mask == 0).any() or not (mask == 1).any():
        return False
    shown = read_pixels(path)
    return bool(shown.ndim == 3 and shown[mask == 0].min() >= 247 and shown[mask == 1].max() <= 8)
