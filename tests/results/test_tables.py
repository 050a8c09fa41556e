import csv
import dataclasses
import io

import pytest
from rich.console import Console

from rgbx.results import (
    benchmark_table,
    class_table,
    load_published,
    make_result,
    to_csv,
    to_latex,
    to_markdown,
    to_terminal,
)


@pytest.fixture
def table(result):
    return benchmark_table(result, load_published("taseg"))


def test_columns_are_metric_and_subset(table):
    assert table.columns == (
        "Method",
        "Source",
        "miou day",
        "miou night",
        "miou all",
        "miou_image day",
        "miou_image night",
        "miou_image all",
        "macc all",
    )


def test_this_run_comes_first_then_the_paper_then_its_peers_by_overall_number(table):
    assert [row.cells[:2] for row in table.rows[:3]] == [
        ("TASeg", "this run"),
        ("TASeg", "published"),
        ("EAEFNet", "published"),
    ]
    assert [row.own for row in table.rows] == [True] + [False] * 13
    overall = [float(row.cells[4]) for row in table.rows[2:]]
    assert overall == sorted(overall, reverse=True)
    assert (overall[0], overall[-1]) == (58.9, 39.7)


def test_cells_are_percent_and_stand_under_the_protocol_they_are_assumed_to_use(table):
    own, paper, *peers = (row.cells[2:] for row in table.rows)
    # Day 7/12, night 1, all (6/7 + 1/2)/2; per image (7/12 + 1)/2; recall (6/7 + 1)/2.
    assert own == ("58.33", "100.00", "67.86", "58.33", "100.00", "79.17", "92.86")
    assert paper == ("-", "-", "-", "82.4", "71.8", "77.6", "-")
    assert peers[0] == ("-", "-", "58.9", "-", "-", "-", "-")
    assert peers[-1] == ("36.1", "36.8", "39.7", "-", "-", "-", "-")


def test_notes_name_the_protocol_of_columns_and_published_rows(table, result):
    for metric in ("miou", "miou_image", "macc"):
        assert f"{metric}: {result.protocol[metric]}." in table.notes
    assert "published and assumed to be miou_image: TASeg." in table.notes
    peers = next(note for note in table.notes if "assumed to be miou:" in note)
    for row in table.rows[2:]:
        assert row.cells[0] in peers
    assert any("Table I of the TASeg paper, not reproduced" in note for note in table.notes)
    assert any(note.startswith("MDNet (published): day and night as") for note in table.notes)


def test_another_number_of_images_is_called_not_comparable(result, table):
    assert not any("NOT COMPARABLE" in note for note in table.notes)
    demo = dataclasses.replace(result.data, split_sizes={"test": 8})
    warned = benchmark_table(dataclasses.replace(result, data=demo), load_published("taseg"))
    assert warned.notes[0] == (
        "NOT COMPARABLE: this run was scored on 8 images, the published rows on 393."
    )


def test_pst900_keeps_both_printed_decimals(result):
    data = dataclasses.replace(result.data, class_path="rgbx.data.PST900")
    numbers = {"test": {"all": result.numbers["test"]["all"]}}
    pst900 = dataclasses.replace(result, data=data, numbers=numbers)
    table = benchmark_table(pst900, load_published("taseg"))
    assert table.columns[2:] == ("miou all", "miou_image all", "macc all")
    assert [row.cells[:3] for row in table.rows[1:4]] == [
        ("TASeg", "published", "86.09"),
        ("EAEFNet", "published", "85.40"),
        ("CAINet", "published", "84.74"),
    ]


@pytest.mark.parametrize("published", [True, False])
def test_unpublished_data_or_paper_gives_this_run_alone(result, published):
    data = dataclasses.replace(result.data, class_path="mine.Folder")
    alone = dataclasses.replace(result, data=data) if published else result
    table = benchmark_table(alone, load_published("taseg") if published else None)
    assert len(table.rows) == 1
    assert len(table.notes) == 3


def test_chosen_columns_and_other_metrics(result):
    table = benchmark_table(result, None, columns=[("miou_fg", "night"), ("miou_drop0", "day")])
    assert table.columns[2:] == ("miou_fg night", "miou_drop0 day")
    assert table.rows[0].cells[2:] == ("-", "100.00")
    other = make_result(
        result.paper,
        result.model,
        result.data,
        result.checkpoint,
        scores={"test": {"all": {"AP": 0.05, "mSF": 0.9123}}},
        protocol={"AP": "mean over the images"},
    )
    table = benchmark_table(other, None)
    assert table.columns[2:] == ("AP all", "mSF all")
    assert table.rows[0].cells[2:] == ("5.00", "91.23")


def test_class_table(result):
    table = class_table(result)
    assert table.columns == ("Class", "IoU", "Accuracy", "Support")
    assert [row.cells for row in table.rows] == [
        ("unlabelled", "85.71", "85.71", "7"),
        ("car", "50.00", "100.00", "1"),
        ("person", "-", "-", "0"),
        ("mean", "67.86", "92.86", "8"),
    ]
    night = class_table(result, subset="night")
    assert night.rows[-1].cells == ("mean", "100.00", "100.00", "4")
    assert "night" in night.title


def test_markdown(result):
    lines = to_markdown(class_table(result)).splitlines()
    assert lines[:6] == [
        "**MFNet test, all, per class (%)**",
        "",
        "| Class      |       IoU |  Accuracy | Support |",
        "| ---------- | --------: | --------: | ------: |",
        "| unlabelled |     85.71 |     85.71 |       7 |",
        "| car        |     50.00 |    100.00 |       1 |",
    ]
    assert lines[7] == "| **mean**   | **67.86** | **92.86** |   **8** |"
    assert lines[9].startswith("- Support: target pixels")


def test_markdown_escapes_what_it_would_read_as_markup(table):
    text = to_markdown(dataclasses.replace(table, title="t", columns=("a|b", *table.columns[1:])))
    assert r"a\|b" in text and r"miou\_image day" in text


def test_terminal_fits_80_characters_and_loses_no_cell(table):
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(to_terminal(table))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    lines = [line.split() for line in text.splitlines()]
    for row in table.rows:
        assert " ".join(row.cells).split() in lines


def test_terminal_takes_brackets_as_text(table):
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(to_terminal(dataclasses.replace(table, notes=("see [bold] here",))))
    assert "see [bold] here" in console.file.getvalue()


def test_csv_reads_back(table):
    rows = list(csv.reader(io.StringIO(to_csv(table))))
    assert rows == [list(table.columns), *(list(row.cells) for row in table.rows)]


def test_latex(result):
    table = dataclasses.replace(class_table(result), columns=("A_b & 5%", "x", "y", "z"))
    lines = to_latex(table).splitlines()
    start = lines.index(r"\begin{tabular}{lrrr}")
    assert all(line.startswith("% ") for line in lines[:start])
    assert lines[start + 1 :] == [
        r"\toprule",
        r"A\_b \& 5\% & x & y & z \\",
        r"\midrule",
        r"unlabelled & 85.71 & 85.71 & 7 \\",
        r"car & 50.00 & 100.00 & 1 \\",
        r"person & - & - & 0 \\",
        r"\textbf{mean} & \textbf{67.86} & \textbf{92.86} & \textbf{8} \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
