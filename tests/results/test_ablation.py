"""The table of an ablation: what was measured above what the paper printed."""

import dataclasses

import pytest

from rgbx.results import AblationEntry, ablation_table, load_published
from tests.results.runs import PROTOCOL, runs_of, salient, semantic

SIZES = {"VT5000": 2500}
NAMES = ("SAM+VA", "SAM+DA")
SCORES = ("S", "MAE")


def entry(name, *results, **more):
    return AblationEntry(name, tuple(runs_of(*results)), **more)


def table_ii(*entries, metrics=SCORES):
    paper = load_published("samsod")
    options = {"published": paper, "table": "II", "splits": ("VT5000",)}
    return ablation_table("Table II", entries, "VT5000", metrics, **options)


def test_measured_and_printed_rows_are_ranked_each_on_their_own():
    measured = (salient(0.95, 0.016, SIZES), salient(0.91, 0.02, SIZES))
    table = table_ii(*map(entry, NAMES, measured))
    assert table.columns == ("Row", "Source", "S", "MAE↓")
    assert [row.cells for row in table.rows] == [
        ("SAM+VA", "rgbx", ".950", ".016"),
        ("SAM+VA", "published", ".923", ".021"),
        ("SAM+DA", "rgbx", ".910", ".020"),
        ("SAM+DA", "published", ".925", ".020"),
    ]
    assert [row.best for row in table.rows] == [(2, 3), (), (), (2, 3)]
    assert [row.second for row in table.rows] == [(), (2, 3), (2, 3), ()]
    assert [row.rule for row in table.rows] == [False, False, True, False]
    assert not any(note.startswith("NOT ") for note in table.notes)


def test_seeds_failures_and_rows_under_another_name():
    seeds = [
        dataclasses.replace(salient(0.9, m, SIZES), seed=i) for i, m in enumerate((0.02, 0.04))
    ]
    failed = entry("ours", note="seed 0 failed: no memory", published="SAM+DA")
    table = table_ii(entry("SAM+VA", *seeds), failed)
    assert table.rows[0].cells[2:] == (".900 ± .000", ".030 ± .014")
    assert [row.cells for row in table.rows[2:]] == [
        ("ours", "rgbx", "-", "-"),
        ("ours", "published", ".925", ".020"),
    ]
    assert table.notes[0] == "ours: seed 0 failed: no memory."


def test_another_number_of_images_is_not_comparable():
    (note, *_) = table_ii(entry("SAM+VA", salient(0.9, 0.02, {"VT5000": 20}))).notes
    assert note.startswith("NOT COMPARABLE: the runs were scored on 20 images, the published ")


def test_rows_of_different_protocols_are_not_ranked():
    other = {**PROTOCOL, "miou": "absent classes counted as 0"}
    entries = (entry("a", semantic(0.5)), entry("b", semantic(0.6, protocol=other)))
    table = ablation_table("T", entries, "MFNet", ["miou"])
    assert table.title == "T (%)" and [row.cells[2] for row in table.rows] == ["50.00", "60.00"]
    assert all(row.best == row.second == () for row in table.rows)
    assert table.notes[0].startswith("NOT COMPARABLE: the rows follow different protocols")


@pytest.mark.slow
@pytest.mark.parametrize("metrics", [("mDice",), ("S", "mDice")])
def test_scores_that_no_run_has_are_named(metrics):
    table = table_ii(entry("SAM+VA", salient(0.9, 0.02, SIZES)), metrics=metrics)
    assert table.notes[0] == "NOT MEASURED: mDice; the runs have MAE, S, maxE, maxF, wF."
    assert not any("NOT MEASURED" in note for note in table_ii(entry("x"), metrics=metrics).notes)
