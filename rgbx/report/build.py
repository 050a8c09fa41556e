"""From places to a report on disk."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from rgbx.disk import write_bytes
from rgbx.errors import RGBXError
from rgbx.report.bars import class_bars, prompt_bars, subset_bars
from rgbx.report.charts import surgery_charts, threshold_charts, training_charts
from rgbx.report.find import Tested, Trained, find_sources
from rgbx.report.gallery import Gallery, make_gallery, worst
from rgbx.report.images import ImageRow, read_images
from rgbx.report.page import Section, render_page
from rgbx.report.panels import palette
from rgbx.report.training import read_log, read_training
from rgbx.results import JoinedOptions, joined_tables, missing_tables, to_html

__all__ = ["Options", "Written", "build_report"]


@dataclasses.dataclass(frozen=True)
class Options:
    """What a report shows.

    Attributes:
        title: Of the page.
        images: At most so many images in the gallery, those with the lowest scores; 0 for none.
        megabytes: What the images may take on the page.
        published: Printed rows in the tables: "all", "own" or "none".
    """

    title: str = "rgbx report"
    images: int = 5000
    megabytes: float = 30
    published: str = "all"


@dataclasses.dataclass(frozen=True)
class Written:
    """What was done.

    Attributes:
        path: The page.
        bytes: Its length.
        runs: Number of runs and tests on it.
        images: Number of images in the gallery.
        notes: What is missing, as sentences.
    """

    path: Path
    bytes: int
    runs: int
    images: int
    notes: tuple[str, ...]


def build_report(
    places: Sequence[str],
    folder: str | Path,
    options: Options = Options(),
    progress: bool = False,
) -> Written:
    """Write ``index.html`` with everything that runs and tests left on disk.

    What is missing or cut off is left out and said, on the page and in the result.

    Args:
        places: Run folders, output folders of tests, ``test.json`` files, folders above them, or
            patterns; ``NAME=PLACE`` names one.
        folder: Gets the page; made if need be. A page from before is replaced.
        options: What to show.
        progress: Whether to show a bar.

    Raises:
        RGBXError: A place is not there or holds nothing, or the folder cannot be written.
    """
    trained, tested = find_sources(places)
    path = Path(folder) / "index.html"
    _refuse_unwritable(path)
    names = dict.fromkeys([*(run.name for run in trained), *(test.name for test in tested)])
    styles = {name: number for number, name in enumerate(names)}
    notes: dict[str, list[str]] = {name: [] for name in names}
    sections, chart_notes = _sections(trained, tested, styles, notes)
    rows = []
    for test in tested:
        found, problems = read_images(test)
        rows += found
        notes[test.name] += problems
    tables, table_notes = _tables(tested, options)
    gallery, gallery_notes = _gallery(rows, options, progress)
    page = render_page(
        sections,
        gallery,
        styles,
        title=options.title,
        cards=[(name, _facts(name, trained, tested), notes[name]) for name in names],
        tables=tables,
        table_notes=table_notes + chart_notes,
        gallery_notes=gallery_notes,
        legends=_legends(tested, rows),
    )
    try:
        write_bytes(path, page)
    except OSError as error:
        raise RGBXError(
            f"The report could not be written to {path} ({error.strerror}); make room or choose "
            "another folder with --output."
        ) from error
    said = [f"{name}: {note}." for name, found in notes.items() for note in found]
    said += table_notes + chart_notes + gallery_notes
    images = len({(row.test, row.split, row.name) for row in gallery.rows})
    return Written(path, len(page), len(names), images, tuple(said))


def _refuse_unwritable(path: Path) -> None:
    """Refuse a folder that cannot be written before the images are made."""
    probe = path.with_name(f".index.html.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RGBXError(
            f"The report cannot be written into {path.parent} ({error.strerror}); choose another "
            "folder with --output."
        ) from error


def _sections(
    trained: Sequence[Trained],
    tested: Sequence[Tested],
    styles: dict[str, int],
    notes: dict[str, list[str]],
) -> tuple[list[Section], list[str]]:
    """Charts and bars, and what could not be drawn; what a run lacks is added to its notes."""
    logs, surgery = {}, {}
    for run in trained:
        logs[run.name] = read_training(run.folder)
        notes[run.name] += logs[run.name].notes
        if (run.folder / "surgery.csv").is_file():
            surgery[run.name] = read_log(run.folder / "surgery.csv")
            notes[run.name] += surgery[run.name].notes
        if not any(run.name == t.name or t.folder.is_relative_to(run.folder) for t in tested):
            notes[run.name].append("no test.json: not tested, or tested elsewhere")
    for test in tested:
        notes[test.name] += [test.problem] if test.problem else []
    runs = [test.run for test in tested if test.run is not None]
    thresholds, problems = threshold_charts(tested, styles)
    training = training_charts({name: log for name, log in logs.items() if log.lines}, styles)
    subsets = subset_bars(runs)
    names = {label for table in subsets for label, _, _ in table.rows}
    of_subsets = "Day and night" if names <= {"all", "day", "night"} else "Subsets"
    conflicts = "Cosines below 0 are conflicts between losses, which gradient surgery resolves."
    gradients = surgery_charts(surgery)
    return [
        Section("training", "Training", "Training", training),
        Section("thresholds", "Thresholds", "Precision, recall and thresholds", thresholds),
        Section("classes", "Classes", "Classes", bars=class_bars(runs)),
        Section("subsets", of_subsets, of_subsets, bars=subsets),
        Section("prompts", "Prompts", "Stability by kind of prompt", bars=prompt_bars(runs)),
        Section("gradients", "Gradients", "Conflicts of gradients", gradients, note=conflicts),
    ], problems


def _tables(tested: Sequence[Tested], options: Options) -> tuple[list[str], list[str]]:
    """Results next to published rows, as HTML, and why there are none.

    Runs of different protocols are in tables of their own.
    """
    # in the tables seeds are one row, which names of their own would keep apart
    runs = [dataclasses.replace(t.run, name=t.given) for t in tested if t.run is not None]
    if not runs:
        return [], []
    try:
        tables = joined_tables(runs, JoinedOptions(group=True, published=options.published))
    except RGBXError as error:
        return [], [str(error)]
    tables += [table for run in runs for table in missing_tables(run.result, run.name)]
    return [to_html(table) for table in tables], []


def _gallery(
    rows: Sequence[ImageRow], options: Options, progress: bool
) -> tuple[Gallery, list[str]]:
    """The images, and what is not shown, as sentences."""
    notes = []
    chosen = worst(rows, options.images)
    if len(chosen) < len(rows):
        notes.append(
            f"The gallery shows {len(chosen):,} of {len(rows):,} images, those with the lowest "
            "scores of every test; --images says how many."
        )
    gallery = make_gallery(chosen, int(options.megabytes * 1e6), progress)
    if missing := list(gallery.missing):
        files = "1 image is" if len(missing) == 1 else f"{len(missing):,} images are"
        notes.append(
            f"{files} missing or damaged, with a placeholder in the gallery: {missing[0]}"
            f"{', ...' if len(missing) > 1 else '.'}"
        )
    if gallery.left_out:
        notes.append(
            f"{gallery.left_out:,} images have no images here, to keep the page below "
            f"{options.megabytes:g} MB; --megabytes allows more."
        )
    return gallery, notes


def _legends(
    tested: Sequence[Tested], rows: Sequence[ImageRow]
) -> dict[str, list[tuple[str, str]]]:
    """The classes of every data set in the colours of its predictions."""
    first = {row.test: row.prediction for row in reversed(rows) if row.prediction}
    found = {}
    for test in tested:
        if test.run is not None and test.name in first:
            data = test.run.result.data
            colours = palette(first[test.name], len(data.class_names))
            if colours:
                found[data.dataset] = list(zip(data.class_names, colours, strict=False))
    return found


def _facts(
    name: str, trained: Sequence[Trained], tested: Sequence[Tested]
) -> list[tuple[str, object]]:
    """What stands on the card of a run or a test."""
    facts: list[tuple[str, object]] = []
    for test in tested:
        if test.name == name and test.run is not None:
            result = test.run.result
            at = result.checkpoint.epoch
            facts += [
                ("model", result.method),
                ("data", result.data.dataset),
                ("images", ", ".join(f"{n} {k}" for k, n in result.data.split_sizes.items())),
                ("checkpoint", result.checkpoint.file + (f", epoch {at}" if at else "")),
                ("seed", "none" if result.seed is None else result.seed),
                ("tested", result.date[:16].replace("T", " ")),
            ]
    facts += [("run", run.folder) for run in trained if run.name == name]
    return facts + [("test", test.folder) for test in tested if test.name == name]
