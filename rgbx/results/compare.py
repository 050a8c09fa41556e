"""The one way from results to a table: columns, lines under them, their order, their text.

`rgbx test`, `rgbx table`, `rgbx ablate` and the report choose what stands in a table; this module
makes it.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

from rgbx.results.columns import Column, comparisons_of
from rgbx.results.families import unit_of, units_shown
from rgbx.results.find import Run
from rgbx.results.lines import Line, Sources
from rgbx.results.published import Published
from rgbx.results.ranking import places
from rgbx.results.render.tables import Row, Table, Unit

__all__ = ["Layout", "compared", "sources_of"]


@dataclasses.dataclass(frozen=True)
class Layout:
    """What is written around the numbers of a table.

    Attributes:
        title: Stands above, before the unit.
        heads: Headings of the columns of text: the line's label, and its source if there are two.
        headings: Of the columns of numbers.
        groups: What stands above them, empty if nothing does.
        rules: Lines (from 0) with a thin line above.
    """

    title: str
    heads: tuple[str, ...]
    headings: Sequence[str]
    groups: tuple[str, ...] = ()
    rules: Sequence[int] = ()


def sources_of(
    papers: Sequence[Published], runs: Sequence[Run], columns: Sequence[Column]
) -> Sources:
    """The printed tables that belong next to the runs, of the splits that are shown."""
    shown = {(column.dataset, column.split) for column in columns}
    return [
        (paper, table)
        for paper in papers
        for table in comparisons_of(paper.comparisons, runs)
        if (table.dataset, table.split) in shown
    ]


def compared(
    layout: Layout,
    lines: Sequence[Line],
    columns: Sequence[Column],
    sources: Sources,
    notes: Sequence[str],
    bold: Literal["best", "run", "none"] = "none",
    apart: Sequence[tuple[str, str]] = (),
) -> Table:
    """Lines as a table in the units of the papers next to them.

    Args:
        layout: What is written around the numbers.
        lines: In the order shown.
        columns: What stands under each heading.
        sources: Printed tables of the splits; they decide the units.
        notes: Sentences below.
        bold: What stands out: the best of every column (and the second best underlined), the
            measured lines, or nothing.
        apart: The (data set, split) pairs where measured and printed numbers are ranked each on
            their own.
    """
    of_split = [
        [(p, t) for p, t in sources if (t.dataset, t.split) == (c.dataset, c.split)]
        for c in columns
    ]
    units = [unit_of(c.metric, found) for c, found in zip(columns, of_split, strict=True)]
    title, headings = units_shown(layout.title, layout.headings, units)
    rows = []
    for number, line in enumerate(lines):
        numbers = [line.text(place, unit) for place, unit in enumerate(units)]
        heads = (line.label, line.source)[: len(layout.heads)]
        rows.append(
            Row(
                (*heads, *numbers),
                own=bold == "run" and not line.rows,
                published=bold != "run" and bool(line.rows),
                rule=number in layout.rules,
            )
        )
    if bold == "best":
        rows = _with_best(rows, lines, columns, units, apart, len(layout.heads))
    return Table(
        title=title,
        columns=(*layout.heads, *headings),
        rows=tuple(rows),
        notes=tuple(notes),
        text_columns=len(layout.heads),
        groups=layout.groups,
    )


def _with_best(
    rows: Sequence[Row],
    lines: Sequence[Line],
    columns: Sequence[Column],
    units: Sequence[Unit],
    apart: Sequence[tuple[str, str]],
    first: int,
) -> list[Row]:
    """The rows with the best and the second best of each column, of equal texts all."""
    best: list[list[int]] = [[] for _ in rows]
    second: list[list[int]] = [[] for _ in rows]
    for place, (column, unit) in enumerate(zip(columns, units, strict=True)):
        numbers = {
            i: _rounded(line.rate(place), unit) for i, line in enumerate(lines) if not line.inferred
        }
        own = {i: number for i, number in numbers.items() if not lines[i].rows}
        printed = {i: number for i, number in numbers.items() if lines[i].rows}
        together = (column.dataset, column.split) not in apart
        for ranked in (numbers,) if together else (own, printed):
            for marks, found in zip((best, second), places(ranked, column.metric), strict=True):
                for i in found:
                    marks[i].append(first + place)
    return [
        dataclasses.replace(row, best=tuple(best[i]), second=tuple(second[i]))
        for i, row in enumerate(rows)
    ]


def _rounded(rate: float, unit: Unit) -> float:
    """A rate as exact as tables print it, so that equal texts are equal in rank."""
    return rate if math.isnan(rate) else round(rate, 4 if unit == "percent" else 3)
