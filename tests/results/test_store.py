import dataclasses
import errno
import json
import math
import os
from pathlib import Path

import pytest
import torch

import rgbx
from rgbx.errors import RGBXError
from rgbx.results import ModelRecord, make_result, read_result, write_result


def test_round_trip_keeps_everything(tmp_path, without_nan):
    write_result(tmp_path / "run" / "test.json", without_nan)
    assert read_result(tmp_path / "run" / "test.json") == without_nan
    assert os.listdir(tmp_path / "run") == ["test.json"]


def test_round_trip_keeps_nan(tmp_path, result):
    write_result(tmp_path / "test.json", result)
    again = read_result(tmp_path / "test.json")
    assert str(again) == str(result)  # NaN compares by its text
    assert math.isnan(again.classes["test"]["all"][2].iou)


def test_scores_are_sorted_into_numbers_and_classes(result):
    # Day: class 0 has IoU 2/3, class 1 has 1/2. All: class 0 has TP 6, FN 1.
    numbers = result.numbers["test"]
    assert list(numbers) == ["all", "day", "night"]
    assert numbers["day"]["miou"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert numbers["all"]["miou"] == pytest.approx((6 / 7 + 1 / 2) / 2)
    assert numbers["all"]["miou_image"] == pytest.approx(((2 / 3 + 1 / 2) / 2 + 1) / 2)
    assert set(numbers["all"]) == set(result.protocol)
    car = result.classes["test"]["all"][1]
    assert (car.name, car.iou, car.accuracy, car.support) == ("car", 0.5, 1.0, 1)
    assert [c.support for c in result.classes["test"]["all"]] == [7, 1, 0]


def test_scores_of_other_metrics_have_no_classes(result):
    other = make_result(
        result.paper,
        result.model,
        result.data,
        result.checkpoint,
        scores={"test": {"all": {"S": torch.tensor(0.875)}}},
        protocol={"S": "mean over the images"},
    )
    assert other.numbers == {"test": {"all": {"S": 0.875}}}
    assert other.classes == {"test": {}}
    assert other.seed is None


def test_says_which_versions_measured_it(result):
    assert result.rgbx == rgbx.__version__
    assert result.versions["torch"] == torch.__version__.partition("+")[0]
    assert result.date.endswith("+00:00") and len(result.date) == 25
    assert result.data.dataset == "MFNet"


def test_file_is_strict_json_with_null_for_nan(tmp_path, result):
    write_result(tmp_path / "test.json", result)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads((tmp_path / "test.json").read_text(), parse_constant=refuse)
    assert content["classes"]["test"]["all"][2] == {
        "name": "person",
        "iou": None,
        "accuracy": None,
        "support": 0,
    }
    assert content["checkpoint"]["sha256"] == "ab" * 32


def test_arguments_without_a_json_form_are_written_as_text(tmp_path, without_nan):
    odd = {"path": Path("a/b.pth"), "size": (48, 64), "clip": math.inf, "kind": torch.float16}
    model = ModelRecord("m.Model", odd)
    write_result(tmp_path / "test.json", dataclasses.replace(without_nan, model=model))
    assert read_result(tmp_path / "test.json").model.hyper_parameters == {
        "path": "a/b.pth",
        "size": [48, 64],
        "clip": "inf",
        "kind": "torch.float16",
    }


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_previous_file(tmp_path, without_nan, monkeypatch, step):
    file = tmp_path / "test.json"
    write_result(file, without_nan)
    before = file.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(RGBXError, match=r"test\.json \(No space left on device\).*is unchanged"):
        write_result(file, dataclasses.replace(without_nan, seed=8))
    assert file.read_bytes() == before
    assert os.listdir(tmp_path) == ["test.json"]


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path, without_nan):
    (tmp_path / "run").write_text("")
    with pytest.raises(RGBXError, match=r"run/test\.json \("):
        write_result(tmp_path / "run" / "test.json", without_nan)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("paper"), "not a result of `rgbx test`: paper is missing"),
        (lambda c: c["data"].pop("root"), r"data\.root is missing"),
        (lambda c: c.update(papr="x"), r"unknown key 'papr' \(did you mean 'paper'\?\)"),
        (lambda c: c.update(seed="7"), r"seed is '7', not of type int"),
        (lambda c: c.update(seed=True), r"seed is True, not of type int"),
        (lambda c: c.update(numbers=[]), r"numbers is not a mapping"),
        (lambda c: c["data"].update(class_names="car"), r"data\.class_names is not a list"),
        (lambda c: c["numbers"]["test"]["all"].update(miou="0.5"), r"numbers\.test\.all\.miou is"),
    ],
)
def test_a_damaged_result_is_explained(tmp_path, without_nan, change, message):
    file = tmp_path / "test.json"
    write_result(file, without_nan)
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(RGBXError, match=message):
        read_result(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"rgbx": "0.', r"test\.json is no readable JSON \(.*write it again with `rgbx test`"),
        (b"\xff\xfe\x00", "is no readable JSON"),
        (b"[]", "the file is not a mapping"),
        (None, "Cannot read the scores in .*No such file"),
    ],
)
def test_what_is_no_result_at_all_is_explained(tmp_path, content, message):
    file = tmp_path / "test.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RGBXError, match=message):
        read_result(file)


def test_files_from_before_the_settings_were_kept_still_read(tmp_path, without_nan):
    path = tmp_path / "test.json"
    write_result(path, dataclasses.replace(without_nan, settings={"trainer.max_epochs": 3}))
    assert read_result(path).settings == {"trainer.max_epochs": 3}
    content = json.loads(path.read_text())
    del content["settings"]
    path.write_text(json.dumps(content))
    assert read_result(path) == without_nan
