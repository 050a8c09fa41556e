"""Marks, escapes and shapes in Markdown, LaTeX, CSV, HTML and on the terminal."""

import csv
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from rich.console import Console

from rgbx.results import (
    Row,
    Table,
    html_page,
    narrowed,
    to_csv,
    to_html,
    to_latex,
    to_latex_float,
    to_markdown,
    to_terminal,
)
from rgbx.results.render.text import terminal_width

NASTY = 'a_b & 5% <i> |x| *y* [z] #1 ${2}$ ~^\\ "q"'


@pytest.fixture
def table() -> Table:
    return Table(
        title=f"T {NASTY}",
        columns=("Method", "Source", "S", "MAE↓", "S"),
        rows=(
            Row((NASTY, "rgbx, 2 seeds", "50.00 ± 1.00", "-", "1.00"), best=(2,), second=(4,)),
            Row(("peer", "published", "40.0", ".02", "2.0"), (), (4,), (2,), True, True),
        ),
        notes=(f"note {NASTY}", "mean ± std"),
        text_columns=2,
        groups=("A", "A", "B_1"),
    )


def test_markdown_marks(table):
    lines = to_markdown(table).splitlines()
    cells = [c.strip() for c in re.split(r"(?<!\\)\|", lines[4])[1:-1]]
    assert cells[2:] == ["**50.00 ± 1.00**", "-", "<ins>1.00</ins>"]
    assert [c.strip() for c in lines[5].split("|")[1:-1]] == [
        "*peer*",
        "*published*",
        "<ins>40.0</ins>",
        ".02",
        "**2.0**",
    ]
    assert cells[0] == r'a\_b & 5% \<i\> \|x\| \*y\* \[z\] #1 ${2}$ ~^\\ "q"'
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines[2:6]}) == 1


def test_latex_marks_escapes_and_names_its_package(table):
    text = to_latex(table)
    assert text.splitlines()[0] == r"% needs \usepackage{booktabs}"
    assert r"\textbf{50.00 $\pm$ 1.00} & - & \underline{1.00} \\" in text
    assert r"\textit{peer} & \textit{published} & \underline{40.0} & .02 & \textbf{2.0} \\" in text
    assert r"\multicolumn{2}{c}{A} & \multicolumn{1}{c}{B\_1} \\" in text
    assert r"\cmidrule(lr){3-4} \cmidrule(lr){5-5}" in text
    assert (
        r"a\_b \& 5\% $<$i$>$ $|$x$|$ *y* [z] \#1 \$\{2\}\$ \textasciitilde{}\textasciicircum{}"
        r"\textbackslash{} ''q''"
    ) in text


def test_latex_float_is_balanced_and_shows_its_notes(table):
    text = to_latex_float(table)
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    begins, ends = (re.findall(rf"\\{w}{{([a-z*]+)}}", body) for w in ("begin", "end"))
    assert begins == ["table", "tabular"] and ends == ["tabular", "table"]
    plain = re.sub(r"\\[\\{}%&$#_]", "", body)
    assert plain.count("{") == plain.count("}") and plain.count("$") % 2 == 0
    assert not re.search(r"(?<!\\)[%#]", body) and body.isascii()
    assert r"mean $\pm$ std\par" in body
    rows = [line for line in body.splitlines() if line.endswith(r"\\") and "multicol" not in line]
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [4, 4, 4]
    assert r"\begin{table*}" in to_latex_float(table, wide=True)


@pytest.mark.parametrize("kind", ["article", "[twocolumn]article"])
def test_latex_compiles_in_a_standard_document(table, tmp_path, kind):
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex on this machine")
    option, _, name = kind.rpartition("]")
    (tmp_path / "t.tex").write_text(
        rf"\documentclass{option + ']' if option else ''}{{{name}}}\usepackage{{booktabs}}"
        "\n\\begin{document}\n"
        f"{to_latex(table)}{to_latex_float(table)}{to_latex_float(table, wide=True)}"
        "\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "t.pdf").stat().st_size > 1000


def test_latex_cells_that_begin_with_a_bracket_are_guarded():
    table = Table("t", ("a", "b"), (Row(("[x]", "1")),))
    assert "{[x]} & 1" in to_latex(table)


def test_csv_has_a_column_for_deviations_and_no_marks(table):
    rows = list(csv.reader(io.StringIO(to_csv(table))))
    assert rows == [
        ["Method", "Source", "A S", "A S std", "A MAE", "B_1 S"],
        [NASTY, "rgbx, 2 seeds", "50.00", "1.00", "-", "1.00"],
        ["peer", "published", "40.0", "", ".02", "2.0"],
    ]


class Tags(HTMLParser):
    """Open tags have to be closed in order; collects text by row."""

    def __init__(self):
        super().__init__()
        self.open, self.rows = [], []
        self.sources = []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.rows and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def test_html_is_well_formed_escaped_and_marked(table):
    page = html_page([table, table], "A & B")
    tags = Tags()
    tags.feed(page)
    assert tags.open == [] and tags.sources == []
    assert tags.rows[1:4] == [
        ["Method", "Source", "S", "MAE↓", "S"],
        [NASTY, "rgbx, 2 seeds", "50.00 ± 1.00", "\u2013", "1.00"],
        ["peer", "published", "40.0", ".02", "2.0"],
    ]
    assert "<strong>50.00 ± 1.00</strong>" in page and "<u>1.00</u>" in page
    assert '<tr class="published rule">' in page and "<title>A &amp; B</title>" in page
    assert "http" not in page and "<i>" not in page
    assert to_html(table) in page


def test_terminal_marks(table):
    console = Console(width=120, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(to_terminal(table))
    text = console.file.getvalue()
    assert re.search(r"\x1b\[1m50\.00 ± 1\.00\x1b", text)
    assert re.search(r"\x1b\[4m1\.00\x1b", text)
    assert re.search(r"\x1b\[2mpeer", text)


def test_wide_tables_are_cut_between_groups():
    groups = tuple(f"set{i}" for i in range(4) for _ in range(3))
    row = Row(("m", "rgbx", *["12.34"] * 12), best=(2, 13), second=(5,))
    peer = Row(("p", "published", *["1.0"] * 3, *["-"] * 9), published=True, rule=True)
    other = Row(("q", "published", *["1.0"] * 12), published=True)
    table = Table("t", ("Method", "Source", *["abc"] * 12), (row, peer, other), ("n",), 2, groups)
    first, second = narrowed(table, columns=6)
    assert [group for group, *_ in first.spans] == ["set0", "set1"]
    assert first.notes == ("n",) and second.notes == ()
    assert (first.rows[0].best, first.rows[0].second) == ((2,), (5,))
    assert (second.rows[0].best, second.rows[0].second) == ((7,), ())
    assert [r.cells[0] for r in second.rows] == ["m", "q"]  # p has no number there
    assert [r.rule for r in second.rows] == [False, True]
    assert narrowed(table, columns=12) == [table] and narrowed(table) == [table]


@pytest.mark.slow
@pytest.mark.parametrize("width", range(40, 121, 8))
@pytest.mark.parametrize(
    ("columns", "groups"),
    [
        (["abc"] * 12, [f"set{i // 3}" for i in range(12)]),
        (["mIoU", "mBIoU", "mSF"] * 4, [f"1 point of {i // 3}" for i in range(12)]),
        (["S"] * 4, ["a long name of one score", "another long name", "b", "b"]),
        (["S", "maxF", "maxE", "MAE↓", "meanF", "adpF", "wF", "meanE", "adpE", "IoU", "Dice"], []),
        (["miou day", "miou_image day", "miou_image night", "miou"], []),
    ],
    ids=["groups", "scores of unlike width", "long groups", "many columns", "stacked headings"],
)
def test_no_number_is_cut_off_on_a_narrow_terminal(columns, groups, width):
    numbers = ["92.86"] * len(columns)
    rows = (
        Row(("UniRGBIRSaliency", "this run", *numbers)),
        Row(("IV-tuning (EVA02-L)", "published", *numbers), published=True, rule=True),
    )
    table = Table("t", ("Method", "Source", *columns), rows, (), 2, tuple(groups))
    parts = narrowed(table, width=width)
    for part in parts:
        console = Console(width=width, file=io.StringIO(), color_system=None)
        console.print(to_terminal(part))
        text = console.file.getvalue()
        if width < terminal_width(part):  # one column alone is wider than that
            assert len(part.columns) == 3
            continue
        assert "…" not in text
        used = max(len(line.rstrip()) for line in text.splitlines())
        assert terminal_width(part) - 2 <= used <= terminal_width(part)
    assert sum(len(part.columns) - 2 for part in parts) == len(columns)
