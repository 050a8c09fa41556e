"""Reading logs, whole and cut off at any byte."""

import math

import pytest

from rgbx.report.training import read_log, read_training
from tests.report.made import table, trained_run


def test_every_number_stands_at_its_step(tmp_path):
    log = read_training(trained_run(tmp_path / "run"))
    assert log.lines == {
        "train/loss": ([0, 10, 20], [1, 0.5, 1 / 3]),
        "val/miou": ([0, 10, 20], [0, 0.1, 0.2]),
    }
    assert (log.epochs, log.steps, log.notes) == (3, 21, [])


def test_a_run_that_ended_early_is_said(tmp_path):
    log = read_training(trained_run(tmp_path / "run", epochs=2, of=20))
    assert log.notes == ["metrics.csv ends in epoch 2 of 20"]


def test_any_cut_leaves_what_was_written_before(tmp_path):
    path = trained_run(tmp_path / "run") / "metrics.csv"
    whole = path.read_bytes()
    lines = whole.decode().splitlines()[1:]
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        log = read_log(path)
        left = max(0, whole[:end].count(b"\n") - 1)
        expected = {"train/loss": ([], []), "val/miou": ([], [])}
        for line in lines[:left]:
            _, step, *values = line.split(",")
            for (steps, numbers), value in zip(expected.values(), values, strict=True):
                if value:
                    steps.append(float(step))
                    numbers.append(float(value))
        assert log.lines == {name: line for name, line in expected.items() if line[0]}
        assert bool(log.notes) == (end == 0 or not left or not whole[:end].endswith(b"\n"))


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (b"", "metrics.csv is empty"),
        (b"epoch,loss\n1,2\n", "no column `step`"),
        (b"step,loss\n", "metrics.csv has no numbers"),
        (b"step,loss\n1,0.5\n2,abc\n3,d\n4,0.1\n", "2 lines of metrics.csv cut off or damaged"),
        (b"step,loss\n1,0.5\n\xff\xfe\x00,3\n", "a line of metrics.csv cut off or damaged"),
    ],
)
def test_damage_is_said(tmp_path, content, note):
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    log = read_log(path)
    assert len(log.notes) == 1 and note in log.notes[0]


def test_a_missing_log_and_missing_weights_are_said(tmp_path):
    (tmp_path / "config.yaml").write_text("trainer: [")
    assert read_training(tmp_path).notes == ["no metrics.csv", "no checkpoint"]


def test_what_is_no_number_is_a_gap(tmp_path):
    path = table(tmp_path / "metrics.csv", [{"step": i, "loss": v} for i, v in enumerate("1n2")])
    path.write_text(path.read_text().replace("n", "nan"))
    steps, values = read_log(path).lines["loss"]
    assert steps == [0, 1, 2] and values[::2] == [1, 2] and math.isnan(values[1])
    path.write_text("step,loss\n0,inf\n")
    assert math.isnan(read_log(path).lines["loss"][1][0])
