import inspect

import pytest
import yaml

from rgbx.errors import RGBXError
from rgbx.metrics.catalogue import is_metric
from rgbx.results import Published, load_published

SCORES = ("mIoU", "mBIoU", "mSF")


@pytest.fixture(scope="module")
def published() -> Published:
    found = load_published("stable_sam")
    assert found is not None
    return found


def rows(table, *kinds: str, names: tuple[str, ...] = SCORES) -> dict[str, list[float | None]]:
    """Method -> the scores of these kinds in the order of the printed columns."""
    columns = [f"{kind}/{name}" for kind in kinds for name in names]
    return {row.method: [row.scores.get(column) for column in columns] for row in table.rows}


def ablation(published: Published, table: str, dataset: str = "HQSeg44K"):
    (found,) = [t for t in published.ablations if (t.table, t.dataset) == (table, dataset)]
    return found


def test_headline_rows_of_tables_1_2_and_10(published):
    table = published.comparison("HQSeg44K", "mean")
    three = rows(table, "noisy_box", "point_1", "point_3")
    assert three["Stable-SAM-L"] == [82.3, 74.1, 82.3, 76.9, 68.4, 71.1, 84.0, 75.8, 84.9]
    assert three["DT-SAM"] == [70.6, 60.4, 64.0, 43.1, 43.2, 37.9, 80.3, 71.6, 80.5]
    assert three["PT-SAM"] == [70.8, 60.2, 64.1, 43.0, 42.9, 38.3, 80.1, 71.8, 80.4]
    assert three["HQ-SAM-L"] == [72.4, 62.8, 65.5, 43.2, 44.6, 37.4, 81.8, 73.7, 81.4]
    assert three["SAM-L"] == [48.8, 42.1, 39.5, 43.3, 37.4, 45.1, 78.7, 69.5, 79.3]
    others = rows(table, "box", "point_5", "point_10")["SAM-L"]
    assert others == [79.5, 71.1, None, 83.3, 74.2, 84.7, 84.8, 76.0, 87.5]
    two = rows(table, "noisy_box", "point_1")
    assert two["SAM-H"] == [50.1, 43.2, 40.4, 44.5, 38.3, 46.5]
    assert two["HQ-SAM-H"] == [75.2, 65.5, 69.3, 48.0, 41.1, 49.5]
    assert two["Stable-SAM-H"] == [81.8, 73.5, 82.3, 77.2, 68.9, 74.6]
    assert two["SAM-B"] == [41.6, 35.8, 33.4, 35.1, 29.2, 36.7]
    assert two["HQ-SAM-B"] == [68.7, 59.1, 63.2, 40.6, 35.7, 42.7]
    assert two["Stable-SAM-B"] == [74.7, 64.8, 75.9, 68.9, 59.5, 67.1]
    assert len(table.rows) == 11
    assert table.images == 470 + 280 + 287 + 500


def test_only_the_three_suspicious_rows_carry_the_note_on_swapped_columns(published):
    table = published.comparison("HQSeg44K", "mean")
    noted = {row.method for row in table.rows if "swapped" in row.note}
    assert noted == {"DT-SAM", "PT-SAM", "HQ-SAM-L"}
    for row in table.rows:  # a boundary score close to the IoU is what makes them suspicious
        gap = row.scores["point_1/mIoU"] - row.scores["point_1/mBIoU"]
        assert (gap < 1) == (row.method in noted), row.method
        assert row.scores["noisy_box/mIoU"] - row.scores["noisy_box/mBIoU"] > 5


def test_coco_and_sginw(published):
    kinds = ("noisy_box_0.5-0.6", "noisy_box_0.6-0.7")
    coco = rows(published.comparison("COCO", "val2017"), *kinds, names=("AP", "AP50"))
    assert coco == {
        "Stable-SAM-L": [44.8, 76.4, 50.5, 81.1],
        "Stable-SAM-H": [43.9, 75.7, None, None],
        "Stable-SAM-B": [31.2, 63.3, None, None],
        "SAM-L": [27.3, 60.2, 40.9, 75.0],
        "DT-SAM": [12.2, 22.7, 15.8, 28.7],
        "PT-SAM": [30.2, 63.4, 41.3, 76.5],
        "HQ-SAM-L": [31.9, 65.5, 42.9, 77.1],
        "SAM-H": [25.6, 56.8, None, None],
        "HQ-SAM-H": [30.0, 62.6, None, None],
        "SAM-B": [19.7, 49.2, None, None],
        "HQ-SAM-B": [24.7, 56.1, None, None],
    }
    assert rows(published.comparison("SGinW", "mean"), *kinds, names=("AP", "AP50")) == {
        "Stable-SAM-L": [43.3, 75.6, 48.6, 79.4],
        "SAM-L": [26.0, 60.8, 39.5, 73.2],
        "DT-SAM": [10.4, 21.5, 13.6, 27.1],
        "PT-SAM": [32.1, 66.4, 41.1, 74.3],
        "HQ-SAM-L": [33.6, 68.4, 42.2, 75.9],
    }


def test_mess(published):
    kinds = ("oracle_point", "oracle_box", "random_point", "noisy_box")
    found = {
        split: rows(published.comparison("MESS", split), *kinds, names=("miou",))
        for split in ("general", "earth", "medical", "engineering", "agriculture", "mean")
    }
    assert found["mean"] == {
        "SAM": [49.67, 74.74, 44.34, 59.24],
        "HQ-SAM": [49.58, 73.43, 44.92, 55.81],
        "Stable-SAM": [51.15, 74.21, 45.49, 62.13],
    }
    assert found["medical"]["HQ-SAM"] == [61.0, 65.1, 58.27, 62.57]
    assert [found[split]["Stable-SAM"][3] for split in list(found)[:5]] == [
        59.82,
        58.86,
        62.19,
        64.56,
        68.84,
    ]
    assert [found[split]["SAM"][0] for split in list(found)[:5]] == [
        46.51,
        42.31,
        55.92,
        51.57,
        57.43,
    ]


def test_ablations(published):
    two = ("noisy_box", "point_1")
    assert rows(ablation(published, "5"), *two) == {
        "SAM": [48.8, 42.1, 39.5, 43.3, 37.4, 45.1],
        "SAM + DSP": [69.9, 60.2, 67.2, 46.8, 40.8, 48.0],
        "SAM + DSP + RTS": [81.7, 73.5, 81.6, 75.9, 67.5, 70.6],
        "SAM + DSP + DRP + RTS": [82.3, 74.1, 82.3, 76.9, 68.4, 71.1],
    }
    scaling = rows(ablation(published, "6"), "box", "noisy_box")
    assert len(scaling) == 10
    assert scaling["HQ-SAM and Stable-SAM with RTS"] == [88.7, 81.5, None, 86.1, 78.7, 86.3]
    assert scaling["Stable-SAM with RTS, 12 epochs"] == [87.4, 80.1, None, 84.4, 76.7, 85.2]
    low_shot = rows(ablation(published, "7"), *two)
    assert low_shot["Stable-SAM, 220 images"] == [78.8, 70.0, 78.9, 73.0, 64.7, 74.5]
    assert low_shot["Stable-SAM, 440 images"] == [81.6, 73.5, 82.6, 79.8, 71.5, 82.5]
    assert len(low_shot) == 6
    variants = rows(ablation(published, "11"), *two)
    assert list(variants.values())[1:3] == [
        [78.5, 69.2, 79.9, 76.0, 67.1, 78.2],
        [69.3, 59.8, 57.8, 51.6, 44.5, 49.1],
    ]
    on_coco = ablation(published, "11", "COCO")
    assert [list(row.scores.values()) for row in on_coco.rows] == [
        [27.3, 60.2],
        [25.7, 56.5],
        [29.8, 64.9],
        [44.8, 76.4],
    ]


def test_rows_that_stand_in_several_tables_agree(published):
    head = rows(published.comparison("HQSeg44K", "mean"), "noisy_box", "point_1")
    for table in ("5", "11"):
        found = list(rows(ablation(published, table), "noisy_box", "point_1").values())
        assert (found[0], found[-1]) == (head["SAM-L"], head["Stable-SAM-L"])
    scaling = rows(ablation(published, "6"), "noisy_box")
    assert scaling["Stable-SAM with RTS, 1 epoch"] == head["Stable-SAM-L"][:3]
    assert scaling["HQ-SAM without RTS"] == head["HQ-SAM-L"][:3]
    assert scaling["PT-SAM without RTS"] == head["DT-SAM"][:3]  # the table's note says so


def test_costs(published):
    assert published.trainable_millions["Stable-SAM"] == 0.08
    assert published.frames_per_second == {"1024x1024": 5.0}


def test_settings_are_arguments_of_the_model(published):
    from rgbx.models.stable_sam import StableSAM

    known = inspect.signature(StableSAM).parameters
    tables = (*published.comparisons, *published.ablations)
    settings = [row.settings for table in tables for row in table.rows if row.settings]
    assert len(settings) > 10
    assert {name for one in settings for name in one} <= set(known)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("noisy_box/mIoU", True),
        ("noisy_box_0.5-0.6/AP50", True),
        ("miou", True),
        ("noisy_box/miouu", False),
        ("noisy box/mIoU", False),
        ("/mIoU", False),
        ("a/b/mIoU", False),
        ("noisy_box/", False),
    ],
)
def test_names_of_scores(name, known):
    assert is_metric(name) is known


def test_an_unknown_score_of_prompts_is_refused(tmp_path):
    row = {"method": "A", "own": True, "scores": {"noisy_box/IoUU": 5}}
    table = {"table": "1", "dataset": "D", "split": "mean", "metric": "m", "decimals": 1}
    content = {"paper": "P", "title": "T", "unit": "percent"}
    content["comparisons"] = [table | {"rows": [row]}]
    (tmp_path / "published.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(RGBXError, match="scores names 'noisy_box/IoUU', which rgbx does not"):
        load_published(tmp_path)
