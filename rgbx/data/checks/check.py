"""Reading a whole data set once, to find everything that would break or spoil training."""

from collections import Counter
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from rgbx.data.base import RGBXDataModule
from rgbx.data.checks.files import NOTES, add_x, audit_files
from rgbx.data.checks.findings import ImageArray, Report, SplitReport
from rgbx.data.checks.mixed import mixed_types
from rgbx.data.checks.overlap import describe, near_duplicates, shared_images
from rgbx.data.checks.split_statistics import SplitStatistics
from rgbx.data.decoding.files import SampleError, Stored
from rgbx.data.splits.records import Problem, Record
from rgbx.data.splits.siblings import THUMBNAIL, thumbnail
from rgbx.data.transforms.augment import resize_image
from rgbx.errors import DataError
from rgbx.visualization.drawing import legend, panel

__all__ = ["Report", "SplitReport", "check", "contact_sheet"]


def check(
    data: RGBXDataModule,
    samples: int = 3,
    progress: bool = True,
    statistics: bool = False,
    alike: bool = False,
) -> Report:
    """Read every file of every split with labels.

    Nothing stops the pass: each problem becomes a line that names its file.

    Args:
        data: the data set.
        samples: number of samples per split kept for the contact sheet.
        progress: show a progress bar.
        alike: look for images of different splits that look the same.
        statistics: add up means, stds and class shares of the usable pairs.

    Raises:
        RGBXError: the data module's own options do not suffice.
    """
    splits = {s: _check_split(data, s, samples, progress, statistics, alike) for s in data.splits}
    report = Report(type(data).__name__, str(data.root), data.class_names, splits, [], [])
    report.breaking += data.half_there()
    _find_shared(data, report)
    if alike:
        _find_alike(report)
    report.warnings += list(dict.fromkeys(r for found in splits.values() for r in found.remarks))
    for split, found in splits.items():
        _judge(data, report, split, found)
    _judge_types(data, report, splits.values())
    return report


def _judge(data: RGBXDataModule, report: Report, split: str, found: SplitReport) -> None:
    """Turn what was found in a split into problems and warnings."""
    report.warnings += _summaries(split, found.notes)
    breaking = [p.text for p in found.problems if not data.leaves_out(p)]
    report.breaking += [line for line in breaking if line not in report.breaking]
    left_out = [p.text for p in found.problems if data.leaves_out(p)]
    report.warnings += [f"left out of {split}: {line}" for line in left_out]
    if not found.pairs and not breaking:
        report.breaking.append(f"{data.root}: no usable sample in the {split} split")
    report.breaking += data.judge_labels(split, found)
    one_colour = found.note_kinds["black"] + found.note_kinds["white"]
    if 1 < found.pairs == one_colour:
        report.warnings.append(
            f"{split}: all {one_colour} masks are of one colour, so that nothing can be learned"
        )
    if found.bright_borders > found.pairs / 2:
        report.warnings.append(
            f"{split}: {found.bright_borders} of {found.pairs} masks are bright along their border "
            "and dark inside; bright is the object: invert the masks if they mean the dark part"
        )
    if found.pairs and found.expected not in (None, found.pairs):
        report.warnings.append(f"{split}: {found.pairs} pairs, {found.expected} are usual")
    report.warnings += [
        f"{path}: {share:.1%} of the mask's pixels are neither black nor white"
        for path, share in found.grey_masks.items()
        if not data.grey_borders
    ]


def _judge_types(data: RGBXDataModule, report: Report, splits: Iterable[SplitReport]) -> None:
    """Name types of files that are scaled by different rules."""
    rgb: dict[Path, Stored] = {}
    x: dict[Path, Stored] = {}
    for found in splits:
        rgb |= found.rgb_types
        x |= found.x_types
    for mixed in (mixed_types(data, rgb, "rgb"), mixed_types(data, x, "x")):
        report.breaking += [f"{data.root}: {text}" for text in mixed.in_folders]
        report.warnings += [f"{data.root}: {text}" for text in mixed.between]


def _summaries(split: str, notes: list[Problem]) -> list[str]:
    """One line for each kind of note, with the first few files; report.json names all."""
    lines = []
    for kind, count in Counter(note.kind for note in notes).items():
        texts = [note.text for note in notes if note.kind == kind]
        more = f", and {count - 3} more (named in report.json)" if count > 3 else ""
        lines.append(f"{split}: {count} {NOTES[kind]}: {', '.join(texts[:3])}{more}")
    return lines


def _find_shared(data: RGBXDataModule, report: Report) -> None:
    """Images that are in two splits are a problem, unless two test sets share them."""
    for a, b in combinations(report.splits, 2):
        if data.share_by_design(a, b):
            continue
        shared = shared_images(report.splits[a].records, report.splits[b].records)
        report.shared += [(a, str(s.first.rgb), b, str(s.second.rgb)) for s in shared]
        known = [s for s in shared if s.first.name in data.known_leaks]
        if known:
            names = ", ".join(s.first.name for s in known)
            report.warnings.append(f"in {a} and in {b}, as in the published lists: {names}")
        lines = describe([s for s in shared if s not in known], a, b)
        left_out = a == "train" and data.on_bad == "skip"
        harmless = a in data.test_splits and b in data.test_splits
        (report.warnings if left_out or harmless else report.breaking).extend(lines)


def _find_alike(report: Report) -> None:
    """Images of different splits that look the same, those that are the same left out."""
    known = {(first, second) for _, first, _, second in report.shared}
    small = {
        split: (
            list(found.thumbnails),
            np.array(list(found.thumbnails.values()), np.float32).reshape(-1, *THUMBNAIL),
        )
        for split, found in report.splits.items()
    }
    for a, first, b, second in near_duplicates(small):
        if (str(first), str(second)) not in known:
            report.near_duplicates.append((a, str(first), b, str(second)))
    for a, b in combinations(report.splits, 2):
        pairs = [(f, s) for x, f, y, s in report.near_duplicates if (x, y) == (a, b)]
        if pairs:
            shown = "; ".join(f"{first} and {second}" for first, second in pairs[:10])
            more = f"; and {len(pairs) - 10} more (in report.json)" if len(pairs) > 10 else ""
            report.warnings.append(f"{len(pairs)} images of {a} look as in {b}: {shown}{more}")


def _check_split(
    data: RGBXDataModule,
    split: str,
    samples: int,
    progress: bool,
    statistics: bool,
    alike: bool,
) -> SplitReport:
    report = SplitReport(expected=data.expected_size(split))
    report.statistics = SplitStatistics(data.class_names) if statistics else None
    report.pixels = np.zeros(data.num_classes + 1, dtype=np.int64)
    report.images = np.zeros(data.num_classes, dtype=np.int64)
    try:
        records, problems, notes = data.scan_split(split)
    except DataError as error:
        report.problems.append(Problem("list", str(error)))
        return report
    report.problems += problems
    report.remarks += [*notes, *data.remarks(split, records)]
    if not records:
        report.problems += [Problem("list", note) for note in notes]
    report.records = records
    shown = set(np.linspace(0, len(records) - 1, samples).round().astype(int).tolist())
    for i, record in enumerate(tqdm(records, f"checking {split}", disable=not progress)):
        _check_record(data, record, report, i in shown, alike)
    return report


def _check_record(
    data: RGBXDataModule, record: Record, report: SplitReport, shown: bool, alike: bool
) -> None:
    problems = data.inspect(record)
    rgb = x = labels = None
    try:
        rgb, x = data.read_images(record)
    except SampleError as error:
        problems.append(Problem(error.kind, str(error)))
    try:
        labels = data.read_annotation(record)
    except SampleError as error:
        problems.append(Problem(error.kind, str(error)))
    if alike and rgb is not None:
        report.thumbnails[record.rgb] = thumbnail(rgb)
    report.problems += dict.fromkeys(problems)
    if not problems and rgb is not None:
        _add_usable(data, record, report, rgb, x, labels, shown)


def _add_usable(
    data: RGBXDataModule,
    record: Record,
    report: SplitReport,
    rgb: ImageArray,
    x: NDArray[np.float32] | None,
    labels: Any,
    shown: bool,
) -> None:
    """Add a sample without problems to the tables; no other sample counts in them."""
    report.pairs += 1
    audit_files(record, report)
    counts = None
    if x is not None and record.x is not None:
        add_x(report, x, record.x)
    if labels is not None:
        counts = data.count_labels(labels)
        report.pixels += counts
        report.images += counts[:-1] > 0
        data.audit_labels(report, record, labels, rgb)
        if shown:
            report.rows += _row(data, record.name, rgb, x, labels)
    if report.statistics is not None:
        report.statistics.add(rgb, x, None if counts is None else counts[:-1])


def _row(
    data: RGBXDataModule,
    name: str,
    rgb: ImageArray,
    x: NDArray[np.float32] | None,
    labels: Any,
) -> list[tuple[str, ImageArray]]:
    """Small copies of one sample for the contact sheet."""
    factor = min(1.0, 320 / rgb.shape[1])
    size = (max(1, round(rgb.shape[0] * factor)), max(1, round(rgb.shape[1] * factor)))
    visible = np.rint(resize_image(rgb.astype(np.float32), size)).astype(np.uint8)
    shown = [(f"{name} rgb", visible), ("labels", data.paint_labels(rgb, labels, size))]
    if x is not None:
        small = np.rint(resize_image(x, size) * 255).astype(np.uint8)
        shown.insert(1, ("x", data.paint_on_x(small, labels, (rgb.shape[0], rgb.shape[1]))))
    return shown


def contact_sheet(data: RGBXDataModule, report: Report) -> Image.Image | None:
    """Draw the kept samples (rgb, x if there is one, labels over rgb) and a legend.

    None if there are no samples.
    """
    rows = [(f"{split}: {t}", p) for split, r in report.splits.items() for t, p in r.rows]
    if not rows:
        return None
    columns = 3 if any(found.x_count for found in report.splits.values()) else 6
    sheet = panel([panel for _, panel in rows], [title for title, _ in rows], columns)
    names = legend(data.class_names, data.palette)
    whole = Image.new("RGB", (max(sheet.width, names.width), sheet.height + names.height), "white")
    whole.paste(sheet, (0, 0))
    whole.paste(names, (0, sheet.height))
    return whole
