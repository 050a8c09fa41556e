from pathlib import Path

import pytest
import yaml

from rgbx.errors import RGBXError
from rgbx.results import Published, load_published


@pytest.fixture(scope="module")
def taseg() -> Published:
    published = load_published("taseg")
    assert published is not None
    return published


@pytest.fixture
def content(taseg) -> dict:
    """A small valid file, as plain data."""
    return {
        "paper": "P",
        "title": "A paper",
        "unit": "percent",
        "trainable_millions": {"A": 1.5},
        "frames_per_second": {},
        "comparisons": [
            {
                "table": "I",
                "dataset": "MFNet",
                "split": "test",
                "metric": "mIoU",
                "decimals": 1,
                "rows": [
                    {"method": "A", "own": True, "assumed": "miou", "values": {"all": 50.0}},
                    {"method": "B", "assumed": "miou_image", "values": {"all": 60.0, "day": 1}},
                ],
            }
        ],
    }


def _load(folder: Path, content: object) -> Published | None:
    (folder / "published.yaml").write_text(
        content if isinstance(content, str) else yaml.safe_dump(content)
    )
    return load_published(folder)


def _values(published: Published, dataset: str) -> dict[str, dict[str, float]]:
    table = published.comparison(dataset, "test")
    assert table is not None
    return {row.method: row.values for row in table.rows}


def test_taseg_mfnet_numbers(taseg):
    assert _values(taseg, "MFNet") == {
        "TASeg": {"day": 82.4, "night": 71.8, "all": 77.6},
        "MFNet": {"day": 36.1, "night": 36.8, "all": 39.7},
        "RTFNet": {"day": 45.8, "night": 54.8, "all": 53.2},
        "PSTNet": {"all": 48.4},
        "GMNet": {"day": 49.0, "night": 57.7, "all": 57.3},
        "EGFNet": {"day": 47.3, "night": 55.0, "all": 54.8},
        "FDCNet": {"day": 47.8, "night": 56.8, "all": 56.3},
        "EAEFNet": {"all": 58.9},
        "semanticRT": {"all": 58.0},
        "LASNet": {"day": 45.2, "night": 58.7, "all": 54.9},
        "MDRNet+": {"day": 48.1, "night": 56.7, "all": 56.8},
        "CAINet": {"all": 58.6},
        "MDNet": {"day": 59.8, "night": 48.7, "all": 58.9},
    }


def test_taseg_pst900_numbers(taseg):
    values = _values(taseg, "PST900")
    assert {method: row["all"] for method, row in values.items()} == {
        "TASeg": 86.09,
        "MFNet": 57.02,
        "RTFNet": 60.46,
        "PSTNet": 68.36,
        "GMNet": 84.12,
        "EGFNet": 78.51,
        "FDCNet": 77.11,
        "EAEFNet": 85.40,
        "semanticRT": 84.47,
        "LASNet": 84.40,
        "MDRNet+": 74.62,
        "CAINet": 84.74,
        "MDNet": 82.97,
    }


def test_every_method_with_printed_parameters_is_in_the_table(taseg):
    methods = set(_values(taseg, "MFNet"))
    assert set(taseg.trainable_millions) == methods - {"semanticRT"}
    assert taseg.trainable_millions["TASeg"] == 28.77
    assert taseg.frames_per_second == {"640x480": 4.65}


def test_kaist_means_agree_with_their_19_classes_except_where_noted(taseg):
    table = taseg.comparison("KAIST", "test")
    names = {tuple(row.classes) for row in table.rows}
    assert len(names) == 1 and len(names.pop()) == 19
    for row in table.rows:
        mean = sum(row.classes.values()) / 19
        if row.method in ("TASeg", "CAINet"):
            assert f"is {mean:.1f}, not {row.values['all']}" in row.note
        else:
            assert row.values["all"] == pytest.approx(mean, abs=0.0501), row.method


def test_ablation_rows_are_distinct_settings_and_end_in_the_method(taseg):
    (table,) = taseg.ablations
    values = [row.values["all"] for row in table.rows]
    assert values == [71.6, 72.7, 74.9, 73.8, 75.3, 75.1, 77.6]
    settings = [str(row.settings) for row in table.rows]
    assert len(set(settings)) == 7
    assert table.rows[0].settings == {"fusion": "concat", "lora": {"decoder": False}, "text": False}
    assert table.rows[-1].settings == {"fusion": "dffm", "lora": {"decoder": True}, "text": True}


def test_taseg_is_assumed_to_average_per_image_on_mfnet_and_its_peers_are_not(taseg):
    assumed = {row.method: row.assumed for row in taseg.comparison("MFNet", "test").rows}
    assert assumed.pop("TASeg") == "miou_image"
    assert set(assumed.values()) == {"miou"}


def test_no_comparison_on_other_data(taseg):
    assert taseg.comparison("FolderRGBX", "test") is None
    assert taseg.comparison("MFNet", "val") is None


def test_a_folder_elsewhere_or_without_numbers(tmp_path, content):
    assert load_published(tmp_path) is None
    assert load_published("no_such_paper") is None
    published = _load(tmp_path, content)
    assert published.comparison("MFNet", "test").rows[1].values == {"all": 60.0, "day": 1.0}
    assert published.ablations == ()


def _row(content: dict, **changes: object) -> None:
    content["comparisons"][0]["rows"][1].update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: _row(c, values={"all": 101}), "I, MFNet, B: all is 101.0, not between 0 and"),
        (lambda c: _row(c, values={"all": None}), "B: all is nan, not between"),
        (lambda c: _row(c, classes={"car": -1}), "B: car is -1.0, not between"),
        (lambda c: _row(c, values={"day": 5}), "B: values has no 'all'"),
        (lambda c: _row(c, assumed="mIou"), "assumed is 'mIou', which rgbx does not report"),
        (lambda c: _row(c, method="A"), "lists a method twice"),
        (lambda c: _row(c, own=True), "has several own rows that their settings do not tell"),
        (lambda c: _row(c, nots="x"), r"rows\[1\] has the unknown key 'nots' .*'note'"),
        (lambda c: c.update(unit="ratio"), "unit is 'ratio', not one of 'percent'"),
        (lambda c: c.pop("title"), "title is missing"),
        (
            lambda c: c["trainable_millions"].update(A=0),
            r"trainable_millions\.A is 0\.0, not above",
        ),
    ],
)
def test_impossible_content_is_explained(tmp_path, content, change, message):
    change(content)
    with pytest.raises(RGBXError, match=rf"published\.yaml cannot be used: .*{message}"):
        _load(tmp_path, content)


def test_broken_yaml_is_one_sentence(tmp_path):
    with pytest.raises(
        RGBXError, match=r"published\.yaml is not readable YAML: .*line 1"
    ) as caught:
        _load(tmp_path, "paper: [a")
    assert "\n" not in str(caught.value)
