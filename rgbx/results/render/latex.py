"""A `rgbx.results.Table` in LaTeX; needs the package booktabs and no other."""

from rgbx.results.render.tables import Row, Table

__all__ = ["to_latex", "to_latex_float"]

_MANY = 9  # columns from which the letters are smaller
_NEEDS = r"% needs \usepackage{booktabs}"
_ESCAPED = str.maketrans(
    {
        **{char: f"\\{char}" for char in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{char: f"${char}$" for char in "<>|"},
        **{"\u2193": r"$\downarrow$", "\u00b1": r"$\pm$", "\u00d7": r"$\times$"},
        **{"\u2192": r"$\rightarrow$", "\u00b2": "$^2$", "\u2265": r"$\geq$"},
        **{"\u2264": r"$\leq$", "\u2013": "--", "\u2026": r"\dots{}", '"': "''"},
        # a line of Unicode that inputenc does not know would stop the document
        **{"\u2212": "$-$", "\u00a0": "~", "\n": " ", "\t": " "},
    }
)


def to_latex(table: Table) -> str:
    """A booktabs ``tabular``; title and notes are comments.

    This run and the best of a column are bold, the second best underlined, lines that papers
    printed in italics.
    """
    comments = [_NEEDS, *(f"% {_one_line(line)}" for line in (table.title, *table.notes))]
    return "\n".join([*comments, *_tabular(table)]) + "\n"


def to_latex_float(table: Table, wide: bool = False) -> str:
    """A ``table`` with caption, ``tabular`` as in :func:`to_latex`, and the notes below it.

    Args:
        table: The table.
        wide: Let it span both columns of a page (``table*``).
    """
    environment = "table*" if wide else "table"
    small = len(table.columns) > _MANY
    font = r"\scriptsize\setlength{\tabcolsep}{2pt}" if small else r"\footnotesize"
    lines = [
        _NEEDS,
        rf"\begin{{{environment}}}[tb]",
        rf"\centering{font}",
        rf"\caption{{{_escape(table.title)}}}",
        *_tabular(table),
    ]
    if table.notes:
        notes = [rf"{_escape(note)}\par" for note in table.notes]
        lines += [r"\par\smallskip\raggedright\scriptsize", *notes]
    return "\n".join([*lines, rf"\end{{{environment}}}"]) + "\n"


def _tabular(table: Table) -> list[str]:
    numbers = len(table.columns) - table.text_columns
    lines = [r"\begin{tabular}{" + "l" * table.text_columns + "r" * numbers + "}", r"\toprule"]
    lines += [*_groups(table), _line([_escape(cell) for cell in table.columns]), r"\midrule"]
    for place, row in enumerate(table.rows):
        lines += [r"\midrule"] if row.rule and place else []
        lines.append(_line(_cells(row, table.text_columns)))
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _groups(table: Table) -> list[str]:
    if not table.groups:
        return []
    heads = [rf"\multicolumn{{{b - a}}}{{c}}{{{_escape(name)}}}" for name, a, b in table.spans]
    rules = " ".join(rf"\cmidrule(lr){{{a + 1}-{b}}}" for name, a, b in table.spans if name)
    return [" & ".join([""] * table.text_columns + heads) + r" \\", rules]


def _cells(row: Row, text_columns: int) -> list[str]:
    cells = [_escape(cell) for cell in row.cells]
    if row.own:
        return [rf"\textbf{{{cell}}}" for cell in cells]
    for place in row.best:
        cells[place] = rf"\textbf{{{cells[place]}}}"
    for place in row.second:
        cells[place] = rf"\underline{{{cells[place]}}}"
    if row.published:
        cells[:text_columns] = [rf"\textit{{{cell}}}" for cell in cells[:text_columns]]
    return cells


def _line(cells: list[str]) -> str:
    # a bracket at the start would be read as an option of the line break before it
    guarded = [f"{{{cell}}}" if cell.startswith("[") else cell for cell in cells]
    return " & ".join(guarded) + r" \\"


def _escape(text: str) -> str:
    return text.translate(_ESCAPED)


def _one_line(text: str) -> str:
    return " ".join(text.split())
