"""Tables on the terminal, and as the text of a file."""

from collections.abc import Iterable, Sequence

from rgbx.results.render.html import html_page
from rgbx.results.render.latex import to_latex_float
from rgbx.results.render.narrow import narrowed
from rgbx.results.render.tables import Table
from rgbx.results.render.text import to_csv, to_markdown, to_terminal

__all__ = ["FORMATS", "format_tables", "print_tables"]

#: format -> suffix of its files
FORMATS = {"md": ".md", "latex": ".tex", "csv": ".csv", "html": ".html"}
_PAGE_COLUMNS = 12  # number columns of a table in LaTeX
_PAGE_WIDTH = 88  # characters of its lines, in small letters on a page of standard width


def print_tables(tables: Iterable[Table]) -> None:
    """Show tables on the terminal, wide ones in parts."""
    from rich.console import Console

    console = Console()
    for table in tables:
        for part in narrowed(table, width=console.width):
            console.print(to_terminal(part))


def format_tables(tables: Sequence[Table], kind: str, title: str = "rgbx results") -> str:
    """Tables as the text of a file.

    Args:
        tables: at least one.
        kind: one of :data:`FORMATS`. Several tables of a CSV file have an empty line between them.
        title: of an HTML page.
    """
    if kind == "html":
        return html_page(tables, title)
    if kind == "latex":
        parts = [p for table in tables for p in narrowed(table, _PAGE_WIDTH, _PAGE_COLUMNS)]
        return "\n".join(to_latex_float(part, wide=_is_wide(part)) for part in parts)
    render = to_markdown if kind == "md" else to_csv
    return "\n".join(render(table) for table in tables)


def _is_wide(table: Table) -> bool:
    return len(table.columns) > _PAGE_COLUMNS // 2 + table.text_columns
