"""What ``rgbx check-data`` notes of the boxes of usable samples, and how it draws them."""

from collections.abc import Sequence

import numpy as np

from rgbx.data.annotations.boxes import Boxes
from rgbx.data.checks.findings import SplitReport
from rgbx.data.splits.records import Problem, Record

__all__ = ["BINS", "audit_boxes", "other_size", "size_histogram"]

_TINY = 8.0  # pixels: of a smaller side hardly anything is left in a network of stride 16
#: sides (root of the area) up to which a box belongs to a bin, in pixels
BINS = (8, 16, 32, 64, 96, 128, 256, 512)


def audit_boxes(report: SplitReport, record: Record, boxes: Boxes, size: tuple[int, int]) -> None:
    """Note boxes outside the image, empty, tiny and double ones, and images without objects.

    Args:
        report: of the split; its histogram of sides is added to.
        record: the sample.
        boxes: as annotated.
        size: (h,w) of the image.
    """
    height, width = size
    x1, y1, x2, y2 = boxes.corners.T
    outside = (x2 <= 0) | (y2 <= 0) | (x1 >= width) | (y1 >= height)
    over = ~outside & ((x1 < -1) | (y1 < -1) | (x2 > width + 1) | (y2 > height + 1))
    sides = np.minimum(x2 - x1, y2 - y1)
    rows = {tuple(row) for row in np.column_stack([boxes.corners, _numbers(boxes.names)]).tolist()}
    found = {
        "outside": int(outside.sum()),
        "over": int(over.sum()),
        "hollow": int((sides <= 0).sum()),
        "tiny": int(((sides > 0) & (sides < _TINY)).sum()),
        "double": len(boxes) - len(rows),
        "unboxed": int(not len(boxes) or bool(boxes.ignore.all())),
    }
    for kind, count in found.items():
        if count:
            said = f"{record.boxes} ({record.name})" + (f": {count}" if count > 1 else "")
            report.notes.append(Problem(kind, said))  # type: ignore[arg-type]
    report.box_sides += size_histogram(boxes)


def size_histogram(boxes: Boxes) -> np.ndarray:
    """Number of boxes by the root of their area, one more bin than `BINS`."""
    sides = boxes.corners[:, 2:] - boxes.corners[:, :2]
    roots = np.sqrt(np.maximum(sides, 0).prod(1))[~boxes.ignore]
    counts: np.ndarray = np.bincount(np.searchsorted(BINS, roots), minlength=len(BINS) + 1)
    return counts


def _numbers(names: Sequence[str]) -> list[int]:
    known = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return [known[name] for name in names]


def other_size(record: Record, stated: tuple[int, int], real: tuple[int, int]) -> Problem:
    """An annotation that was made for an image of another size (h,w)."""
    text = (
        f"{record.boxes}: it was made for an image of {stated[1]} x {stated[0]} (width x height), "
        f"but {record.rgb} has {real[1]} x {real[0]}"
    )
    kind = "swapped" if stated == real[::-1] else "size"
    return Problem(kind, text)  # type: ignore[arg-type]
