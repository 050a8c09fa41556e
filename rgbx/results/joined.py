"""Many tests as tables in the papers' shape: models, by data sets, by metrics."""

import dataclasses
import itertools
from collections.abc import Sequence

from rgbx.errors import RGBXError
from rgbx.results.columns import Column, columns_of, comparisons_of, names_of, refuse_unknown
from rgbx.results.compare import Layout, compared, sources_of
from rgbx.results.find import Run
from rgbx.results.lines import measured_line, published_lines
from rgbx.results.load import published_of
from rgbx.results.notes import notes_below, unequal_images
from rgbx.results.protocols import by_protocol, refuse_conflicts
from rgbx.results.published import Published
from rgbx.results.render.tables import Table
from rgbx.results.series import JoinedRow, joined_rows, parts_of

__all__ = ["JoinedOptions", "joined_tables"]


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


def _columns(
    runs: Sequence[Run], papers: Sequence[Published], options: JoinedOptions
) -> list[Column]:
    tables = [t for paper in papers for t in comparisons_of(paper.comparisons, runs)]
    return columns_of(runs, tables, options.metrics, options.splits)


def _table(
    runs: Sequence[Run],
    papers: Sequence[Published],
    columns: Sequence[Column],
    options: JoinedOptions,
    title: str,
) -> Table:
    rows = joined_rows(runs)
    sources = sources_of(papers, runs, columns)
    lines = published_lines(sources, columns, runs) if options.published != "none" else []
    if options.published == "own":
        lines = [line for line in lines if line.own]
    measured = [
        measured_line(row.label, _source(row), itertools.chain(*row.runs.values()), columns)
        for row in rows
    ]
    splits = dict.fromkeys((column.dataset, column.split) for column in columns)
    datasets = dict.fromkeys(column.dataset for column in columns)
    groups = tuple(c.group(len(datasets) > 1, len(splits) > len(datasets)) for c in columns)
    where = f" {columns[0].split}" if len(splits) == 1 else ""
    layout = Layout(
        f"{', '.join(datasets)}{where}{title}",
        ("Method", "Source"),
        [column.heading for column in columns],
        groups if len(set(groups)) > 1 else (),
        rules=[len(measured)],
    )
    apart = unequal_images(rows, [table for _, table in sources]) if lines else []
    return compared(
        layout,
        [*measured, *lines],
        columns,
        sources,
        notes_below(rows, columns, sources, lines),
        "best",
        [(t.dataset, t.split) for t, _ in apart],
    )


def _source(row: JoinedRow) -> str:
    counts = sorted({len(runs) for runs in row.runs.values()})
    if counts == [1]:
        return "rgbx"
    return f"rgbx, {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} seeds"
