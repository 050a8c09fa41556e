import csv
import dataclasses
import io
import re

import pytest
from rich.console import Console

from rgbx.results import (
    benchmark_table,
    has_prompts,
    kind_label,
    load_published,
    prompt_tables,
    read_result,
    to_csv,
    to_latex,
    to_markdown,
    to_terminal,
    write_result,
)
from tests.results.prompted import PLUGIN, SIZES, prompted


@pytest.fixture(scope="module")
def published():
    return load_published("stable_sam")


@pytest.fixture(scope="module")
def tables(published):
    return prompt_tables(prompted(), published)


def terminal(table, width: int) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(to_terminal(table))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_headline_has_the_layout_of_the_papers_table_2(tables):
    head = tables[0]
    assert head.title == "HQSeg44K, mean of 4 data sets (%)"
    assert head.columns == ("Method", "Source", *("mIoU", "mBIoU", "mSF") * 3)
    assert head.spans == [("noisy box", 2, 5), ("1 point", 5, 8), ("3 points", 8, 11)]
    # the four splits have 0.51 + 0, 0.1, 0.2, 0.3 for noisy boxes
    own = ("66.00", "56.00", "71.00", "67.00", "57.00", "72.00", "68.00", "58.00", "73.00")
    assert head.rows[0].cells == ("StableSAM", "this run", *own)
    assert [row.own for row in head.rows] == [True] + [False] * 11
    assert head.rows[1].cells == (
        "Stable-SAM-L",
        "published",
        "82.3",
        "74.1",
        "82.3",
        "76.9",
        "68.4",
        "71.1",
        "84.0",
        "75.8",
        "84.9",
    )
    below = [row.cells[0] for row in head.rows[4:]]
    assert below == [
        "HQ-SAM-H",
        "HQ-SAM-L",
        "PT-SAM",
        "DT-SAM",
        "HQ-SAM-B",
        "SAM-H",
        "SAM-L",
        "SAM-B",
    ]


def test_other_kinds_follow_beside_the_rows_that_have_them(tables):
    second = tables[1]
    assert [group for group, *_ in second.spans] == ["tight box", "5 points", "10 points"]
    assert second.columns[2:] == ("mIoU", "mBIoU", *("mIoU", "mBIoU", "mSF") * 2)
    assert [row.cells[0] for row in second.rows] == ["StableSAM", "SAM-L"]
    assert second.rows[1].cells[2:4] == ("79.5", "71.1")
    assert second.notes == ()


def test_data_sets_have_a_row_each_in_the_same_columns(tables):
    assert len(tables) == 4
    for head, sets in zip(tables[:2], tables[2:], strict=True):
        assert sets.title == "HQSeg44K, this run by data set (%)"
        assert sets.columns == ("Data set", *head.columns[2:])
        assert sets.groups == head.groups
        assert [row.cells[0] for row in sets.rows] == list(SIZES)
    assert tables[2].rows[0].cells[1:5] == ("51.00", "41.00", "56.00", "52.00")
    assert tables[3].rows[3].cells[1:] == (
        "80.00",
        "70.00",
        "84.00",
        "74.00",
        "89.00",
        "85.00",
        "75.00",
        "90.00",
    )


def test_terminal_fits_80_characters(tables):
    for table in tables:
        assert max(map(len, terminal(table, 80))) <= 80
        assert terminal(table, 80)[:16] == terminal(table, 200)[:16]
    text = terminal(tables[0], 80)
    assert text[1].split() == ["noisy", "box", "1", "point", "3", "points"]
    assert text[2].split() == ["Method", "Source", *("mIoU", "mBIoU", "mSF") * 3]


def test_notes_say_the_protocol_and_where_rows_come_from(tables):
    notes = tables[0].notes
    assert notes[:6] == (
        "mIoU: mean over the prompts, then over the images.",
        "mBIoU: of the boundaries.",
        "mSF: with their union.",
        "prompts: 20 per image and kind (1 tight box).",
        "input: images of 1024 x 1024, squashed.",
        "mean: unweighted mean of the data sets.",
    )
    assert "Tables 1, 2 and 10 of the Stable-SAM paper, not reproduced" in notes[6]
    swapped = [note for note in notes if "probably swapped" in note]
    assert len(swapped) == 1 and swapped[0].startswith("HQ-SAM-L, PT-SAM, DT-SAM (published): ")
    weights = [note for note in notes if note.startswith("alpha_1")]
    assert weights == [
        "alpha_1 (weight of the re-sampled features): tight box 0.400, noisy box 0.500, 1 point "
        "0.600, 3 points 0.700, 5 points 0.800, 10 points 0.900."
    ]
    assert not any("NOT COMPARABLE" in note for note in notes)


def test_the_variant_that_was_run_stands_next(published):
    table = prompt_tables(prompted(encoder="vit_b"), published)[0]
    assert [row.cells[0] for row in table.rows[1:4]] == [
        "Stable-SAM-B",
        "Stable-SAM-L",
        "Stable-SAM-H",
    ]


@pytest.mark.parametrize(
    ("arguments", "row"),
    [
        (
            {"plugin": {**PLUGIN["plugin"], "use_drp": False}},
            "Table 5 .* \\(SAM \\+ DSP \\+ RTS\\): noisy_box/mIoU 81.7, ",
        ),
        ({"train_decoder": True}, "Table 11 .* \\(Stable-SAM, decoder also tuned\\): .* 78.5, "),
        (
            {"plugin": {**PLUGIN["plugin"], "dsp_kind": "spatial_attention"}},
            "Table 11 .* spatial attention .* 69.3, ",
        ),
        ({"train": "token"}, "Table 6 .* \\(PT-SAM with RTS\\): box/mIoU 86.8, "),
        ({}, None),
        ({"train": "decoder"}, None),
    ],
)
def test_ablations_name_the_printed_row(published, arguments, row):
    notes = prompt_tables(prompted(**arguments), published)[0].notes
    found = [note for note in notes if "prints for this run's settings" in note]
    assert len(found) == (row is not None)
    assert row is None or re.match(row, found[0])


def test_generated_data_is_not_comparable(published):
    small = dict.fromkeys(SIZES, 5)
    note = prompt_tables(prompted(small), published)[0].notes[0]
    assert note.startswith("NOT COMPARABLE: this run was scored on 20 images, the published rows")


def test_one_split_has_one_comparison_and_no_mean(published):
    tables = prompt_tables(prompted({"test": 9}, dataset="PromptFolder"), published)
    assert [table.title for table in tables] == ["PromptFolder, test (%)"] * 2
    assert [len(table.rows) for table in tables] == [1, 1]
    groups = [[group for group, *_ in table.spans] for table in tables]
    assert groups == [["tight box", "noisy box", "1 point"], ["3 points", "5 points", "10 points"]]
    assert tables[0].rows[0].cells[2:5] == ("50.00", "40.00", "51.00")
    assert prompt_tables(prompted({"test": 9}), None)[0].notes[0].startswith("mIoU: ")


def test_many_data_sets_have_a_row_each():
    tables = prompt_tables(prompted({f"set{i}": 3 for i in range(25)}), None)
    by_set = [table for table in tables if "by data set" in table.title]
    assert [[group for group, *_ in table.spans] for table in by_set] == [
        ["tight box", "noisy box", "1 point"],
        ["3 points", "5 points", "10 points"],
    ]
    assert [row.cells[0] for row in by_set[0].rows] == [f"set{i}" for i in range(25)]


def test_test_json_is_read_back(tmp_path, published, tables):
    write_result(tmp_path / "test.json", prompted())
    back = read_result(tmp_path / "test.json")
    assert back.numbers == prompted().numbers
    assert prompt_tables(back, published) == tables


def test_only_scores_of_prompts_are_told_apart():
    result = prompted()
    assert has_prompts(result)
    plain = dataclasses.replace(result, numbers={"test": {"all": {"miou": 0.5}}})
    assert not has_prompts(plain)


def test_markdown_csv_and_latex_name_kind_and_score(tables):
    assert "| noisy box mIoU |" in to_markdown(tables[0])
    lines = list(csv.reader(io.StringIO(to_csv(tables[0]))))
    assert lines[0][:4] == ["Method", "Source", "noisy box mIoU", "noisy box mBIoU"]
    assert len(lines) == 13
    assert r"\multicolumn{3}{c}{noisy box}" in to_latex(tables[0])


def test_single_splits_can_still_be_tabulated(published):
    table = benchmark_table(prompted(), published, "DIS", [("noisy_box/mIoU", "all")])
    assert table.rows[0].cells == ("StableSAM", "this run", "51.00")
    assert table.notes == (
        "mIoU: mean over the prompts, then over the images.",
        "prompts: 20 per image and kind (1 tight box).",
        "input: images of 1024 x 1024, squashed.",
    )


@pytest.mark.parametrize(
    ("kind", "label"),
    [
        ("box", "tight box"),
        ("noisy_box", "noisy box"),
        ("noisy_box_0.5-0.6", "noisy box 0.5-0.6"),
        ("point_1", "1 point"),
        ("point_10", "10 points"),
        ("coarse_mask", "coarse mask"),
        ("point_of_view", "point of view"),
    ],
)
def test_labels(kind, label):
    assert kind_label(kind) == label
