"""Tables as plain text cells, and a run's classes one by one."""

import math
from dataclasses import dataclass
from typing import Literal

from rgbx.results.records import TestResult

__all__ = [
    "DEVIATION",
    "MISSING",
    "TERMINAL",
    "Row",
    "Table",
    "Unit",
    "class_table",
    "printed",
    "rate_text",
    "width_of",
]

MISSING = "-"
TERMINAL = 80  # characters
DEVIATION = " ± "  # between a mean over seeds and its standard deviation
Unit = Literal["percent", "fraction"]


@dataclass(frozen=True)
class Row:
    """One line of cells.

    Attributes:
        cells: The texts.
        own: Whether this is what the run measured; shown in bold.
        best: Places of the cells that are the best of their columns; shown in bold.
        second: Places of the second best; shown underlined.
        published: Whether a paper printed this line; shown set back.
        rule: Whether a thin line stands above it.
    """

    cells: tuple[str, ...]
    own: bool = False
    best: tuple[int, ...] = ()
    second: tuple[int, ...] = ()
    published: bool = False
    rule: bool = False


@dataclass(frozen=True)
class Table:
    """A table without a format yet.

    Attributes:
        title: One line above it.
        columns: Headings.
        rows: The lines, each as long as ``columns``.
        notes: Sentences below it.
        text_columns: How many columns from the left hold text; the others are numbers.
        groups: Name of the group of each number column, or empty; neighbours of one group stand
            under one heading.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    text_columns: int = 1
    groups: tuple[str, ...] = ()

    @property
    def spans(self) -> list[tuple[str, int, int]]:
        """Group, first column and the one after its last, from left to right."""
        found: list[tuple[str, int, int]] = []
        for place, group in enumerate(self.groups, self.text_columns):
            if found and found[-1][0] == group:
                found[-1] = (group, found[-1][1], place + 1)
            else:
                found.append((group, place, place + 1))
        return found

    @property
    def full_headings(self) -> tuple[str, ...]:
        """Headings that stand alone: the group's name before each of its columns."""
        if not self.groups:
            return self.columns
        groups = ("",) * self.text_columns + self.groups
        pairs = zip(groups, self.columns, strict=True)
        return tuple(f"{group} {name}".strip() for group, name in pairs)


def width_of(table: Table) -> int:
    """Characters that the table takes, with one between columns and one more before each group."""
    lines = [table.columns, *(row.cells for row in table.rows)]
    widths = [max(len(line[i]) for line in lines) + 1 for i in range(len(table.columns))]
    text = table.text_columns if table.groups else len(widths)
    groups = (max(sum(widths[a:b]), len(name)) + 1 for name, a, b in table.spans)
    return sum(widths[:text]) + sum(groups) - 1


def rate_text(rate: float, unit: Unit) -> str:
    """A rate in [0, 1] that this run measured: percent with two decimals, or ".934", "1.00"."""
    if math.isnan(rate):
        return MISSING
    return f"{100 * rate:.2f}" if unit == "percent" else printed(rate, unit, 3)[:4]


def printed(number: float | None, unit: Unit, decimals: int) -> str:
    """A number in the given unit with so many decimals; fractions have no leading zero."""
    if number is None:
        return MISSING
    text = f"{number:.{decimals}f}"
    return text.removeprefix("0") if unit == "fraction" else text


#: score of a class -> the mean over the classes, where it has another name
_MEANS = {"iou": "miou", "accuracy": "macc"}
_HEADINGS = {"iou": "IoU", "accuracy": "Accuracy"}


def class_table(result: TestResult, split: str = "test", subset: str = "all") -> Table:
    """Scores (percent) and support of every class, and their means.

    Args:
        result: The run; its scores must be per class.
        split: Split of the run.
        subset: Subset of the split.
    """
    scores = result.classes[split][subset]
    numbers = result.numbers[split][subset]
    rows = [
        Row((score.name, *map(_percent, score.values.values()), str(score.support)))
        for score in scores
    ]
    columns = tuple(scores[0].values)
    means = [_percent(numbers[_MEANS.get(name, name)]) for name in columns]
    rows.append(Row(("mean", *means, str(sum(score.support for score in scores))), own=True))
    note = f"Support: boxes of the class, ignored ones left out. {MISSING}: no box of the class."
    if "iou" in columns:
        note = (
            "Support: target pixels of the class; a class without support rests on false positives "
            f"alone. {MISSING}: absent from target and prediction (IoU) or target (accuracy)."
        )
    title = f"{result.data.dataset} {split}, {subset}, per class (%)"
    headings = (_HEADINGS.get(name, name) for name in columns)
    return Table(title, ("Class", *headings, "Support"), tuple(rows), (note,))


def _percent(rate: float) -> str:
    return rate_text(rate, "percent")
