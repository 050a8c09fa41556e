"""A run beside the rows that papers print: one table per split, or all splits in one."""

from collections.abc import Sequence

from rgbx.results.notes import (
    ablation_notes,
    choice_notes,
    protocol_notes,
    published_notes,
    size_warning,
)
from rgbx.results.published import SALIENCY, Published
from rgbx.results.record import TestResult
from rgbx.results.rows import (
    Column,
    comparison_of,
    measured,
    published_cell,
    ranked,
    unit_of,
)
from rgbx.results.tables import Row, Table, Unit, printed

__all__ = ["benchmark_table", "combined_tables"]

_LOWER_IS_BETTER = ("MAE", "BER")
_COMPACT = SALIENCY[:4]


def benchmark_table(
    result: TestResult,
    published: Published | None,
    split: str = "test",
    columns: Sequence[Column] | None = None,
) -> Table:
    """This run first, then the paper's own row, then its peers, best first.

    A published number stands in the column of the metric it is believed to be, so that no column
    mixes protocols. Numbers have the paper's unit (without a paper: saliency scores are fractions,
    others percent): this run's as percent with two decimals or as fractions with three, published
    ones as printed. An arrow marks scores of which less is better.

    Args:
        result: The run.
        published: The paper's numbers, or None for this run alone.
        split: Split of the run.
        columns: (metric, subset) pairs. By default ``miou`` and ``miou_image`` for every subset and
            ``macc`` overall; for saliency scores the four that papers print, then the others; for
            other results every metric overall.

    Returns:
        A table with the columns Method, Source, then the numbers; its notes give the protocol of
        each column and the one each published row is believed to use.
    """
    columns = tuple(columns or _default_columns(result, split))
    table = comparison_of(result, published, split)
    unit = unit_of(result, published if table else None, table)
    name = result.model.class_path.rpartition(".")[2]
    cells = (measured(result, split, column, unit) for column in columns)
    rows = [Row((name, "this run", *cells), own=True)]
    notes = protocol_notes(result, [metric for metric, _ in columns])
    if published and table:
        peers = ranked(table.rows, result)
        for row in peers:
            cells = (printed(row.number(*c), unit, table.decimals) for c in columns)
            rows.append(Row((row.method, "published", *cells)))
        notes = [*size_warning(result, table), *notes]
        notes += published_notes(published, [table], peers)
    notes = choice_notes(result) + notes + ablation_notes(published, result, split)
    headings = tuple(_heading(metric, subset, unit) for metric, subset in columns)
    title = f"{_place(result, split)}{' (%)' if unit == 'percent' else ''}"
    return Table(title, ("Method", "Source", *headings), tuple(rows), tuple(notes), text_columns=2)


def combined_tables(
    result: TestResult, published: Published | None, splits_per_table: int = 3
) -> list[Table]:
    """All splits of a saliency test side by side: S, max F, max E and MAE under each split's name.

    Rows are as in :func:`benchmark_table`, ranked by the first split of each table.

    Args:
        result: The run; its numbers must be saliency scores.
        published: The paper's numbers, or None for this run alone.
        splits_per_table: At most so many splits stand side by side; more make further tables of
            about equal width.
    """
    splits = list(result.numbers)
    count = -(-len(splits) // splits_per_table)
    size = -(-len(splits) // count)
    chunks = [splits[i : i + size] for i in range(0, len(splits), size)]
    return [_combined(result, published, chunk, chunk is chunks[0]) for chunk in chunks]


def _combined(
    result: TestResult, published: Published | None, splits: Sequence[str], first: bool
) -> Table:
    found = {split: comparison_of(result, published, split) for split in splits}
    tables = [table for table in found.values() if table]
    unit = unit_of(result, published if tables else None, tables[0] if tables else None)
    columns = [(split, metric) for split in splits for metric in _COMPACT]
    cells = (measured(result, split, (metric, "all"), unit) for split, metric in columns)
    rows = [Row(("this run", *cells), own=True)]
    peers = [row for table in tables for row in ranked(table.rows, result)]
    rows += [
        Row(
            (
                method,
                *(published_cell(found[split], method, metric, unit) for split, metric in columns),
            )
        )
        for method in dict.fromkeys(row.method for row in peers)
    ]
    notes = choice_notes(result)
    notes += [note for table in tables for note in size_warning(result, table, named=True)]
    if first:
        notes += protocol_notes(result, _COMPACT)
        if published and tables:
            notes += published_notes(published, tables, peers)
    return Table(
        title=f"{result.data.dataset}: {', '.join(splits)}",
        columns=("Method", *(_heading(metric, "all", unit) for _, metric in columns)),
        rows=tuple(rows),
        notes=tuple(notes),
        groups=tuple(split for split, _ in columns),
    )


def _default_columns(result: TestResult, split: str) -> list[Column]:
    numbers = result.numbers[split]
    saliency = [(metric, "all") for metric in SALIENCY if metric in numbers["all"]]
    if saliency:
        return saliency
    if "miou" not in numbers["all"]:
        return [(metric, "all") for metric in numbers["all"]]
    subsets = [*(name for name in numbers if name != "all"), "all"]
    both = [(metric, subset) for metric in ("miou", "miou_image") for subset in subsets]
    return [*both, ("macc", "all")]


def _heading(metric: str, subset: str, unit: Unit) -> str:
    name = f"{metric}↓" if metric in _LOWER_IS_BETTER else metric
    return name if unit == "fraction" and subset == "all" else f"{name} {subset}"


def _place(result: TestResult, split: str) -> str:
    """Name of what was tested: a split called "test" needs its data set's name beside it."""
    named_set = len(result.numbers) > 1 and split != "test"
    return split if named_set else f"{result.data.dataset} {split}"
