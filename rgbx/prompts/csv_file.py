"""Prompts from a table."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rgbx.errors import DataError
from rgbx.prompts.entries import Entry, box_entry, points_entry

__all__ = ["read_csv"]

_BOX = ("name", "x_min", "y_min", "x_max", "y_max")
_POINT = ("name", "x", "y", "label")
_HEADS = "name,x_min,y_min,x_max,y_max for boxes, or name,x,y,label[,prompt] for points"

Row = tuple[int, dict[str, str]]  # line of the file, cells by column


def read_csv(path: Path, text: str) -> dict[str, list[Entry]]:
    """Read the text of a CSV file; see `rgbx.prompts.files` for the format.

    Raises:
        DataError: a column is wrong, a row has too few or too many cells, a cell holds no number,
            or a prompt cannot work; the text names file and line.
    """
    # not splitlines(), which parts quoted names at their own ends of lines
    reader = csv.reader(io.StringIO(text, newline=""))
    head: list[str] = []
    rows: list[Row] = []
    for cells in _cells(path, reader):
        if not any(cells):
            continue
        if not head:
            head = [cell.lower() for cell in cells]
            _check_head(head, f"{path} line {reader.line_num}")
            continue
        if len(cells) != len(head):
            raise DataError(
                f"{path} line {reader.line_num}: {len(cells)} cells under {len(head)} columns "
                f"({','.join(head)})"
            )
        rows.append((reader.line_num, dict(zip(head, cells, strict=True))))
    if not head:
        raise DataError(f"{path} line 1: the file is empty; its first line must be {_HEADS}")
    return _boxes(path, rows) if set(_BOX) <= set(head) else _points(path, rows)


def _cells(path: Path, reader: Any) -> Iterator[list[str]]:
    """The rows as cells, with csv's own errors (a cell that never ends) as sentences."""
    try:
        for cells in reader:
            yield [cell.strip() for cell in cells]
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: no CSV ({error})") from error


def _check_head(head: list[str], where: str) -> None:
    accepted = (set(_BOX), set(_POINT), {*_POINT, "prompt"})
    if set(head) in accepted and len(set(head)) == len(head):
        return
    foreign = [column for column in head if column not in {*_BOX, *_POINT, "prompt"}]
    wrong = f"column {foreign[0]!r} is not known" if foreign else f"columns {','.join(head)}"
    raise DataError(f"{where}: {wrong}; the columns must be {_HEADS}")


def _numbers(cells: dict[str, str], columns: tuple[str, ...], where: str) -> list[float]:
    return [_number(cells[column], column, where) for column in columns]


def _number(cell: str, column: str, where: str) -> float:
    try:
        return float(cell)
    except ValueError as error:
        raise DataError(f"{where}: {column} is {cell!r}, not a number") from error


def _boxes(path: Path, rows: list[Row]) -> dict[str, list[Entry]]:
    entries: dict[str, list[Entry]] = {}
    for line, cells in rows:
        where = f"{path} line {line}"
        box = box_entry(_numbers(cells, _BOX[1:], where), where)
        entries.setdefault(cells["name"], []).append(box)
    return entries


def _points(path: Path, rows: list[Row]) -> dict[str, list[Entry]]:
    groups: dict[tuple[str, str], list[tuple[str, list[float]]]] = {}
    for line, cells in rows:
        where = f"{path} line {line}"
        values = _numbers(cells, _POINT[1:], where)
        points_entry([values[:2]], values[2:], where)  # so that a mistake is told with its own line
        group = (cells["name"], cells.get("prompt", ""))
        groups.setdefault(group, []).append((where, values))
    entries: dict[str, list[Entry]] = {}
    for (name, _), members in groups.items():
        points = [values[:2] for _, values in members]
        labels = [values[2] for _, values in members]
        entries.setdefault(name, []).append(points_entry(points, labels, members[0][0]))
    return entries
