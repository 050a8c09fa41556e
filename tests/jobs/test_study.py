"""The study without trials: what is drawn, what it remembers, what mattered."""

import math

import pytest

from rgbx.errors import RGBXError
from rgbx.jobs.sweep import read_sweep
from rgbx.jobs.sweep.ranking import draw_importances, ranked, ranking_text, write_ranking
from rgbx.jobs.sweep.study import SweepStudy
from rgbx.jobs.sweep.watch import logged_names, logged_values

LR = {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2}


@pytest.fixture
def study(write, tmp_path):
    """``study(parameters, **changes of the file) -> SweepStudy``."""

    def make(parameters, settings=None, seed=0, **changes) -> SweepStudy:
        file = read_sweep(write(parameters, **changes))
        return SweepStudy(tmp_path / "sweep.db", file, settings or {"a": 1}, seed)

    return make


def finish(study: SweepStudy, score) -> float:
    """One trial whose score is a function of what was drawn."""
    record = study.ask()
    assert record is not None
    value = score(record.drawn)
    study.report(record.number, 1, value)
    study.finish(record.number, "done")
    return value


def bowl(drawn) -> float:
    return 0.7 - 0.2 * (math.log10(drawn["lr"]) + 3) ** 2 + 0.01 * (drawn["fusion"] == "dffm")


@pytest.mark.slow
def test_bayes_learns_where_the_good_values_are_and_says_what_mattered(study, tmp_path):
    parameters = {"lr": LR, "fusion": {"values": ["dffm", "concat"]}}
    found = study(parameters, method="bayes")
    scores = [finish(found, bowl) for _ in range(25)]
    assert sum(scores[15:]) / 10 > sum(scores[:10]) / 10 + 0.05  # ten are drawn at random
    importances = found.importances()
    assert list(importances) == ["lr", "fusion"]
    assert importances["lr"] > 0.8 and sum(importances.values()) == pytest.approx(1)
    draw_importances(importances, "title", tmp_path / "importance.png")
    assert (tmp_path / "importance.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_random_draws_depend_on_seed_and_number_alone(study):
    def drawn(seed, count):
        found = study({"lr": LR}, {"seed": seed, "count": count}, seed, method="random")
        return [found.ask().drawn["lr"] for _ in range(count)]

    first = drawn(0, 4)
    assert drawn(0, 3) == first[:3] and len(set(first)) == 4
    assert not set(drawn(1, 4)) & set(first)
    assert all(1e-4 <= value <= 1e-2 for value in first)


@pytest.mark.slow
def test_importance_is_silent_where_nothing_differs(study):
    found = study({"lr": LR}, method="random")
    assert found.importances() == {}
    for _ in range(3):
        finish(found, lambda drawn: 0.5)
    assert found.importances() == {}


@pytest.mark.slow
def test_a_failed_trial_runs_again_under_a_new_number(study):
    found = study({"score": {"values": [1, 2]}})
    found.ask()
    found.finish(0, "failed", "no memory")
    found.again(found.records()[0])
    assert [record.state for record in found.records()] == ["void", "waiting"]
    record = found.ask()
    assert (record.number, record.drawn, record.state) == (1, {"score": "1"}, "running")
    assert found.ask().drawn == {"score": "2"}
    assert found.ask() is None


@pytest.mark.slow
def test_the_ranking_puts_failed_trials_last_and_says_why(study, tmp_path):
    found = study({"score": {"values": [1, 2, 3]}}, metric={"name": "val/MAE", "goal": "minimize"})
    finish(found, lambda drawn: 0.3)
    number = found.ask().number
    found.finish(number, "failed", "no memory")
    finish(found, lambda drawn: 0.1)
    records = found.records()
    assert [record.number for record in ranked(records, maximize=False)] == [2, 0, 1]
    file = read_sweep(tmp_path / "sweep.yaml")
    text = ranking_text(records, file).splitlines()
    assert text[0].split() == ["rank", "trial", "val/MAE", "state", "validations", "score"]
    assert text[2].split() == ["1", "2", "0.1", "done", "1", "3"]
    assert text[4].split() == ["-", "1", "-", "failed", "0", "2"]
    assert text[5] == "trial 1 failed: no memory"
    write_ranking(records, file, tmp_path / "ranking.csv")
    assert (tmp_path / "ranking.csv").read_text().splitlines()[3] == "-,1,-,failed,0,2,0,no memory,"


@pytest.mark.slow
def test_the_ranking_spells_values_as_a_configuration_does(study, tmp_path):
    values = [None, True, 0.00012345, "x"]
    found = study({"value": {"values": values}}, method="grid")
    for number in range(4):
        found.begin(found.ask().number, tmp_path / str(number))
    rows = ranking_text(found.records(), read_sweep(tmp_path / "sweep.yaml")).splitlines()[2:]
    assert [row.split()[-1] for row in rows] == ["null", "true", "0.0001234", "x"]


@pytest.mark.slow
def test_a_study_of_another_sweep_is_refused_once_it_holds_scores(study):
    found = study({"lr": LR}, {"seed": 0}, method="random")
    found.ask()
    study({"lr": {"min": 1, "max": 2}}, {"seed": 1}, method="random")  # nothing is lost
    finish(study({"lr": {"min": 1, "max": 2}}, {"seed": 1}, method="random"), lambda drawn: 1.0)
    with pytest.raises(RGBXError, match=r"was begun with another seed \(1, now 2\), so its"):
        study({"lr": LR}, {"seed": 2}, method="random")


def test_what_a_running_trial_logged_is_read_line_by_line(tmp_path):
    before = "epoch,step,train/loss,val/miou\n0,0,1.5,\n0,1,,0.25\n1,2,,0.5\n1,3,,0.6\n"
    (tmp_path / "metrics_before.csv").write_text(before)
    assert logged_values(tmp_path, "val/miou") == [0.25, 0.5, 0.6]
    (tmp_path / "metrics.csv").write_text("epoch,step,val/miou\n1,2,0.55\n1,3,nan\n2,4,0.9")
    values = logged_values(tmp_path, "val/miou")  # the last line is not whole yet
    assert values[:2] == [0.25, 0.55] and math.isnan(values[2]) and len(values) == 3
    assert logged_names(tmp_path) == ["train/loss", "val/miou"]
