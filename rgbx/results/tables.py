"""Tables as plain text cells: a run beside the published rows, and its classes one by one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rgbx.results.published import Published, PublishedRow, PublishedTable
from rgbx.results.record import TestResult

__all__ = ["Row", "Table", "benchmark_table", "class_table"]

MISSING = "-"
Column = tuple[str, str]  # metric, subset


@dataclass(frozen=True)
class Row:
    """One line of cells; ``own`` marks what this run measured."""

    cells: tuple[str, ...]
    own: bool = False


@dataclass(frozen=True)
class Table:
    """A table without a format yet.

    Attributes:
        title: One line above it.
        columns: Headings.
        rows: The lines, each as long as ``columns``.
        notes: Sentences below it.
        text_columns: How many columns from the left hold text; the others are numbers.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    text_columns: int = 1


def benchmark_table(
    result: TestResult,
    published: Published | None,
    split: str = "test",
    columns: Sequence[Column] | None = None,
) -> Table:
    """This run first, then the paper's own row, then its peers, best overall number first.

    A published number stands in the column of the metric it is believed to be, so that no column
    mixes protocols. All numbers are percent: this run's with two decimals, published ones as
    printed.

    Args:
        result: The run.
        published: The paper's numbers, or None for this run alone.
        split: Split of the run.
        columns: (metric, subset) pairs. By default ``miou`` and ``miou_image`` for every subset and
            ``macc`` overall; for results without ``miou`` every metric overall.

    Returns:
        A table with the columns Method, Source, then the numbers; its notes give the protocol of
        each column and the one each published row is believed to use.
    """
    columns = tuple(columns or _default_columns(result, split))
    numbers = result.numbers[split]
    name = result.model.class_path.rpartition(".")[2]
    measured = [_percent(numbers.get(sub, {}).get(metric, math.nan)) for metric, sub in columns]
    rows = [Row((name, "this run", *measured), own=True)]
    metrics = tuple(dict.fromkeys(metric for metric, _ in columns))
    notes = [f"{m}: {result.protocol[m]}." for m in metrics if m in result.protocol]

    table = published.comparison(result.data.dataset, split) if published else None
    if published and table:
        peers = sorted(table.rows, key=lambda row: (not row.own, -row.values["all"]))
        rows += [_published_row(row, columns, table.decimals) for row in peers]
        notes = [*_size_warning(result, table), *notes]
        notes += _published_notes(published, table, peers)
    headings = tuple(f"{metric} {subset}" for metric, subset in columns)
    title = f"{result.data.dataset} {split} (%)"
    return Table(title, ("Method", "Source", *headings), tuple(rows), tuple(notes), text_columns=2)


def class_table(result: TestResult, split: str = "test", subset: str = "all") -> Table:
    """IoU, accuracy (percent) and target pixels of every class, and their means.

    Args:
        result: The run; its scores must be per class.
        split: Split of the run.
        subset: Subset of the split.
    """
    scores = result.classes[split][subset]
    numbers = result.numbers[split][subset]
    rows = [
        Row((score.name, _percent(score.iou), _percent(score.accuracy), str(score.support)))
        for score in scores
    ]
    means = (_percent(numbers["miou"]), _percent(numbers["macc"]))
    rows.append(Row(("mean", *means, str(sum(score.support for score in scores))), own=True))
    notes = (
        "Support: target pixels of the class; a class without support rests on false positives "
        f"alone. {MISSING}: absent from target and prediction (IoU) or target (accuracy).",
    )
    title = f"{result.data.dataset} {split}, {subset}, per class (%)"
    return Table(title, ("Class", "IoU", "Accuracy", "Support"), tuple(rows), notes)


def _default_columns(result: TestResult, split: str) -> list[Column]:
    numbers = result.numbers[split]
    if "miou" not in numbers["all"]:
        return [(metric, "all") for metric in numbers["all"]]
    subsets = [*(name for name in numbers if name != "all"), "all"]
    both = [(metric, subset) for metric in ("miou", "miou_image") for subset in subsets]
    return [*both, ("macc", "all")]


def _percent(rate: float) -> str:
    return MISSING if math.isnan(rate) else f"{100 * rate:.2f}"


def _published_row(row: PublishedRow, columns: Sequence[Column], decimals: int) -> Row:
    cells = [
        f"{row.values[subset]:.{decimals}f}"
        if metric == row.believed and subset in row.values
        else MISSING
        for metric, subset in columns
    ]
    return Row((row.method, "published", *cells))


def _published_notes(
    published: Published, table: PublishedTable, rows: Sequence[PublishedRow]
) -> list[str]:
    notes = [
        f"published: printed in Table {table.table} of the {published.paper} paper, not reproduced "
        "with rgbx."
    ]
    for metric in dict.fromkeys(row.believed for row in rows):
        methods = ", ".join(row.method for row in rows if row.believed == metric)
        notes.append(f"published and believed to be {metric}: {methods}.")
    if table.note:
        notes.append(f"{_capital(table.note)}.")
    for text in dict.fromkeys(row.note for row in rows if row.note):
        methods = ", ".join(row.method for row in rows if row.note == text)
        notes.append(f"{methods} (published): {text}.")
    return notes


def _size_warning(result: TestResult, table: PublishedTable) -> list[str]:
    """Generated or partial data carries the data set's name but not its numbers."""
    images = result.data.split_sizes.get(table.split)
    if table.images is None or images == table.images:
        return []
    return [
        f"NOT COMPARABLE: this run was scored on {images} images, the published rows on "
        f"{table.images}."
    ]


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
