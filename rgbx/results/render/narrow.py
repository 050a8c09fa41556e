"""A wide table as several that fit a terminal or a page."""

import dataclasses
from collections.abc import Sequence

from rgbx.results.render.tables import MISSING, Row, Table
from rgbx.results.render.text import terminal_width

__all__ = ["narrowed"]


def narrowed(table: Table, width: int | None = None, columns: int | None = None) -> list[Table]:
    """Parts of a table, cut between groups of columns where that is possible.

    Every part has the text columns and the rows that have a number in it; published rows without
    one are left out. Notes stand below the first part.

    Args:
        table: The table.
        width: Characters of a line at most.
        columns: Number columns of a part at most.

    Returns:
        At least one table; a single column that is too wide stays as it is.
    """
    parts: list[list[int]] = []
    for group in _groups(table):
        whole = _fits(table, group, width, columns)
        for piece in [group] if whole else [[i] for i in group]:
            if parts and _fits(table, [*parts[-1], *piece], width, columns):
                parts[-1] += piece
            else:
                parts.append(list(piece))
    if len(parts) < 2:
        return [table]
    return [_part(table, part, first=i == 0) for i, part in enumerate(parts)]


def _groups(table: Table) -> list[list[int]]:
    if table.groups:
        return [list(range(start, stop)) for _, start, stop in table.spans]
    return [[i] for i in range(table.text_columns, len(table.columns))]


def _fits(table: Table, places: Sequence[int], width: int | None, columns: int | None) -> bool:
    if columns is not None and len(places) > columns:
        return False
    return width is None or terminal_width(_part(table, places, first=False)) <= width


def _part(table: Table, places: Sequence[int], first: bool) -> Table:
    kept = [*range(table.text_columns), *places]
    new = {old: i for i, old in enumerate(kept)}
    rows: list[Row] = []
    rule = False
    for row in table.rows:
        rule = rule or row.rule
        if row.published and all(row.cells[i] == MISSING for i in places):
            continue  # the line above it moves to the next row
        rows.append(
            dataclasses.replace(
                row,
                rule=rule,
                cells=tuple(row.cells[i] for i in kept),
                best=tuple(new[i] for i in row.best if i in new),
                second=tuple(new[i] for i in row.second if i in new),
            )
        )
        rule = False
    return dataclasses.replace(
        table,
        columns=tuple(table.columns[i] for i in kept),
        rows=tuple(rows),
        notes=table.notes if first else (),
        groups=tuple(table.groups[i - table.text_columns] for i in places) if table.groups else (),
    )
