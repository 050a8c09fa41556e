"""A wide table as several that fit a terminal or a page."""

import dataclasses
import re
from collections.abc import Sequence

from rgbx.results.tables import MISSING, Row, Table

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
    sizes = [_width(table, i) for i in range(len(table.columns))]
    room = (width or 0) - sum(sizes[: table.text_columns])
    parts: list[list[int]] = []
    for group in _groups(table):
        for piece in [group] if _fits(group, sizes, room, width, columns) else [[i] for i in group]:
            if parts and _fits([*parts[-1], *piece], sizes, room, width, columns):
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


def _fits(
    places: Sequence[int], sizes: Sequence[int], room: int, width: int | None, columns: int | None
) -> bool:
    narrow = width is None or sum(sizes[i] for i in places) <= room
    return narrow and (columns is None or len(places) <= columns)


def _width(table: Table, place: int) -> int:
    """Characters that a column takes on the terminal, the space beside it included."""
    heading = len(table.columns[place])
    if not table.groups and place >= table.text_columns:  # stacked, word by word
        heading = max(map(len, re.split("[_ ]", table.columns[place])))
    cells = max((len(row.cells[place]) for row in table.rows), default=0)
    return max(heading, cells) + (1 if table.groups else 2)


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
