"""Tidy records: every number of a test and of its paper in a line of its own."""

import csv
import dataclasses
import io
import math

import pytest

from rgbx.cli import run
from rgbx.results import Run, records_of, to_tidy_csv, write_result


@pytest.fixture
def tested(result, tmp_path):
    path = tmp_path / "test.json"
    write_result(path, result)
    return Run(path, result)


def test_every_number_is_a_record(tested):
    found = records_of([tested], published="none")
    split, subsets = next(iter(tested.result.numbers.items()))
    for subset, scores in subsets.items():
        for metric, value in scores.items():
            (one,) = [
                r
                for r in found
                if (r.split, r.subset, r.metric, r.class_name) == (split, subset, metric, "")
            ]
            assert one.value == value or (math.isnan(one.value) and math.isnan(value))
            assert (one.source, one.data) == ("rgbx", tested.result.data.dataset)
    assert {r.images for r in found if r.subset == "all"} == {tested.result.data.split_sizes[split]}
    assert {r.class_name for r in found} >= set(tested.result.data.class_names)


def test_printed_numbers_are_records_in_the_same_unit(tested):
    printed = [r for r in records_of([tested]) if r.source == "published"]
    assert printed and all(0 <= r.value <= 1 for r in printed)
    own = [r for r in records_of([tested], published="own") if r.source == "published"]
    assert own and {r.model for r in own} < {r.model for r in printed}


def test_the_command_writes_them(tested, tmp_path, capsys):
    assert run(["table", str(tested.path), "--format", "tidy", "--published", "none"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert to_tidy_csv(records_of([tested], "none")).count("\n") == len(rows) + 1
    assert set(rows[0]) == {field.name for field in dataclasses.fields(records_of([tested])[0])}
    output = tmp_path / "scores.csv"
    assert run(["table", str(tested.path), "--format", "tidy", "-o", str(output)]) == 0
    assert output.read_text().startswith("model,source,paper,data,split,subset,class_name,metric,")
