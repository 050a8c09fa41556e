"""A `rgbx.results.Table` as HTML: a fragment, or a page that needs nothing else."""

from collections.abc import Sequence
from html import escape

from rgbx.results.render.tables import MISSING, Row, Table

__all__ = ["HTML_STYLE", "html_page", "to_html"]

#: Style of :func:`to_html`'s fragments, for the page that holds them; light and dark.
HTML_STYLE = """\
.rgbx-table { margin: 0 0 2.5rem; overflow-x: auto; }
.rgbx-table figcaption { font-weight: 600; margin-bottom: .5rem; text-align: left; }
.rgbx-table table { border-collapse: collapse; font-variant-numeric: tabular-nums;
  border-top: 2px solid currentColor; border-bottom: 2px solid currentColor; }
.rgbx-table th, .rgbx-table td { padding: .25rem .7rem; white-space: nowrap; text-align: right; }
.rgbx-table .text { text-align: left; }
.rgbx-table th { font-weight: 600; }
.rgbx-table th.group { text-align: center; }
.rgbx-table th.group:not(:empty) span { display: block; border-bottom: 1px solid currentColor; }
.rgbx-table tr.rule > td, .rgbx-table tbody tr:first-child > td {
  border-top: 1px solid currentColor; }
.rgbx-table tr.own { font-weight: 700; }
.rgbx-table tr.published .text { font-style: italic; opacity: .75; }
.rgbx-table tbody tr:hover { background: rgba(127, 127, 127, .15); }
.rgbx-table u { text-underline-offset: .2em; }
.rgbx-table ul { font-size: .85rem; opacity: .85; max-width: 62rem; padding-left: 1.2rem; }
"""
_PAGE_STYLE = """\
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem; color: #1b1b1b; background: #fff; }
@media (prefers-color-scheme: dark) { body { color: #e6e6e6; background: #16181c; } }
@media print { body { margin: 0; } }
"""


def to_html(table: Table) -> str:
    """A ``<figure class="rgbx-table">``; its looks are in :data:`HTML_STYLE`.

    This run and the best of a column are ``<strong>``, the second best ``<u>``; lines that papers
    printed have the class "published".
    """
    body = [_row(row, table.text_columns) for row in table.rows]
    notes = [f"<li>{escape(note)}</li>" for note in table.notes]
    lines = [
        '<figure class="rgbx-table">',
        f"<figcaption>{escape(table.title)}</figcaption>",
        "<table>",
        "<thead>",
        *_head(table),
        "</thead>",
        "<tbody>",
        *body,
        "</tbody>",
        "</table>",
        *(("<ul>", *notes, "</ul>") if notes else ()),
        "</figure>",
    ]
    return "\n".join(lines) + "\n"


def html_page(tables: Sequence[Table], title: str) -> str:
    """A page of tables that loads nothing from elsewhere.

    Args:
        tables: Shown one below the other.
        title: Of the page, plain text.
    """
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_PAGE_STYLE}{HTML_STYLE}</style>\n</head>\n"
    )
    return f"{head}<body>\n{''.join(map(to_html, tables))}</body>\n</html>\n"


def _head(table: Table) -> list[str]:
    lines = []
    if table.groups:
        blanks = '<td class="text"></td>' * table.text_columns
        spans = "".join(
            f'<th class="group" colspan="{stop - start}" scope="colgroup">'
            f"<span>{escape(name)}</span></th>"
            for name, start, stop in table.spans
        )
        lines.append(f"<tr>{blanks}{spans}</tr>")
    cells = "".join(
        f'<th scope="col"{_text(place, table.text_columns)}>{escape(name)}</th>'
        for place, name in enumerate(table.columns)
    )
    return [*lines, f"<tr>{cells}</tr>"]


def _row(row: Row, text_columns: int) -> str:
    flags = {"own": row.own, "published": row.published, "rule": row.rule}
    names = " ".join(name for name, there in flags.items() if there)
    cells = "".join(
        f"<td{_text(place, text_columns)}>{_cell(row, place)}</td>"
        for place in range(len(row.cells))
    )
    return f'<tr class="{names}">{cells}</tr>' if names else f"<tr>{cells}</tr>"


def _cell(row: Row, place: int) -> str:
    text = escape(row.cells[place])
    if text == MISSING:
        return "&ndash;"
    if place in row.best:
        return f"<strong>{text}</strong>"
    return f"<u>{text}</u>" if place in row.second else text


def _text(place: int, text_columns: int) -> str:
    return ' class="text"' if place < text_columns else ""
