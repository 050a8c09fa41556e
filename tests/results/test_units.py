"""A score is shown in one unit, whichever table or page it stands in."""

from pathlib import Path

import pytest

from rgbx.report.bars import subset_bars
from rgbx.results import (
    AblationEntry,
    CheckpointRecord,
    DataRecord,
    JoinedOptions,
    ModelRecord,
    Run,
    ablation_table,
    benchmark_tables,
    combined_tables,
    joined_tables,
    load_published,
    make_result,
    unit_of,
)
from rgbx.tasks.map_evaluation import MapScoring
from tests.results.runs import runs_of, semantic

VALUE = 0.43216
TEXT = {"fraction": ".432", "percent": "43.22"}


def maps(dataset: str, splits: dict[str, int], *families: str):
    protocol = MapScoring(families).protocol()
    scores = dict.fromkeys(protocol, VALUE)
    return make_result(
        paper="mca_sam",
        model=ModelRecord("rgbx.models.mca_sam.module.MCASAM", {}),
        data=DataRecord(f"rgbx.data.{dataset}", "root", splits, ("background", "object")),
        checkpoint=CheckpointRecord("best.ckpt", dataset, epoch=1, step=2),
        scores={split: {"all": scores, "night": scores} for split in splits},
        protocol=protocol,
    )


CASES = [
    ("KvasirSEG", {"Kvasir": 2}, ("polyp",)),  # no paper prints rows of this split
    ("KvasirSEG", {"test": 200}, ("polyp",)),  # MCA-SAM prints fractions
    ("ISTD", {"test": 540}, ("shadow",)),  # ... and percent here
    ("ISTD", {"test": 540}, ("shadow", "saliency")),
    ("FolderRGBX", {"test": 3}, ("shadow", "saliency", "polyp")),
    ("VT5000", {"VT5000": 3, "VT821": 2}, ("saliency",)),
]


def shown(table, first: int) -> dict[str, set[str]]:
    """Score -> texts of the run's own row, wherever the table shows it."""
    found: dict[str, set[str]] = {}
    for heading, text in zip(table.columns[first:], table.rows[0].cells[first:], strict=True):
        if "night" not in heading:
            found.setdefault(heading.split()[0].rstrip("↓"), set()).add(text)
    return found


@pytest.mark.parametrize(("dataset", "splits", "families"), CASES)
def test_every_table_shows_a_score_in_the_same_unit(dataset, splits, families):
    result, paper = maps(dataset, splits, *families), load_published("mca_sam")
    runs = runs_of(result)
    options = JoinedOptions(metrics=("all",), published="none")
    names = list(result.numbers[next(iter(splits))]["all"])
    tables = [(table, 2) for split in splits for table in benchmark_tables(result, paper, split)]
    tables += [(table, 1) for table in combined_tables(result, paper)]
    tables += [(table, 2) for table in joined_tables(runs, options)]
    entry = AblationEntry("row", tuple(runs))
    tables.append((ablation_table("rows", [entry], dataset, names), 2))
    texts: dict[str, set[str]] = {}
    for table, first in tables:
        for name, found in shown(table, first).items():
            texts.setdefault(name, set()).update(found)
    for name in names:
        usual = "percent" if name.startswith("BER") else "fraction"
        assert texts[name] == {TEXT[usual]}, name


@pytest.mark.parametrize(("dataset", "splits", "families"), CASES)
def test_percent_is_marked_in_the_title_or_where_units_are_mixed(dataset, splits, families):
    options = JoinedOptions(metrics=("all",), published="none")
    (table,) = joined_tables(runs_of(maps(dataset, splits, *families)), options)
    for heading, text in zip(table.columns[2:], table.rows[0].cells[2:], strict=True):
        marked = "%" in heading or "(%)" in table.title
        assert marked == (text == TEXT["percent"]), heading


def test_bars_of_the_report_are_in_the_unit_of_the_tables():
    result = maps("FolderRGBX", {"test": 3}, "shadow", "saliency", "polyp")
    units = {bars.title.split(": ")[1]: bars.unit for bars in subset_bars(runs_of(result))}
    assert units == {"S": "fraction", "maxF": "fraction", "MAE": "fraction"} | {
        "mDice": "fraction",
        "mIoU": "fraction",
        "BER": "percent",
    }


def test_a_paper_decides_only_for_the_scores_that_it_prints():
    paper = load_published("unirgb_ir")  # percent on the whole, fractions for salient objects
    tables = [(paper, table) for table in paper.comparisons if table.dataset == "VT5000"]
    assert unit_of("S", tables) == "fraction" and unit_of("miou", tables) == "percent"
    assert unit_of("box/mIoU") == unit_of("AP") == unit_of("BER@input") == "percent"
    assert unit_of("wF_0.3@input") == unit_of("mIoU") == "fraction"


def test_classes_without_a_paper_stay_percent():
    runs = [Run(Path("a/test.json"), semantic(VALUE, dataset="FolderRGBX"))]
    (table,) = joined_tables(runs, JoinedOptions())
    assert shown(table, 2)["miou"] == {"43.22"} and table.title.endswith(" (%)")
