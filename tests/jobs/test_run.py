"""The loop: count, kills, failures, early stops, workers. Trials are processes without torch."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

import rgbx.jobs.runner
import rgbx.jobs.sweep.run
from rgbx.errors import RGBXError
from rgbx.jobs.folder import JobFolder
from rgbx.jobs.process import Process, start
from tests.jobs.fake_sweep import FAKE, fake_sweep

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def processes(monkeypatch):
    """Trials without torch, in processes that find rgbx and these tests."""
    root = Path(__file__).resolve().parents[2]
    monkeypatch.setenv("PYTHONPATH", str(root))
    monkeypatch.setattr(rgbx.jobs.sweep.run, "PROGRAM", FAKE)
    monkeypatch.setattr(rgbx.jobs.runner, "_PAUSE", 0.02)  # trials end in no time


def starts(output: Path) -> dict[int, list[int]]:
    """Trial -> epoch from which each of its processes began."""
    return {
        int(path.parent.name.removeprefix("trial_")): [int(n) for n in path.read_text().split()]
        for path in sorted(output.glob("trial_????/starts"))
    }


def states(study) -> list[str]:
    return [record.state for record in study.records()]


def until(condition, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def test_a_grid_tries_every_combination_once_and_ends(write, tmp_path):
    parameters = {"score": {"values": [0.1, 0.3]}, "slope": {"values": [0.0, 0.01]}}
    file = write(parameters, ("--epochs=2",))
    study = fake_sweep(file, tmp_path / "out", count=9)
    found = [(r.drawn["score"], r.drawn["slope"], r.best(True)) for r in study.records()]
    assert found == [
        ("0.1", "0.0", 0.1),
        ("0.1", "0.01", 0.11),
        ("0.3", "0.0", 0.3),
        ("0.3", "0.01", 0.31),
    ]
    assert states(study) == ["done"] * 4


def test_count_is_what_the_study_holds_in_the_end(write, tmp_path):
    file = write({"score": {"min": 0.0, "max": 1.0}}, method="random")
    first = fake_sweep(file, tmp_path / "out", count=2).records()
    again = fake_sweep(file, tmp_path / "out", count=3)
    drawn = [record.drawn["score"] for record in again.records()]
    assert drawn[:2] == [record.drawn["score"] for record in first]
    assert len(set(drawn)) == 3
    whole = fake_sweep(file, tmp_path / "uninterrupted", count=3)
    assert [record.drawn["score"] for record in whole.records()] == drawn
    assert starts(tmp_path / "out") == {0: [0], 1: [0], 2: [0]}


def test_a_failing_trial_is_noted_and_the_others_go_on(write, tmp_path, capsys):
    study = fake_sweep(write(options=("--fails=0.2",)), tmp_path / "out", count=3)
    assert states(study) == ["done", "failed", "done"]
    assert study.records()[1].reason == "this one fails"
    assert "[2/3] trial 1: FAILED, this one fails" in capsys.readouterr().out


def test_a_sweep_whose_first_trials_all_fail_stops(write, tmp_path):
    parameters = {"score": {"value": 0.5}, "n": {"values": list(range(8))}}
    study = fake_sweep(write(parameters, ("--fails=0.5",)), tmp_path / "out", count=8)
    assert states(study) == ["failed"] * 5


def test_a_killed_trial_goes_on_from_its_last_epoch_once(write, tmp_path, capsys):
    file = write(options=("--kill_at=0.2", "--epochs=3", "--slope=0.01"))
    study = fake_sweep(file, tmp_path / "out", count=3)
    assert states(study) == ["done"] * 3
    assert starts(tmp_path / "out") == {0: [0], 1: [0, 1], 2: [0]}
    assert study.records()[1].cuts == ("SIGKILL",)
    assert study.records()[1].values == pytest.approx((0.2, 0.21, 0.22))
    run = tmp_path / "out" / "trial_0001" / "version_0"
    lines = (run / "metrics.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "0", "1", "2"]
    assert "trial 1 was cut off (SIGKILL)" in capsys.readouterr().out


def test_two_workers_work_at_the_same_time(write, tmp_path):
    gate = tmp_path / "gate"
    waits = (f"--gate={gate}", "--gate_above=0", "--epochs=2")
    file = write({"score": {"values": [0.1, 0.2, 0.3, 0.4]}}, waits)
    seen = []

    def watched(folder, *more):
        begun = set((tmp_path / "out").glob("trial_*")) - {folder.path}
        seen.append(sum(not (other / "state.json").is_file() for other in begun))
        if len(seen) == 2:
            gate.touch()
        return start(folder, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rgbx.jobs.sweep.run, "start", watched)
        study = fake_sweep(file, tmp_path / "out", count=4, workers=2)
    assert max(seen) == 1  # one other was at work when a trial began, never two
    assert states(study) == ["done"] * 4


def test_hyperband_stops_the_worse_trials_early(write, tmp_path):
    values = [0.9, 0.1, 0.95, 0.2]
    file = write(
        {"score": {"values": values}},
        ("--epochs=20", "--hangs_below=0.5"),
        early_terminate={"type": "hyperband", "min_iter": 2, "eta": 3},
    )
    study = fake_sweep(file, tmp_path / "out", count=4)
    records = study.records()
    assert states(study) == ["done", "stopped early", "done", "stopped early"]
    assert [len(record.values) for record in records] == [20, 2, 20, 2]
    for number in (1, 3):
        assert not (tmp_path / "out" / f"trial_000{number}" / "state.json").exists()


def test_the_target_ends_the_sweep(write, tmp_path):
    file = write(metric={"name": "val/miou", "goal": "maximize", "target": 0.2})
    assert states(fake_sweep(file, tmp_path / "out", count=3)) == ["done", "done"]


def test_a_metric_that_nobody_logs_stops_the_sweep_at_the_first_trial(write, tmp_path):
    file = write(options=("--metric=val/iou",))
    with pytest.raises(RGBXError) as error:
        fake_sweep(file, tmp_path / "out", count=3)
    assert str(error.value) == (
        "Trial 0 ran to its end, but nobody logged val/miou; logged were val/iou: mend the metric "
        f"of {file} and start again."
    )
    mended = write({"score": {"values": [0.1, 0.2]}})
    study = fake_sweep(mended, tmp_path / "out", count=3)  # the study without scores is no loss
    assert states(study) == ["done", "done"]
    assert starts(tmp_path / "out") == {0: [0], 1: [0]}
    assert (tmp_path / "out" / "trial_0000_before_1" / "fit.log").is_file()


def test_another_sweep_is_not_mixed_in(write, tmp_path):
    fake_sweep(write(), tmp_path / "out", count=1)
    with pytest.raises(RGBXError, match="was begun with another parameters"):
        fake_sweep(write({"score": {"values": [0.7]}}), tmp_path / "out", count=1)


def sweep_apart(*plan) -> None:
    """A sweep in a process of its own, which heeds Ctrl-C whatever this one was told."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    fake_sweep(*plan)


def open_when_adopted(gate: Path, monkeypatch) -> None:
    """Trials of an earlier sweep wait at the gate until the present one has them."""

    def adopted(folder):
        gate.touch()
        return Process(folder)

    monkeypatch.setattr(rgbx.jobs.sweep.run, "Process", adopted)


@pytest.mark.parametrize("orphan", ["works on", "is killed too", "is stopped with it"])
def test_a_killed_sweep_goes_on_without_repeating_anything(
    orphan, write, tmp_path, capsys, monkeypatch
):
    values = [0.1, 0.2, 0.3, 0.4, 0.5]
    output, gate = tmp_path / "out", tmp_path / "gate"  # trials 2 and 3 wait there
    gated = (f"--gate={gate}", "--gate_above=0.25")
    file = write({"score": {"values": values}}, ("--epochs=3", "--slope=0.01", *gated))
    forked = multiprocessing.get_context("fork")  # importing everything takes longer than this
    parent = forked.Process(target=sweep_apart, args=(file, output, 5, 2))
    parent.start()
    waiting = [output / f"trial_000{n}/version_0/checkpoints/last.ckpt" for n in (2, 3)]
    until(lambda: all(path.is_file() for path in waiting))
    stopped = orphan == "is stopped with it"
    os.kill(parent.pid, signal.SIGINT if stopped else signal.SIGKILL)
    parent.join()
    folders = [JobFolder(output / f"trial_000{n}") for n in (2, 3)]
    assert [folder.exit_status for folder in folders] == [None, None]
    if orphan == "is killed too":
        for folder in folders:
            os.kill(folder.owner, signal.SIGKILL)
    elif stopped:  # by Ctrl-C: it takes its trials with it
        assert not any(folder.busy for folder in folders)

    if orphan == "works on":
        open_when_adopted(gate, monkeypatch)
    else:
        gate.touch()
    study = fake_sweep(file, output, count=5, workers=2)
    records = study.records()
    assert states(study) == ["done"] * 5
    assert [record.drawn["score"] for record in records] == list(map(str, values))
    for record, value in zip(records, values, strict=True):
        assert record.values == pytest.approx([value, value + 0.01, value + 0.02])
    again = {number: begun for number, begun in starts(output).items() if len(begun) > 1}
    said = capsys.readouterr().out
    if orphan == "works on":
        assert not again
        assert "trial 2 is still at work since an earlier start" in said
    else:
        assert again == {2: [0, 1], 3: [0, 1]}  # from their checkpoints, not from the start
        assert records[2].cuts == ("with the sweep",)
        assert "trial 2 was cut off with the sweep; it goes on" in said
