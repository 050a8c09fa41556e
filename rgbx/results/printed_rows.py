"""Published rows of one or several papers, laid under the columns of a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rgbx.results.columns import JoinedColumn
from rgbx.results.published import Published, PublishedRow, PublishedTable
from rgbx.results.render.tables import MISSING, Unit, printed

__all__ = ["PublishedLine", "printed_number", "published_lines"]


@dataclass(frozen=True)
class PublishedLine:
    """One method as papers print it.

    Attributes:
        method: Its name; with the paper's where two papers print different numbers.
        own: Whether it is a paper's own method.
        cells: Text of each column.
        rates: The same as rates in [0, 1]; NaN where nothing is printed.
        rows: What it was made from.
    """

    method: str
    own: bool
    cells: tuple[str, ...]
    rates: tuple[float, ...]
    rows: tuple[PublishedRow, ...]

    @property
    def inferred(self) -> bool:
        """Whether a number of it is printed nowhere; such a line is not ranked."""
        return any(row.inferred for row in self.rows)

    @property
    def source(self) -> str:
        """Where it is from, in one word."""
        return "inferred" if self.inferred else "published"


def printed_number(
    paper: Published, table: PublishedTable, row: PublishedRow, column: JoinedColumn, unit: Unit
) -> tuple[str, float]:
    """A printed number in the unit of the table it is shown in, and as a rate in [0, 1]."""
    if (table.dataset, table.split) != (column.dataset, column.split):
        return MISSING, math.nan
    number = row.number(column.metric, column.subset)
    if number is None:
        return MISSING, math.nan
    own_unit, decimals = paper.unit_of(table), table.decimals
    rate = number / 100 if own_unit == "percent" else number
    if own_unit != unit:
        number = number * 100 if unit == "percent" else rate
        decimals = max(0, decimals + (2 if unit == "fraction" else -2))
    return printed(number, unit, decimals), rate


def published_lines(
    sources: Sequence[tuple[Published, PublishedTable]],
    columns: Sequence[JoinedColumn],
    units: Sequence[Unit],
) -> list[PublishedLine]:
    """Own methods of the papers first, then the others, best first; those with a number here."""
    lines: dict[tuple[str, str], PublishedLine] = {}
    placed = list(zip(columns, units, strict=True))
    for paper, table in sources:
        for row in table.rows:
            texts = [printed_number(paper, table, row, column, unit) for column, unit in placed]
            cells, rates = zip(*texts, strict=True)
            new = PublishedLine(row.method, row.own, cells, rates, (row,))
            key = (paper.paper, row.method)
            lines[key] = _together(lines[key], new) if key in lines else new
    merged = _merged(lines)
    shown = [line for line in merged if any(cell != MISSING for cell in line.cells)]
    splits = list(dict.fromkeys((column.dataset, column.split) for column in columns))
    whole = [place for place, column in enumerate(columns) if column.subset == "all"]

    def rank(line: PublishedLine) -> tuple[bool, int, float]:
        """Own methods first; then by the first column of a whole split that has a number."""
        numbers = [(place, line.rates[place]) for place in (*whole, *range(len(columns)))]
        place, rate = next((p, rate) for p, rate in numbers if not math.isnan(rate))
        split = columns[place].dataset, columns[place].split
        return not line.own, splits.index(split), -rate

    return sorted(shown, key=rank)


def _merged(lines: dict[tuple[str, str], PublishedLine]) -> list[PublishedLine]:
    """One line per method, or one per paper where two papers print different numbers for it."""
    by_method: dict[str, dict[str, PublishedLine]] = {}
    for (paper, method), line in lines.items():
        by_method.setdefault(method, {})[paper] = line
    found = []
    for method, papers in by_method.items():
        together: PublishedLine | None = None
        for line in papers.values():
            if together is None or _agree(together, line):
                together = line if together is None else _together(together, line)
            else:
                together = None
                break
        if together is not None:
            found.append(together)
        else:
            found += [
                PublishedLine(f"{method} ({paper})", line.own, line.cells, line.rates, line.rows)
                for paper, line in papers.items()
            ]
    return found


def _agree(a: PublishedLine, b: PublishedLine) -> bool:
    pairs = zip(a.cells, b.cells, strict=True)
    return all(MISSING in (x, y) or x == y for x, y in pairs)


def _together(a: PublishedLine, b: PublishedLine) -> PublishedLine:
    """Two parts of one line: the first's numbers, the second's where it has none."""
    cells = tuple(y if x == MISSING else x for x, y in zip(a.cells, b.cells, strict=True))
    rates = tuple(y if math.isnan(x) else x for x, y in zip(a.rates, b.rates, strict=True))
    return PublishedLine(a.method, a.own or b.own, cells, rates, (*a.rows, *b.rows))
