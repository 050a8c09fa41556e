"""Many tests as tables in the papers' shape: models, by data sets, by metrics."""

import dataclasses
import math
from collections.abc import Sequence

from rgbx.errors import RGBXError
from rgbx.results.columns import JoinedColumn, columns_of, comparisons_of, names_of, refuse_unknown
from rgbx.results.families import unit_of, units_shown
from rgbx.results.find import Run
from rgbx.results.joined_notes import joined_notes
from rgbx.results.load import published_of
from rgbx.results.printed_rows import PublishedLine, published_lines
from rgbx.results.protocols import by_protocol, images_of, refuse_conflicts
from rgbx.results.published import Published, PublishedTable
from rgbx.results.ranking import mean_of, places, rate_over_seeds
from rgbx.results.render.tables import Row, Table, Unit
from rgbx.results.series import JoinedRow, joined_rows, parts_of

__all__ = ["JoinedOptions", "joined_tables"]

Sources = list[tuple[Published, PublishedTable]]


@dataclasses.dataclass(frozen=True)
class JoinedOptions:
    """What a table of several runs shows.

    Attributes:
        metrics: Scores instead of the usual ones; "all" for every one.
        splits: Splits instead of all (or of the mean, where there is one).
        group: Make one table per protocol instead of refusing runs of different protocols.
        published: Which printed rows stand below: all, the papers' own methods, or none.
    """

    metrics: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    group: bool = False
    published: str = "all"


def joined_tables(runs: Sequence[Run], options: JoinedOptions = JoinedOptions()) -> list[Table]:
    """One table for each kind of scores and each lot of data sets that some model links.

    The best of every column is bold, the second best underlined.

    Rows are models, the mean over seeds with its standard deviation where there are several; the
    published rows of their papers stand below and take part in the ranking where they were scored
    on as many images.

    Args:
        runs: Results of tests.
        options: What to show.

    Raises:
        RGBXError: Runs of different protocols in one column, unless they are to be grouped; or a
            metric or split that no run has.
    """
    refuse_unknown(runs, options.metrics, options.splits)
    tables = []
    for members in parts_of(runs):
        wanted = _narrowed(options, members)
        if (options.metrics and not wanted.metrics) or (options.splits and not wanted.splits):
            continue  # nothing of what is asked for
        papers = _papers(members)
        columns = _columns(members, papers, wanted)
        if not columns and not options.metrics:
            raise RGBXError(
                f"There are no scores in {', '.join(str(run.path) for run in members)}."
            )
        shown = {column.place for column in columns}
        if not options.group:
            refuse_conflicts(members, shown)
        groups = by_protocol(members, shown)
        for number, group in enumerate(groups, 1):
            title = f", protocol {number} of {len(groups)}" if len(groups) > 1 else ""
            if found := _columns(group, papers, wanted):
                tables.append(_table(group, papers, found, options, title))
    if not tables:
        raise RGBXError(
            f"No run has {' or '.join(options.metrics)} in {' or '.join(options.splits)}."
        )
    return tables


def _narrowed(options: JoinedOptions, runs: Sequence[Run]) -> JoinedOptions:
    """The options without what only runs of another kind have."""
    splits, scores = names_of(runs)
    return dataclasses.replace(
        options,
        metrics=tuple(name for name in options.metrics if name in scores or name == "all"),
        splits=tuple(name for name in options.splits if name in splits),
    )


def _papers(runs: Sequence[Run]) -> list[Published]:
    files = {(run.result.paper, run.result.published): run.result for run in runs}
    return [paper for result in files.values() if (paper := published_of(result))]


def _sources(runs: Sequence[Run], papers: Sequence[Published]) -> Sources:
    return [(paper, t) for paper in papers for t in comparisons_of(paper.comparisons, runs)]


def _columns(
    runs: Sequence[Run], papers: Sequence[Published], options: JoinedOptions
) -> list[JoinedColumn]:
    tables = [table for _, table in _sources(runs, papers)]
    return columns_of(runs, tables, options.metrics, options.splits)


def _units(sources: Sources, columns: Sequence[JoinedColumn]) -> list[Unit]:
    """Of each column, next to what papers print for its split."""
    places: dict[tuple[str, str], list[tuple[Published, PublishedTable]]] = {}
    for paper, table in sources:
        places.setdefault((table.dataset, table.split), []).append((paper, table))
    return [unit_of(c.metric, places.get((c.dataset, c.split), ())) for c in columns]


def _table(
    runs: Sequence[Run],
    papers: Sequence[Published],
    columns: Sequence[JoinedColumn],
    options: JoinedOptions,
    title: str,
) -> Table:
    rows = joined_rows(runs)
    sources = _sources(runs, papers)
    shown = {(column.dataset, column.split) for column in columns}
    sources = [(p, t) for p, t in sources if (t.dataset, t.split) in shown]
    units = _units(sources, columns)
    lines = published_lines(sources, columns, units) if options.published != "none" else []
    if options.published == "own":
        lines = [line for line in lines if line.own]
    printed = [row for line in lines for row in line.rows]
    incomparable = _incomparable(runs, sources) if lines else []
    datasets = dict.fromkeys(column.dataset for column in columns)
    several = len(dict.fromkeys((c.dataset, c.split) for c in columns)) > len(datasets)
    groups = tuple(column.group(len(datasets) > 1, several) for column in columns)
    where = f" {columns[0].split}" if len(shown) == 1 else ""
    title = f"{', '.join(datasets)}{where}{title}"
    title, headings = units_shown(title, [column.heading for column in columns], units)
    return Table(
        title=title,
        columns=("Method", "Source", *headings),
        rows=_marked(_measured(rows, columns, units), lines, columns, incomparable, rows, units),
        notes=tuple(joined_notes(rows, columns, sources if lines else [], printed, incomparable)),
        text_columns=2,
        groups=groups if len(set(groups)) > 1 else (),
    )


def _measured(
    rows: Sequence[JoinedRow], columns: Sequence[JoinedColumn], units: Sequence[Unit]
) -> list[Row]:
    placed = list(zip(columns, units, strict=True))
    return [
        Row((row.label, _source(row), *(rate_over_seeds(_rates(row, c), u) for c, u in placed)))
        for row in rows
    ]


def _source(row: JoinedRow) -> str:
    counts = sorted({len(runs) for runs in row.runs.values()})
    if counts == [1]:
        return "rgbx"
    return f"rgbx, {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} seeds"


def _rates(row: JoinedRow, column: JoinedColumn) -> list[float]:
    """What the row's runs measured for a column, one number per seed."""
    return [
        run.result.numbers.get(column.split, {}).get(column.subset, {}).get(column.metric, math.nan)
        for run in row.runs.get(column.dataset, ())
    ]


def _incomparable(runs: Sequence[Run], sources: Sources) -> list[tuple[PublishedTable, int | None]]:
    """Published tables of another number of images than the runs saw, and how many those were."""
    found = []
    for _, table in sources:
        images = [
            images_of(run.result, table.split)
            for run in runs
            if run.result.data.dataset == table.dataset and table.split in run.result.numbers
        ]
        if table.possible_images and images and images[0] not in table.possible_images:
            found.append((table, images[0]))
    return found


def _marked(
    measured: Sequence[Row],
    lines: Sequence[PublishedLine],
    columns: Sequence[JoinedColumn],
    incomparable: Sequence[tuple[PublishedTable, int | None]],
    rows: Sequence[JoinedRow],
    units: Sequence[Unit],
) -> tuple[Row, ...]:
    """All rows, with the best and the second best of each column marked.

    Where published rows are not comparable, each part has a best of its own.
    """
    cells = [
        *measured,
        *(Row((line.method, line.source, *line.cells), published=True) for line in lines),
    ]
    apart = {(table.dataset, table.split) for table, _ in incomparable}
    best: list[list[int]] = [[] for _ in cells]
    second: list[list[int]] = [[] for _ in cells]
    for place, (column, unit) in enumerate(zip(columns, units, strict=True)):
        own = {i: _rounded(mean_of(_rates(row, column)), unit) for i, row in enumerate(rows)}
        found_in = (math.nan if line.inferred else line.rates[place] for line in lines)
        rates = enumerate(found_in, len(rows))
        printed = {i: _rounded(rate, unit) for i, rate in rates}
        together = (column.dataset, column.split) not in apart
        for ranked in (own | printed,) if together else (own, printed):
            for marks, found in zip((best, second), places(ranked, column.metric), strict=True):
                for i in found:
                    marks[i].append(place + 2)
    return tuple(
        dataclasses.replace(
            row, best=tuple(best[i]), second=tuple(second[i]), rule=i == len(rows) and i > 0
        )
        for i, row in enumerate(cells)
    )


def _rounded(rate: float, unit: Unit) -> float:
    """A rate as exact as tables print it, so that equal texts are equal in rank."""
    return rate if math.isnan(rate) else round(rate, 4 if unit == "percent" else 3)
