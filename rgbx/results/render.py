"""A :class:`~rgbx.results.tables.Table` in Markdown, CSV, LaTeX, or on the terminal."""

import csv
import io

from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from rgbx.results.tables import Table

__all__ = ["to_csv", "to_latex", "to_markdown", "to_terminal"]


def to_markdown(table: Table) -> str:
    """The table with aligned columns, this run in bold, the notes as a list below."""
    lines = [tuple(_markdown(cell) for cell in table.columns)]
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
    grid = RichTable(
        title=table.title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for index, heading in enumerate(table.columns):
        text = index < table.text_columns
        # "miou_image day" on three lines keeps seven number columns within 80 characters
        label = heading if text else heading.replace("_", "\n").replace(" ", "\n")
        grid.add_column(Text(label), justify="left" if text else "right", no_wrap=True)
    for row in table.rows:
        grid.add_row(*map(Text, row.cells), style="bold" if row.own else None)
    return Group(grid, Text(), *(Text(f"  {note}", style="dim") for note in table.notes), Text())


def to_csv(table: Table) -> str:
    """Headings and rows as comma-separated values, without title and notes."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(row.cells for row in table.rows)
    return out.getvalue()


def to_latex(table: Table) -> str:
    """A booktabs ``tabular``, this run in bold, the notes as comments."""
    numbers = len(table.columns) - table.text_columns
    lines = [r"\begin{tabular}{" + "l" * table.text_columns + "r" * numbers + "}", r"\toprule"]
    lines += [_latex_row(table.columns, bold=False), r"\midrule"]
    lines += [_latex_row(row.cells, bold=row.own) for row in table.rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*(f"% {line}" for line in (table.title, *table.notes)), *lines]) + "\n"


def _markdown(text: str) -> str:
    return text.replace("|", r"\|").replace("_", r"\_")


_LATEX = str.maketrans(
    {
        **{char: f"\\{char}" for char in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    }
)


def _latex_row(cells: tuple[str, ...], bold: bool) -> str:
    escaped = [cell.translate(_LATEX) for cell in cells]
    return " & ".join(rf"\textbf{{{cell}}}" if bold else cell for cell in escaped) + r" \\"
