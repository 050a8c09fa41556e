"""From places to a report on disk."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from rgbx.disk import whole_file
from rgbx.errors import RGBXError
from rgbx.report.bars import class_bars, prompt_bars, subset_bars
from rgbx.report.charts import surgery_charts, threshold_charts, training_charts
from rgbx.report.find import Tested, Trained, find_sources
from rgbx.report.gallery import make_gallery, worst
from rgbx.report.images import ImageRow, read_images
from rgbx.report.page import Page, RunCard, render_page
from rgbx.report.panels import palette
from rgbx.report.training import Log, read_log, read_training
from rgbx.results import JoinedOptions, Run, joined_tables

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
    folder = Path(folder)
    _writable(folder)
    page, notes = _page(trained, tested, options, progress)
    text = render_page(page).encode("utf-8")
    _write(folder / "index.html", text)
    images = len({(row.test, row.split, row.name) for row in page.gallery.rows})
    return Written(folder / "index.html", len(text), len(page.cards), images, notes)


def _page(
    trained: Sequence[Trained], tested: Sequence[Tested], options: Options, progress: bool
) -> tuple[Page, tuple[str, ...]]:
    names = dict.fromkeys([*(run.name for run in trained), *(test.name for test in tested)])
    page = Page(options.title, styles={name: i for i, name in enumerate(names)})
    notes: dict[str, list[str]] = {name: [] for name in names}
    logs = {run.name: read_training(run.folder) for run in trained}
    for name, log in logs.items():
        notes[name] += log.notes
    page.training = training_charts({n: log for n, log in logs.items() if log.lines}, page.styles)
    page.surgery = surgery_charts(_surgery(trained, notes))
    for run in trained:
        if not any(run.name == t.name or t.folder.is_relative_to(run.folder) for t in tested):
            notes[run.name].append("no test.json: not tested, or tested elsewhere")
    runs = _results(tested, notes)
    # in the tables seeds are one row, which names of their own would keep apart
    given = [dataclasses.replace(t.run, name=t.given) for t in tested if t.run is not None]
    _fill_tables(page, given, options)
    page.classes = class_bars(runs)
    page.subsets = subset_bars(runs)
    page.prompts = prompt_bars(runs)
    page.thresholds, problems = threshold_charts(tested, page.styles)
    page.table_notes += problems
    rows = _rows(tested, notes)
    page.legends = _legends(tested, rows)
    _fill_gallery(page, rows, options, progress)
    page.cards = [_card(name, page, trained, tested, notes[name]) for name in names]
    said = [f"{name}: {note}." for name, found in notes.items() for note in found]
    return page, (*said, *page.table_notes, *page.gallery_notes)


def _surgery(trained: Sequence[Trained], notes: dict[str, list[str]]) -> dict[str, Log]:
    found = {}
    for run in trained:
        path = run.folder / "surgery.csv"
        if path.is_file():
            found[run.name] = read_log(path)
            notes[run.name] += found[run.name].notes
    return found


def _results(tested: Sequence[Tested], notes: dict[str, list[str]]) -> list[Run]:
    for test in tested:
        if test.problem:
            notes[test.name].append(test.problem)
    return [test.run for test in tested if test.run is not None]


def _fill_tables(page: Page, runs: Sequence[Run], options: Options) -> None:
    """Results next to published rows; runs of different protocols in tables of their own."""
    if not runs:
        return
    try:
        page.tables = joined_tables(runs, JoinedOptions(group=True, published=options.published))
    except RGBXError as error:
        page.table_notes.append(str(error))


def _rows(tested: Sequence[Tested], notes: dict[str, list[str]]) -> list[ImageRow]:
    rows = []
    for test in tested:
        found, problems = read_images(test)
        rows += found
        notes[test.name] += problems
    return rows


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


def _fill_gallery(page: Page, rows: Sequence[ImageRow], options: Options, progress: bool) -> None:
    chosen = worst(rows, options.images)
    if len(chosen) < len(rows):
        page.gallery_notes.append(
            f"The gallery shows {len(chosen):,} of {len(rows):,} images, those with the lowest "
            "scores of every test; --images says how many."
        )
    page.gallery = make_gallery(chosen, int(options.megabytes * 1e6), progress)
    if page.gallery.missing:
        missing = list(page.gallery.missing)
        files = "1 image is" if len(missing) == 1 else f"{len(missing):,} images are"
        page.gallery_notes.append(
            f"{files} missing or damaged, with a placeholder in the gallery: {missing[0]}"
            f"{', ...' if len(missing) > 1 else '.'}"
        )
    if page.gallery.left_out:
        page.gallery_notes.append(
            f"{page.gallery.left_out:,} images have no images here, to keep the page below "
            f"{options.megabytes:g} MB; --megabytes allows more."
        )


def _card(
    name: str,
    page: Page,
    trained: Sequence[Trained],
    tested: Sequence[Tested],
    notes: Sequence[str],
) -> RunCard:
    facts: list[tuple[str, str]] = []
    for test in tested:
        if test.name == name and test.run is not None:
            result = test.run.result
            at = result.checkpoint.epoch
            facts += [
                ("model", result.model.class_path.rpartition(".")[2]),
                ("data", result.data.dataset),
                ("images", ", ".join(f"{n} {k}" for k, n in result.data.split_sizes.items())),
                ("checkpoint", result.checkpoint.file + (f", epoch {at}" if at else "")),
                ("seed", "none" if result.seed is None else str(result.seed)),
                ("tested", result.date[:16].replace("T", " ")),
            ]
    facts += [("run", str(run.folder)) for run in trained if run.name == name]
    facts += [("test", str(test.folder)) for test in tested if test.name == name]
    return RunCard(name, page.styles[name], tuple(facts), tuple(f"{note}." for note in notes))


def _writable(folder: Path) -> None:
    """Refuse a folder that cannot be written before the images are made."""
    probe = folder / f".index.html.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RGBXError(
            f"The report cannot be written into {folder} ({error.strerror}); choose another folder "
            "with --output."
        ) from error


def _write(path: Path, text: bytes) -> None:
    """Write the page whole or not at all."""
    try:
        with whole_file(path) as draft:
            draft.write_bytes(text)
    except OSError as error:
        raise RGBXError(
            f"The report could not be written to {path} ({error.strerror}); make room or choose "
            "another folder with --output."
        ) from error
