"""Several tests as one table: rows, seeds, ranks, protocols."""

import dataclasses

import pytest

from rgbx.errors import RGBXError
from rgbx.results import JoinedOptions, joined_tables
from rgbx.results.ranking import places, rate_over_seeds
from tests.results.prompted import prompted
from tests.results.runs import IDS, PROTOCOL, runs_of, salient, semantic

NONE = JoinedOptions(published="none")
VT = {"VT5000": 2500, "VT1000": 1000, "VT821": 821}


def one(runs, options=NONE):
    (table,) = joined_tables(runs, options)
    return table


def cells(table):
    return [row.cells for row in table.rows]


@pytest.mark.parametrize(
    ("rates", "unit", "text"),
    [
        ((0.776,), "percent", "77.60"),
        ((0.77, 0.78, 0.79), "percent", "78.00 ± 1.00"),
        ((0.93, 0.94), "fraction", ".935 ± .007"),
        ((float("nan"), 0.5), "percent", "50.00"),
        ((float("nan"),), "percent", "-"),
        ((), "fraction", "-"),
    ],
)
def test_seeds_become_mean_and_sample_deviation(rates, unit, text):
    assert rate_over_seeds(rates, unit) == text


@pytest.mark.parametrize(
    ("numbers", "metric", "best", "second"),
    [
        ({0: 0.5, 1: 0.7, 2: 0.6}, "miou", {1}, {2}),
        ({0: 0.5, 1: 0.7, 2: 0.6}, "MAE", {0}, {2}),
        ({0: 0.5, 1: 0.7, 2: 0.6}, "BER_image@input", {0}, {2}),
        ({0: 0.5, 1: 0.7}, "noisy_box/mIoU", {1}, {0}),
        ({0: 0.5, 1: 0.7, 2: 0.7}, "S", {1, 2}, {0}),
        ({0: 0.7, 1: 0.7}, "S", {0, 1}, set()),
        ({0: 0.7, 1: float("nan")}, "S", set(), set()),
    ],
)
def test_best_and_second(numbers, metric, best, second):
    assert places(numbers, metric) == (best, second)


def test_runs_that_differ_in_their_seed_are_one_row():
    table = one(runs_of(*(semantic(m, seed) for seed, m in enumerate((0.5, 0.52, 0.54)))))
    assert cells(table) == [
        (
            "TASeg",
            "rgbx, 3 seeds",
            "62.00 ± 2.00",
            "42.00 ± 2.00",
            "52.00 ± 2.00",
            "67.00 ± 2.00",
            "47.00 ± 2.00",
            "57.00 ± 2.00",
        )
    ]
    assert table.columns[2:5] == ("miou day", "miou night", "miou")
    assert "Seeds: TASeg 3 runs (0, 1, 2); several are given as mean ± sample standard" in (
        " ".join(table.notes)
    )


def test_one_run_per_row_has_no_deviation_and_says_which_seed():
    table = one(runs_of(semantic(0.5, 3)))
    assert table.rows[0].cells[1:3] == ("rgbx", "60.00")
    assert "Seeds: one run per row (3)." in table.notes


@pytest.mark.parametrize(
    ("change", "labels"),
    [
        ({"encoder": "vit_h"}, ["TASeg (encoder vit_b)", "TASeg (encoder vit_h)"]),
        ({"text": None}, ["TASeg", "TASeg (text none)"]),
        (
            {"settings": {"trainer.max_epochs": 9}},
            ["TASeg", "TASeg (max_epochs 9)"],
        ),
        ({"file": "last.ckpt"}, ["TASeg (checkpoint best)", "TASeg (checkpoint last)"]),
    ],
)
def test_other_settings_are_rows_of_their_own_and_named_by_them(change, labels):
    table = one(runs_of(semantic(0.5, 0), semantic(0.6, 1, **change)))
    assert [row.cells[0] for row in table.rows] == labels


def test_two_trainings_with_one_seed_are_told_apart_by_their_folders():
    table = one(runs_of(semantic(0.5, 0), semantic(0.6, 0), semantic(0.7, 1)))
    assert [row.cells[0] for row in table.rows] == ["TASeg (0)", "TASeg (1)", "TASeg (2)"]


def test_one_checkpoint_tested_twice_counts_once_the_later_test():
    first = dataclasses.replace(semantic(0.5), date="2026-01-01T00:00:00+00:00")
    later = dataclasses.replace(
        semantic(0.6), date="2026-02-01T00:00:00+00:00", checkpoint=first.checkpoint
    )
    for runs in (runs_of(first, later), runs_of(later, first)):
        table = one(runs)
        assert len(table.rows) == 1 and table.rows[0].cells[4] == "60.00"


def test_one_model_on_two_data_sets_is_one_row():
    table = one(runs_of(semantic(0.5), semantic(0.8, dataset="PST900", images=288)))
    assert table.title == "MFNet, PST900 (%)"
    assert [(g, b - a) for g, a, b in table.spans] == [("MFNet", 6), ("PST900", 2)]
    assert len(table.rows) == 1 and table.rows[0].cells[-2:] == ("80.00", "85.00")


def test_best_is_bold_second_underlined_and_published_rows_take_part():
    table = one(runs_of(semantic(0.592), semantic(0.5, encoder="x")), JoinedOptions())
    rows = {row.cells[0]: row for row in table.rows}
    place = table.columns.index("miou")
    assert [name for name, row in rows.items() if place in row.best] == ["TASeg (encoder vit_b)"]
    second = {name for name, row in rows.items() if place in row.second}
    assert second == {"EAEFNet", "MDNet"}  # 58.9 both
    assert rows["TASeg"].published and rows["TASeg"].cells[1] == "published"
    assert rows["TASeg"].rule and sum(row.rule for row in table.rows) == 1
    image = table.columns.index("miou_image")
    assert image in rows["TASeg"].best  # 77.6


def test_published_rows_of_other_images_are_not_ranked_with_ours():
    table = one(
        runs_of(semantic(0.9, images=4), semantic(0.8, images=4, encoder="x")), JoinedOptions()
    )
    assert table.notes[0] == (
        "NOT COMPARABLE: the runs were scored on 4 images, the published rows on "
        "393; each part is ranked on its own."
    )
    place = table.columns.index("miou")
    best = [row.cells[0] for row in table.rows if place in row.best]
    assert best == ["TASeg (encoder vit_b)", "EAEFNet", "MDNet"]


def test_own_methods_alone_or_no_published_row():
    runs = runs_of(salient(0.9, 0.03, VT))
    own = one(runs, JoinedOptions(published="own"))
    assert [row.cells[0] for row in own.rows] == ["SAMSOD", "SAMSOD-large", "SAMSOD-tiny"]
    assert [row.cells[0] for row in one(runs).rows] == ["SAMSOD"]
    assert "SAMSOD-large (published): 224.1 M parameters" in " ".join(own.notes)
    assert not any("published" in note for note in one(runs).notes)


def test_saliency_has_the_layout_of_the_paper():
    table = one(runs_of(salient(0.93, 0.0174, VT)), JoinedOptions())
    assert table.columns[2:6] == ("S", "maxF", "maxE", "MAE↓")
    assert [group for group, *_ in table.spans] == list(VT)
    assert table.rows[0].cells[2:6] == (".930", ".920", ".940", ".017")
    assert table.rows[1].cells[:3] == ("SAMSOD-large", "published", ".934")
    mae = [row for row in table.rows if 5 in row.best]
    assert [row.cells[0] for row in mae] == ["SAMSOD", "SAMSOD-large"]  # both print .017


def test_metrics_and_splits_can_be_chosen():
    runs = runs_of(salient(0.93, 0.02, VT))
    table = one(runs, dataclasses.replace(NONE, metrics=("wF", "S"), splits=("VT821",)))
    assert table.columns[2:] == ("wF", "S") and table.title == "VT5000 VT821"
    every = one(runs, dataclasses.replace(NONE, metrics=("all",), splits=("VT821",)))
    assert set(every.columns[2:]) == {"S", "maxF", "maxE", "MAE↓", "wF"}
    with pytest.raises(RGBXError, match=r"No run has the metric 'miou'; there are MAE, S, maxE"):
        one(runs, dataclasses.replace(NONE, metrics=("miou",)))
    with pytest.raises(RGBXError, match="No run has the split 'train'; there are VT1000"):
        one(runs, dataclasses.replace(NONE, splits=("train",)))


def test_prompts_show_the_mean_of_their_data_sets_printed_kinds_first():
    table = one([*runs_of(prompted())], JoinedOptions())
    assert table.title == "HQSeg44K mean (%)"
    assert [group for group, *_ in table.spans] == [
        "noisy box",
        "1 point",
        "3 points",
        "tight box",
        "5 points",
        "10 points",
    ]
    assert table.rows[0].cells[2:5] == ("66.00", "56.00", "71.00")
    assert table.rows[1].cells[:5] == ("Stable-SAM-L", "published", "82.3", "74.1", "82.3")
    assert not any("alpha" in name for name in table.columns)


def test_kinds_of_scores_have_a_table_each():
    tables = joined_tables(runs_of(semantic(0.5), salient(0.9, 0.03, VT), prompted()), NONE)
    assert [table.title for table in tables] == ["MFNet test (%)", "VT5000", "HQSeg44K mean (%)"]


def test_data_sets_that_no_model_links_have_a_table_each():
    other = [semantic(0.7, dataset="PST900", images=288, encoder="other")]
    apart = joined_tables(runs_of(semantic(0.5), *other), NONE)
    assert [table.title for table in apart] == ["MFNet test (%)", "PST900 test (%)"]
    assert [len(table.rows) for table in apart] == [1, 1]
    joined = one(runs_of(semantic(0.5), *other, semantic(0.6, encoder="other")))
    assert joined.title == "MFNet, PST900 (%)" and len(joined.rows) == 2


def test_what_is_asked_for_is_shown_alone():
    runs = runs_of(semantic(0.5), salient(0.9, 0.03, VT))
    (table,) = joined_tables(runs, dataclasses.replace(NONE, metrics=("S",)))
    assert table.title == "VT5000" and set(table.columns[2:]) == {"S"}
    with pytest.raises(RGBXError, match="No run has the metric 'iou'; there are MAE, S, "):
        joined_tables(runs, dataclasses.replace(NONE, metrics=("iou",)))
    with pytest.raises(RGBXError, match="No run has S in test"):
        joined_tables(runs, dataclasses.replace(NONE, metrics=("S",), splits=("test",)))


def test_protocols_that_differ_are_refused_with_files_and_sentences():
    other = {**PROTOCOL, "miou": "absent classes counted as 0"}
    runs = runs_of(semantic(0.5), semantic(0.6, encoder="x", protocol=other))
    with pytest.raises(RGBXError) as caught:
        joined_tables(runs)
    text = str(caught.value)
    assert f'MFNet test (miou): 0/test.json says "{IDS}", 1/test.json "absent classes' in text
    assert "miou_image" not in text and "--group" in text


def test_numbers_of_images_that_differ_are_refused():
    with pytest.raises(
        RGBXError,
        match=r"MFNet test \(miou, miou_image\): 0/test.json was scored on 393 images, 1/test.json "
        "on 4 images",
    ):
        joined_tables(runs_of(semantic(0.5), semantic(0.6, images=4)))


def test_prompts_drawn_otherwise_are_refused():
    a = prompted()
    b = dataclasses.replace(a, protocol={**a.protocol, "prompts": "5 prompts"}, seed=2)
    with pytest.raises(RGBXError, match=r'prompts: 0/test.json says "20 per image .* "5 prompts"'):
        joined_tables(runs_of(a, b))


def test_a_difference_that_is_not_shown_is_no_obstacle():
    a = prompted()
    protocol = {**a.protocol, "alpha_1": "something else", "input": "images of 512 x 512"}
    b = dataclasses.replace(prompted(encoder="vit_b"), protocol=protocol)
    notes = one(runs_of(a, b)).notes
    assert "input: images of 512 x 512 (StableSAM (encoder vit_b))." in notes
    assert "input: images of 1024 x 1024, squashed (StableSAM (encoder vit_l))." in notes


def test_groups_have_a_table_per_protocol():
    other = {**PROTOCOL, "miou": "absent classes counted as 0"}
    runs = runs_of(semantic(0.5), semantic(0.6, 1, protocol=other), semantic(0.7, 2))
    tables = joined_tables(runs, dataclasses.replace(NONE, group=True))
    assert [t.title for t in tables] == [
        "MFNet test, protocol 1 of 2 (%)",
        "MFNet test, protocol 2 of 2 (%)",
    ]
    assert [t.rows[0].cells[1] for t in tables] == ["rgbx, 2 seeds", "rgbx"]
    assert any(note.startswith("miou: absent classes") for note in tables[1].notes)


def test_what_chose_the_checkpoint_is_said_in_capitals_if_it_was_the_test_set():
    chosen = {**PROTOCOL, "choice": "the TEST SET MFNet"}
    notes = one(runs_of(semantic(0.5), semantic(0.6, encoder="x", protocol=chosen))).notes
    assert "CHECKPOINT CHOSEN ON: THE TEST SET MFNET (TASEG (ENCODER X))." in notes
    assert "Checkpoint chosen on: its val list (TASeg (encoder vit_b))." in notes


def test_a_blanked_modality_is_another_row():
    blanked = {**PROTOCOL, "ablation": "x was blanked (replaced by its mean) in every image"}
    table = one(runs_of(semantic(0.5), semantic(0.4, protocol=blanked)))
    assert [row.cells[0] for row in table.rows] == [
        "TASeg",
        "TASeg (input x was blanked)",
    ]


def test_runs_without_scores_are_refused():
    empty = dataclasses.replace(semantic(0.5), numbers={})
    with pytest.raises(RGBXError, match=r"There are no scores in 0/test\.json"):
        joined_tables(runs_of(empty))
