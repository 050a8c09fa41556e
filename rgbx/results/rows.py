"""The cells of comparing tables: what this run measured, and what papers print."""

import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from rgbx.results.families import unit_of
from rgbx.results.published import Published, PublishedRow, PublishedTable
from rgbx.results.records import TestResult
from rgbx.results.render.tables import Unit, printed, rate_text

__all__ = ["Column", "comparison_of", "measured", "published_cell", "ranked", "units_of"]

Column: TypeAlias = tuple[str, str]  # metric, subset


def comparison_of(
    result: TestResult, published: Published | None, split: str
) -> PublishedTable | None:
    """The paper's comparison that a split of the run belongs next to, if there is one."""
    if published is None:
        return None
    return published.comparison(result.data.dataset, split, result.data.supervision)


def units_of(
    columns: Iterable[tuple[str, str]], result: TestResult, published: Published | None
) -> list[Unit]:
    """The unit of each (split, metric) pair of a run, next to the numbers of its paper."""
    units = []
    for split, metric in columns:
        table = comparison_of(result, published, split)
        units.append(unit_of(metric, [(published, table)] if published and table else ()))
    return units


def measured(result: TestResult, split: str, column: Column, unit: Unit) -> str:
    """What the run measured, "-" where it measured nothing."""
    metric, subset = column
    return rate_text(result.numbers[split].get(subset, {}).get(metric, math.nan), unit)


def published_cell(table: PublishedTable | None, method: str, metric: str, unit: Unit) -> str:
    """What a table prints for a method on the whole split, "-" where it prints nothing."""
    row = next((row for row in table.rows if row.method == method), None) if table else None
    if table is None or row is None:
        return printed(None, unit, 0)
    return printed(row.number(metric, "all"), unit, table.decimals)


def ranked(rows: Sequence[PublishedRow], result: TestResult) -> list[PublishedRow]:
    """The paper's own rows first, of these the variant that was run, then by number.

    Numbers that nobody measured come last.
    """

    def key(row: PublishedRow) -> tuple[bool, bool, bool, float]:
        other = row.own and not row.made_by(result.model.hyper_parameters)
        return row.inferred, not row.own, other, -row.headline

    return sorted(rows, key=key)
