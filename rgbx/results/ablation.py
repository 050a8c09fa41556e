"""An ablation as one table: each row as rgbx measured it, above the same row as printed."""

import dataclasses
import math
import re
from collections.abc import Sequence

from rgbx.results.columns import JoinedColumn
from rgbx.results.families import unit_of, units_shown
from rgbx.results.find import Run
from rgbx.results.joined_notes import joined_notes
from rgbx.results.printed_rows import printed_number
from rgbx.results.protocols import conflicts, images_of
from rgbx.results.published import Published, PublishedRow, PublishedTable
from rgbx.results.ranking import mean_of, places, rate_over_seeds
from rgbx.results.render.tables import MISSING, Row, Table, Unit
from rgbx.results.series import JoinedRow

__all__ = ["AblationEntry", "ablation_table", "tables_named"]


@dataclasses.dataclass(frozen=True)
class AblationEntry:
    """One row of an ablation.

    Attributes:
        name: As the file calls it.
        runs: What was measured, one result per seed; none if nothing was (yet).
        published: Name of the row in the paper's table; empty if the name itself.
        note: What happened to it, for instance why it failed.
    """

    name: str
    runs: tuple[Run, ...] = ()
    published: str = ""
    note: str = ""


def tables_named(published: Published | None, table: str, dataset: str) -> list[PublishedTable]:
    """Parts of a paper's table (number as printed) on one data set; ablations before comparisons.

    Comparisons may gather several printed tables ("1, 2 and 10"); each number finds them.
    """
    if published is None or not table:
        return []
    found = [
        part
        for part in (*published.ablations, *published.comparisons)
        if table in re.findall(r"\w+", part.table) and part.dataset == dataset
    ]
    ablations = [part for part in found if part in published.ablations]
    return ablations or found


def ablation_table(
    title: str,
    entries: Sequence[AblationEntry],
    dataset: str,
    metrics: Sequence[str],
    published: Published | None = None,
    table: str = "",
    splits: Sequence[str] = (),
) -> Table:
    """The table of an ablation; measured and printed numbers are ranked each on their own.

    Args:
        title: Stands above.
        entries: The rows, in order.
        dataset: Name of the data set.
        metrics: Scores to show, as results name them.
        published: The paper, if there is one.
        table: Number of its table.
        splits: Splits to show; by default those that the paper prints, else those measured.
    """
    parts = tables_named(published, table, dataset)
    splits = splits or list(dict.fromkeys(part.split for part in parts))
    runs = [run for entry in entries for run in entry.runs]
    splits = splits or list(dict.fromkeys(s for run in runs for s in run.result.numbers))
    columns = [
        JoinedColumn(dataset, split, "all", metric) for split in splits for metric in metrics
    ]
    units = _units(published, parts, columns)
    rows: list[Row] = []
    rates: list[list[float]] = []
    for entry in entries:
        measured = [[_rate(run, column) for run in entry.runs] for column in columns]
        cells = [rate_over_seeds(v, unit) for v, unit in zip(measured, units, strict=True)]
        rows.append(Row((entry.name, "rgbx", *cells), rule=bool(rows and parts)))
        rates.append([mean_of(values) for values in measured])
        if published and (found := _printed(published, parts, entry, columns, units)):
            texts, numbers = found
            rows.append(Row((entry.name, "published", *texts), published=True))
            rates.append(numbers)
    several = len(splits) > 1
    groups = tuple(column.group(False, several) for column in columns)
    disagreement = conflicts(runs, {column.place for column in columns})
    notes = _notes(entries, columns, published, parts)
    if disagreement:
        files = f"{disagreement[0].first[0].path} and {disagreement[0].second[0].path}"
        notes.insert(0, f"NOT COMPARABLE: the rows follow different protocols ({files}).")
    title, headings = units_shown(title, [column.heading for column in columns], units)
    return Table(
        title=title,
        columns=("Row", "Source", *headings),
        rows=tuple(rows if disagreement else _marked(rows, rates, columns)),
        notes=tuple(notes),
        text_columns=2,
        groups=groups if len(set(groups)) > 1 else (),
    )


def _units(
    published: Published | None, parts: Sequence[PublishedTable], columns: Sequence[JoinedColumn]
) -> list[Unit]:
    """Of each column, next to what the paper prints for its split."""
    printed = [(published, part) for part in parts] if published else []
    return [unit_of(c.metric, [(p, t) for p, t in printed if t.split == c.split]) for c in columns]


def _rate(run: Run, column: JoinedColumn) -> float:
    scores = run.result.numbers.get(column.split, {}).get(column.subset, {})
    return scores.get(column.metric, math.nan)


def _printed(
    published: Published,
    parts: Sequence[PublishedTable],
    entry: AblationEntry,
    columns: Sequence[JoinedColumn],
    units: Sequence[Unit],
) -> tuple[list[str], list[float]] | None:
    """Texts and rates of an entry's printed row, or None if the paper has no such row."""
    rows = _printed_rows(parts, entry)
    if not rows:
        return None
    texts, rates = [MISSING] * len(columns), [math.nan] * len(columns)
    for part, row in rows:
        for place, (column, unit) in enumerate(zip(columns, units, strict=True)):
            text, rate = printed_number(published, part, row, column, unit)
            if text != MISSING:
                texts[place], rates[place] = text, rate
    return texts, rates


def _printed_rows(
    parts: Sequence[PublishedTable], entry: AblationEntry
) -> list[tuple[PublishedTable, PublishedRow]]:
    name = entry.published or entry.name
    return [(part, row) for part in parts for row in part.rows if row.method == name]


def _marked(
    rows: Sequence[Row], rates: Sequence[Sequence[float]], columns: Sequence[JoinedColumn]
) -> list[Row]:
    """The rows, with the best and the second best of each column among rows of the same source."""
    best: list[list[int]] = [[] for _ in rows]
    second: list[list[int]] = [[] for _ in rows]
    for place, column in enumerate(columns):
        for printed in (False, True):
            own = {
                i: round(rates[i][place], 4)
                for i, row in enumerate(rows)
                if row.published is printed
            }
            for marks, found in zip((best, second), places(own, column.metric), strict=True):
                for i in found:
                    marks[i].append(place + 2)
    return [
        dataclasses.replace(row, best=tuple(best[i]), second=tuple(second[i]))
        for i, row in enumerate(rows)
    ]


def _notes(
    entries: Sequence[AblationEntry],
    columns: Sequence[JoinedColumn],
    published: Published | None,
    parts: Sequence[PublishedTable],
) -> list[str]:
    notes = [f"{entry.name}: {entry.note}." for entry in entries if entry.note]
    notes += _not_measured([run for entry in entries for run in entry.runs], columns)
    rows = [
        JoinedRow(entry.name, {entry.runs[0].result.data.dataset: entry.runs})
        for entry in entries
        if entry.runs
    ]
    results = [run.result for entry in entries for run in entry.runs]
    seen = {split: images_of(result, split) for result in results for split in result.numbers}
    incomparable = [
        (part, seen[part.split])
        for part in parts
        if part.images is not None and part.split in seen and seen[part.split] != part.images
    ]
    sources = [(published, part) for part in parts] if published else []
    printed = [row for entry in entries for _, row in _printed_rows(parts, entry)]
    return notes + joined_notes(rows, columns, sources, printed, incomparable)


def _not_measured(runs: Sequence[Run], columns: Sequence[JoinedColumn]) -> list[str]:
    """Scores that the table asks for and no run has, because it was configured otherwise."""
    names = {
        name for run in runs for v in run.result.numbers.values() for n in v.values() for name in n
    }
    missing = [name for name in dict.fromkeys(c.metric for c in columns) if name not in names]
    if not runs or not missing:
        return []
    return [f"NOT MEASURED: {', '.join(missing)}; the runs have {', '.join(sorted(names))}."]
