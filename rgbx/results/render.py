"""A :class:`~rgbx.results.tables.Table` in Markdown, CSV, LaTeX, or on the terminal."""

import csv
import io
from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from rgbx.results.tables import TERMINAL, Table

__all__ = ["to_csv", "to_latex", "to_markdown", "to_terminal"]

_WIDE = 10  # columns from which the terminal's table is set closer


def to_markdown(table: Table) -> str:
    """The table with aligned columns, this run in bold, the notes as a list below."""
    lines = [tuple(_markdown(cell) for cell in _full_headings(table))]
    for row in table.rows:
        cells = (_markdown(cell) for cell in row.cells)
        lines.append(tuple(f"**{cell}**" if row.own else cell for cell in cells))
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
    return "\n".join([f"**{table.title}**", "", *body, *notes]) + "\n"


def to_terminal(table: Table) -> Group:
    """Something for ``rich.console.Console.print``: this run in bold, the notes dimmed below."""
    lines = [table.columns, *(row.cells for row in table.rows)]
    if table.groups:
        lines = _joined(table, lines)
    # "miou_image day" on three lines keeps seven number columns within 80 characters
    labels = [
        heading
        if index < table.text_columns or table.groups
        else heading.replace("_", "\n").replace(" ", "\n")
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
        grid.add_column(Text(label), justify="left" if left else "right", no_wrap=True)
    for row, cells in zip(table.rows, lines[1:], strict=True):
        grid.add_row(*map(Text, cells), style="bold" if row.own else None)
    return Group(grid, Text(), *(Text(f"  {note}", style="dim") for note in table.notes), Text())


def _roomy(labels: Sequence[str], lines: Sequence[tuple[str, ...]]) -> bool:
    """Whether few and narrow columns leave room for two characters between them."""
    columns = zip(labels, *lines, strict=True)
    widths = (max(map(len, [*label.split("\n"), *cells])) for label, *cells in columns)
    return len(labels) <= _WIDE and sum(width + 2 for width in widths) <= TERMINAL


def _joined(table: Table, lines: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Lines with the cells of each group joined into one, its name above the headings."""
    joined = [line[: table.text_columns] for line in lines]
    for group, start, stop in table.spans:
        widths = [max(len(line[i]) for line in lines) for i in range(start, stop)]
        texts = [
            " " + " ".join(c.rjust(w) for c, w in zip(line[start:stop], widths, strict=True))
            for line in lines
        ]
        texts[0] = f"{group.center(len(texts[0]))}\n{texts[0]}"
        joined = [(*done, text) for done, text in zip(joined, texts, strict=True)]
    return joined


def _full_headings(table: Table) -> tuple[str, ...]:
    """Headings that stand alone: the group's name before each of its columns."""
    if not table.groups:
        return table.columns
    groups = ("",) * table.text_columns + table.groups
    return tuple(
        f"{group} {name}".strip() for group, name in zip(groups, table.columns, strict=True)
    )


def to_csv(table: Table) -> str:
    """Headings and rows as comma-separated values, without title, notes and arrows."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(name.replace("↓", "") for name in _full_headings(table))
    writer.writerows(row.cells for row in table.rows)
    return out.getvalue()


def to_latex(table: Table) -> str:
    """A booktabs ``tabular``, this run in bold, the notes as comments."""
    numbers = len(table.columns) - table.text_columns
    lines = [r"\begin{tabular}{" + "l" * table.text_columns + "r" * numbers + "}", r"\toprule"]
    lines += [*_latex_groups(table), _latex_row(table.columns, bold=False), r"\midrule"]
    lines += [_latex_row(row.cells, bold=row.own) for row in table.rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*(f"% {line}" for line in (table.title, *table.notes)), *lines]) + "\n"


def _markdown(text: str) -> str:
    return text.replace("|", r"\|").replace("_", r"\_")


_LATEX = str.maketrans(
    {
        **{char: f"\\{char}" for char in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        "↓": r"$\downarrow$",
    }
)


def _latex_groups(table: Table) -> list[str]:
    if not table.groups:
        return []
    heads = [
        rf"\multicolumn{{{b - a}}}{{c}}{{{name.translate(_LATEX)}}}" for name, a, b in table.spans
    ]
    rules = " ".join(rf"\cmidrule(lr){{{a + 1}-{b}}}" for _, a, b in table.spans)
    return [" & ".join([""] * table.text_columns + heads) + r" \\", rules]


def _latex_row(cells: tuple[str, ...], bold: bool) -> str:
    escaped = [cell.translate(_LATEX) for cell in cells]
    return " & ".join(rf"\textbf{{{cell}}}" if bold else cell for cell in escaped) + r" \\"
