"""Rows of a table before they are text: records under columns, measured or printed alike."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence

from rgbx.results.columns import Column
from rgbx.results.find import Run
from rgbx.results.published import Published, PublishedRow, PublishedTable
from rgbx.results.ranking import mean_of, rate_over_seeds
from rgbx.results.render.tables import MISSING, Unit, printed
from rgbx.results.tidy import Record, measured_records, printed_records

__all__ = ["Line", "Sources", "measured_line", "published_line", "published_lines"]

Sources = Sequence[tuple[Published, PublishedTable]]


@dataclasses.dataclass(frozen=True)
class Line:
    """One method.

    Attributes:
        label: Its name, with what tells it from others of that name.
        source: Where its numbers are from, in a word or two.
        records: For each column its records: one per seed of what was measured, one of what is
            printed, none where there is nothing.
        rows: What a printed line was made from; empty for a measured one.
    """

    label: str
    source: str
    records: tuple[tuple[Record, ...], ...]
    rows: tuple[PublishedRow, ...] = ()

    @property
    def own(self) -> bool:
        """Whether it is a paper's own method."""
        return any(row.own for row in self.rows)

    @property
    def inferred(self) -> bool:
        """Whether a number of it is printed nowhere; such a line is not ranked."""
        return any(row.inferred for row in self.rows)

    def rate(self, place: int) -> float:
        """Rate in [0, 1] under a column, the mean over seeds; NaN where there is nothing."""
        return mean_of([record.value for record in self.records[place]])

    def text(self, place: int, unit: Unit) -> str:
        """What stands under a column: measured with the decimals of rgbx, printed as printed."""
        found = self.records[place]
        if not self.rows:
            return rate_over_seeds([record.value for record in found], unit)
        if not found:
            return MISSING
        value, decimals = found[0].value, found[0].decimals or 0
        if unit == "percent":
            value, decimals = 100 * value, max(0, decimals - 2)
        return printed(value, unit, decimals)


def measured_line(label: str, source: str, runs: Iterable[Run], columns: Sequence[Column]) -> Line:
    """What runs of one model measured, one of them for each data set and seed."""
    records = [record for run in runs for record in measured_records(run)]
    return Line(label, source, _placed(records, columns))


def published_line(
    label: str,
    rows: Iterable[tuple[Published, PublishedTable, PublishedRow]],
    columns: Sequence[Column],
) -> Line:
    """Rows of one method in one or several printed tables; the first number of a column counts."""
    rows = list(rows)
    records = [record for source in rows for record in printed_records(*source, maybe=True)]
    placed = tuple(found[:1] for found in _placed(records, columns))
    own = tuple(row for _, _, row in rows)
    return Line(label, "inferred" if any(r.inferred for r in own) else "published", placed, own)


def published_lines(
    sources: Sources, columns: Sequence[Column], runs: Sequence[Run] = ()
) -> list[Line]:
    """The methods that papers print a number of under one of the columns, in order.

    A method that two papers print different numbers for has a line for each of them.

    Args:
        sources: The printed tables.
        columns: Of the table that is made.
        runs: What was measured: of the variants of a paper's own method theirs comes first.

    Returns:
        The papers' own methods first, then the others, best first, by the first column of a whole
        split that has a number; inferred ones last.
    """
    papers: dict[str, dict[str, list[tuple[Published, PublishedTable, PublishedRow]]]] = {}
    for paper, table in sources:
        for row in table.rows:
            found = papers.setdefault(row.method, {}).setdefault(paper.paper, [])
            found.append((paper, table, row))
    lines = []
    for method, by_paper in papers.items():
        apart = [published_line(f"{method} ({p})", r, columns) for p, r in by_paper.items()]
        together = published_line(method, itertools.chain(*by_paper.values()), columns)
        lines += [together] if all(_agree(together, line) for line in apart) else apart
    shown = [line for line in lines if any(line.records)]
    arguments = [run.result.model.hyper_parameters for run in runs]
    return sorted(shown, key=lambda line: _rank(line, columns, arguments))


def _rank(
    line: Line, columns: Sequence[Column], arguments: Sequence[dict]
) -> tuple[bool, bool, bool, int, float]:
    splits = list(dict.fromkeys((column.dataset, column.split) for column in columns))
    whole = [place for place, column in enumerate(columns) if column.subset == "all"]
    place = next(p for p in (*whole, *range(len(columns))) if line.records[p])
    record = line.records[place][0]
    split = splits.index((record.data, record.split))
    other = line.own and not any(row.made_by(a) for row in line.rows for a in arguments)
    value = -record.value if record.higher_is_better else record.value
    return line.inferred, not line.own, other, split, value


def _placed(records: Iterable[Record], columns: Sequence[Column]) -> tuple[tuple[Record, ...], ...]:
    """The records that belong under each column, without those that say nothing."""
    found: dict[Column, list[Record]] = {}
    for record in records:
        if not record.class_name and not math.isnan(record.value):
            place = Column(record.data, record.split, record.subset, record.metric)
            found.setdefault(place, []).append(record)
    return tuple(tuple(found.get(column, ())) for column in columns)


def _agree(a: Line, b: Line) -> bool:
    """Whether two lines print the same where both print something."""
    pairs = [(x[0], y[0]) for x, y in zip(a.records, b.records, strict=True) if x and y]
    return all((x.value, x.decimals) == (y.value, y.decimals) for x, y in pairs)
