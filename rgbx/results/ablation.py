"""An ablation as one table: each row as rgbx measured it, above the same row as printed."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Literal

from rgbx.results.columns import Column
from rgbx.results.compare import Layout, compared
from rgbx.results.find import Run
from rgbx.results.lines import Line, measured_line, published_line
from rgbx.results.notes import notes_below
from rgbx.results.protocols import conflicts
from rgbx.results.published import Published, PublishedTable
from rgbx.results.render.tables import Table
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
    sources = [(published, part) for part in parts] if published else []
    splits = splits or list(dict.fromkeys(part.split for part in parts))
    runs = [run for entry in entries for run in entry.runs]
    splits = splits or list(dict.fromkeys(s for run in runs for s in run.result.numbers))
    columns = [Column(dataset, split, "all", metric) for split in splits for metric in metrics]
    lines: list[Line] = []
    for entry in entries:
        lines.append(measured_line(entry.name, "rgbx", entry.runs, columns))
        name = entry.published or entry.name
        printed = [(p, t, row) for p, t in sources for row in t.rows if row.method == name]
        lines += [published_line(entry.name, printed, columns)] if printed else []
    groups = tuple(column.group(False, len(splits) > 1) for column in columns)
    layout = Layout(
        title,
        ("Row", "Source"),
        [column.heading for column in columns],
        groups if len(set(groups)) > 1 else (),
        rules=[i for i, line in enumerate(lines) if i and sources and not line.rows],
    )
    disagreement = conflicts(runs, {column.place for column in columns})
    rows = [JoinedRow(e.name, {dataset: e.runs}) for e in entries if e.runs]
    notes = [f"{entry.name}: {entry.note}." for entry in entries if entry.note]
    notes += _not_measured(runs, columns)
    notes += notes_below(rows, columns, sources, [line for line in lines if line.rows])
    if disagreement:
        files = f"{disagreement[0].first[0].path} and {disagreement[0].second[0].path}"
        notes.insert(0, f"NOT COMPARABLE: the rows follow different protocols ({files}).")
    apart = [(dataset, split) for split in splits]
    bold: Literal["none", "best"] = "none" if disagreement else "best"
    return compared(layout, lines, columns, sources, notes, bold, apart)


def _not_measured(runs: Sequence[Run], columns: Sequence[Column]) -> list[str]:
    """Scores that the table asks for and no run has, because it was configured otherwise."""
    names = {
        name for run in runs for v in run.result.numbers.values() for n in v.values() for name in n
    }
    missing = [name for name in dict.fromkeys(c.metric for c in columns) if name not in names]
    if not runs or not missing:
        return []
    return [f"NOT MEASURED: {', '.join(missing)}; the runs have {', '.join(sorted(names))}."]
