"""A :class:`~rgbx.results.render.tables.Table` in Markdown, CSV, or on the terminal."""

import csv
import io
import re
from collections.abc import Sequence

from rich import box
from rich.console import Console, Group
from rich.table import Table as RichTable
from rich.text import Text

from rgbx.results.render.tables import DEVIATION, TERMINAL, Row, Table

__all__ = ["terminal_width", "to_csv", "to_markdown", "to_terminal"]

_WIDE = 10  # columns from which the terminal's table is set closer


def to_markdown(table: Table) -> str:
    """The table with aligned columns, the notes as a list below.

    This run and the best of a column are bold, the second best are underlined (``<ins>``, as
    Markdown has no mark of its own), lines that papers printed are in italics.
    """
    lines = [tuple(_markdown(cell) for cell in table.full_headings)]
    lines += [_markdown_cells(row, table.text_columns) for row in table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]

    def join(cells: tuple[str, ...]) -> str:
        padded = (
            cell.ljust(width) if i < table.text_columns else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    rule = tuple(
        "-" * width if i < table.text_columns else "-" * (width - 1) + ":"
        for i, width in enumerate(widths)
    )
    body = [join(lines[0]), join(rule), *(join(line) for line in lines[1:])]
    notes = ["", *(f"- {_markdown(note)}" for note in table.notes)] if table.notes else []
    return "\n".join([f"**{_markdown(table.title)}**", "", *body, *notes]) + "\n"


def to_terminal(table: Table) -> Group:
    """Something for ``rich.console.Console.print``: the notes dimmed below.

    This run and the best of a column are bold, the second best are underlined, lines that papers
    printed are dimmed.
    """
    notes = (Text(f"  {note}", style="dim") for note in table.notes)
    return Group(_grid(table), Text(), *notes, Text())


def terminal_width(table: Table) -> int:
    """Characters of a line that the table takes on a terminal; with fewer, numbers are cut off."""
    return Console(width=10_000, file=io.StringIO()).measure(_grid(table)).maximum


def _grid(table: Table) -> RichTable:
    lines = [[Text(c) for c in table.columns], *(_terminal_cells(row) for row in table.rows)]
    if table.groups:
        lines = _joined(table, lines)
    # "miou_image day" on three lines keeps seven number columns within 80 characters
    labels = [
        heading
        if index < table.text_columns or table.groups
        else Text(re.sub("[_ ]", "\n", heading.plain))
        for index, heading in enumerate(lines[0])
    ]
    grid = RichTable(
        title=table.title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        # the box itself leaves one column between neighbours
        padding=(0, 1, 0, 0) if not table.groups and _roomy(labels, lines[1:]) else 0,
    )
    for index, label in enumerate(labels):
        left = index < table.text_columns or bool(table.groups)
        grid.add_column(label, justify="left" if left else "right", no_wrap=True)
    for i, (row, cells) in enumerate(zip(table.rows, lines[1:], strict=True)):
        if row.rule and i:
            grid.add_section()
        grid.add_row(*cells, style="bold" if row.own else "dim" if row.published else None)
    return grid


def _roomy(labels: Sequence[Text], lines: Sequence[Sequence[Text]]) -> bool:
    """Whether few and narrow columns leave room for two characters between them."""
    columns = zip(labels, *lines, strict=True)
    widths = (
        max(map(len, [*label.plain.split("\n"), *(cell.plain for cell in cells)]))
        for label, *cells in columns
    )
    return len(labels) <= _WIDE and sum(width + 2 for width in widths) <= TERMINAL


def _terminal_cells(row: Row) -> list[Text]:
    cells = [Text(cell) for cell in row.cells]
    for place in row.best:
        cells[place].stylize("bold not dim")
    for place in row.second:
        cells[place].stylize("underline")
    return cells


def _joined(table: Table, lines: list[list[Text]]) -> list[list[Text]]:
    """Lines with the cells of each group joined into one, its name above the headings."""
    joined = [line[: table.text_columns] for line in lines]
    for group, start, stop in table.spans:
        widths = [max(line[i].cell_len for line in lines) for i in range(start, stop)]
        widths[0] = max(widths[0], len(group) - sum(widths[1:]) - len(widths) + 1)
        for place, (line, done) in enumerate(zip(lines, joined, strict=True)):
            parts = [_right(cell, w) for cell, w in zip(line[start:stop], widths, strict=True)]
            text = Text(" ") + Text(" ").join(parts)
            if not place:
                text = Text(f"{group.center(text.cell_len)}\n") + text
            done.append(text)
    return joined


def _right(cell: Text, width: int) -> Text:
    return Text(" " * (width - cell.cell_len)) + cell


def to_csv(table: Table) -> str:
    """Headings and rows as comma-separated values, without title, notes, marks and arrows.

    A column with stds ("77.61 ± 0.32") becomes two, the second named "... std".
    """
    columns: list[list[str]] = []
    for place, heading in enumerate(table.full_headings):
        name = heading.replace("↓", "")
        cells = [row.cells[place] for row in table.rows]
        has_std = place >= table.text_columns and any(DEVIATION in cell for cell in cells)
        halves = [cell.partition(DEVIATION) if has_std else (cell, "", "") for cell in cells]
        columns.append([name, *(mean for mean, _, _ in halves)])
        if has_std:
            columns.append([f"{name} std", *(std for _, _, std in halves)])
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(zip(*columns, strict=True))
    return out.getvalue()


def _markdown_cells(row: Row, text_columns: int) -> tuple[str, ...]:
    cells = [_markdown(cell) for cell in row.cells]
    if row.own:
        return tuple(f"**{cell}**" for cell in cells)
    for place in row.best:
        cells[place] = f"**{cells[place]}**"
    for place in row.second:
        cells[place] = f"<ins>{cells[place]}</ins>"
    if row.published:
        cells[:text_columns] = [f"*{cell}*" if cell else "" for cell in cells[:text_columns]]
    return tuple(cells)


def _markdown(text: str) -> str:
    """The text on one line, with what Markdown would read as markup escaped."""
    return re.sub(r"([\\|_*<>`\[\]])", r"\\\1", " ".join(text.split()))
