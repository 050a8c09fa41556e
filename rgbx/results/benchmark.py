"""A run next to the rows that papers print: one table per split, or all splits in one."""

from collections.abc import Sequence

from rgbx.metrics.catalogue import INPUT, metric_info
from rgbx.results.families import compact_metrics, groups_of, units_shown
from rgbx.results.notes import (
    ablation_notes,
    choice_notes,
    inferred_notes,
    protocol_notes,
    published_notes,
    size_warning,
)
from rgbx.results.published import OVERALL, Published, PublishedRow
from rgbx.results.records import TestResult
from rgbx.results.render.tables import TERMINAL, Row, Table, printed, width_of
from rgbx.results.rows import (
    Column,
    comparison_of,
    measured,
    published_cell,
    ranked,
    units_of,
)

__all__ = ["benchmark_table", "benchmark_tables", "combined_tables"]


def benchmark_tables(
    result: TestResult, published: Published | None, split: str = "test"
) -> list[Table]:
    """:func:`benchmark_table` of every family of scores and every size that a split has."""
    groups = groups_of(result.numbers[split]["all"])
    if len(groups) < 2:
        return [benchmark_table(result, published, split)]
    columns = [[(metric, "all") for metric in group.metrics] for group in groups]
    return [
        benchmark_table(result, published, split, chosen, group.title)
        for group, chosen in zip(groups, columns, strict=True)
    ]


def benchmark_table(
    result: TestResult,
    published: Published | None,
    split: str = "test",
    columns: Sequence[Column] | None = None,
    title: str = "",
) -> Table:
    """This run first, then the paper's own row, then its peers, best first; inferred rows last.

    A published number stands in the column of the metric it is assumed to be, so that no column
    mixes protocols. Numbers have the unit of `rgbx.results.families.unit_of`: this run's as percent
    with two decimals or as fractions with three, published ones as printed. An arrow marks scores
    of which less is better. Rows without a number in any of the columns are left out.

    Args:
        result: The run.
        published: The paper's numbers, or None for this run alone.
        split: Split of the run.
        columns: (metric, subset) pairs. By default ``miou`` and ``miou_image`` for every subset and
            ``macc`` overall; for scores of maps those of the first family, the ones that papers
            print before the others; for other results every metric overall.
        title: What the columns are, if the split has several tables.

    Returns:
        A table with the columns Method, Source, then the numbers; its notes give the protocol of
        each column and the one each published row is assumed to use.
    """
    columns = tuple(columns or _default_columns(result, split))
    metrics = [metric for metric, _ in columns]
    table = comparison_of(result, published, split)
    peers = _with_numbers(ranked(table.rows, result), columns) if table else []
    units = units_of([(split, metric) for metric in metrics], result, published)
    name = result.model.class_path.rpartition(".")[2]
    cells = (measured(result, split, c, u) for c, u in zip(columns, units, strict=True))
    rows = [Row((name, "this run", *cells), own=True)]
    notes = protocol_notes(result, [*metrics, *[OVERALL] * (split == OVERALL)])
    if published and table and peers:
        for row in peers:
            numbers = zip(columns, units, strict=True)
            cells = (printed(row.number(*c), u, table.decimals) for c, u in numbers)
            rows.append(Row((row.method, row.origin, *cells)))
        notes = [*size_warning(result, table), *notes]
        notes += published_notes(published, [table], peers)
    notes = choice_notes(result) + notes + ablation_notes(published, result, split)
    suffix = _common_suffix(metrics)
    headings = [_heading(m.removesuffix(suffix), subset) for m, subset in columns]
    parts = (_place(result, split), title or "at network size" * bool(suffix), suffix)
    place, marked = units_shown(", ".join(filter(None, parts)), headings, units)
    return Table(place, ("Method", "Source", *marked), tuple(rows), tuple(notes), text_columns=2)


def combined_tables(
    result: TestResult, published: Published | None, splits_per_table: int = 3
) -> list[Table]:
    """All splits of a test of maps side by side: a few scores under each split's name.

    Of saliency the four that the paper's rows print, or S, max F, max E and MAE; of several
    families two each. Rows are as in :func:`benchmark_table`, ranked by the first split of each
    table. Scores at network size make tables of their own.

    Args:
        result: The run; its numbers must be scores of maps.
        published: The paper's numbers, or None for this run alone.
        splits_per_table: At most so many splits stand side by side, fewer if a terminal of 80
            characters asks for it; more make further tables of about equal width.
    """
    splits = list(result.numbers)
    count = -(-len(splits) // splits_per_table)
    size = -(-len(splits) // count)
    chunks = [splits[i : i + size] for i in range(0, len(splits), size)]
    groups = groups_of(result.numbers[splits[0]]["all"])
    found = (comparison_of(result, published, split) for split in splits)
    tables = [table for table in found if table]
    combined = [
        _combined(result, published, chunk, metrics, chunk is chunks[0])
        for suffix in dict.fromkeys(group.suffix for group in groups)
        for metrics in [compact_metrics(groups, suffix, tables)]
        for chunk in chunks
    ]
    if size > 1 and any(width_of(table) > TERMINAL for table in combined):
        return combined_tables(result, published, size - 1)
    return combined


def _combined(
    result: TestResult,
    published: Published | None,
    splits: Sequence[str],
    metrics: Sequence[str],
    first: bool,
) -> Table:
    found = {split: comparison_of(result, published, split) for split in splits}
    shown = [(metric, "all") for metric in metrics]
    peers = {
        split: _with_numbers(ranked(table.rows, result), shown)
        for split, table in found.items()
        if table
    }
    rows_shown = [row for rows in peers.values() for row in rows]
    tables = [table for split, table in found.items() if table and peers[split]]
    columns = [(split, metric) for split in splits for metric in metrics]
    units = units_of(columns, result, published)
    placed = list(zip(columns, units, strict=True))
    cells = (measured(result, split, (metric, "all"), u) for (split, metric), u in placed)
    rows = [Row(("this run", *cells), own=True)]
    inferred = {row.method: row.inferred for row in rows_shown}
    for method in sorted(inferred, key=inferred.__getitem__):
        cells = (published_cell(found[split], method, metric, u) for (split, metric), u in placed)
        rows.append(Row((f"{method}{' (inferred)' * inferred[method]}", *cells)))
    notes = choice_notes(result)
    notes += [note for table in tables for note in size_warning(result, table, named=True)]
    if first:
        notes += protocol_notes(result, [*metrics, *[OVERALL] * (OVERALL in result.numbers)])
        if published and tables:
            notes += published_notes(published, tables, rows_shown)
    else:
        notes += inferred_notes(rows_shown)
    suffix = _common_suffix(metrics)
    headings = [_heading(metric.removesuffix(suffix), "all") for _, metric in columns]
    place = f"{result.data.dataset}: {', '.join(splits)}"
    place = f"{place}; at network size, {suffix}" if suffix else place
    title, marked = units_shown(place, headings, units)
    return Table(
        title=title,
        columns=("Method", *marked),
        rows=tuple(rows),
        notes=tuple(notes),
        groups=tuple(split for split, _ in columns),
    )


def _with_numbers(rows: Sequence[PublishedRow], columns: Sequence[Column]) -> list[PublishedRow]:
    """The rows that have something in one of the columns."""
    return [row for row in rows if any(row.number(*column) is not None for column in columns)]


def _default_columns(result: TestResult, split: str) -> list[Column]:
    numbers = result.numbers[split]
    groups = groups_of(numbers["all"])
    if groups:
        return [(metric, "all") for metric in groups[0].metrics]
    if "miou" not in numbers["all"]:
        return [(metric, "all") for metric in numbers["all"]]
    subsets = [*(name for name in numbers if name != "all"), "all"]
    both = [(metric, subset) for metric in ("miou", "miou_image") for subset in subsets]
    return [*both, ("macc", "all")]


def _common_suffix(metrics: Sequence[str]) -> str:
    """The suffix "@input" if all scores are at the size of the network's input."""
    return INPUT if all(metric.endswith(INPUT) for metric in metrics) else ""


def _heading(metric: str, subset: str) -> str:
    name = metric if metric_info(metric).higher_is_better else f"{metric}↓"
    bare = bool(groups_of({metric: 0}))  # papers print one number of a map's score
    return name if bare and subset == "all" else f"{name} {subset}"


def _place(result: TestResult, split: str) -> str:
    """Name of what was tested: a split called "test" needs its data set's name next to it."""
    named_set = len(result.numbers) > 1 and split != "test"
    return split if named_set else f"{result.data.dataset} {split}"
