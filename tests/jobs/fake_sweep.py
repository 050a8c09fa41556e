"""A sweep whose trials are `fake_trial.py`."""

import sys
from pathlib import Path

import rgbx.jobs.sweep.run
from rgbx.jobs.sweep import read_command, read_sweep
from rgbx.jobs.sweep.run import Plan, run_sweep
from rgbx.jobs.sweep.study import SweepStudy

FAKE = (sys.executable, str(Path(__file__).with_name("fake_trial.py")))


def fake_sweep(file: Path, output: Path, count: int, workers: int = 1) -> SweepStudy:
    """Run a sweep; returns its study."""
    sweep = read_sweep(file)
    command = read_command(sweep)
    study = SweepStudy(output / "sweep.db", sweep, {"parameters": sweep.content["parameters"]}, 0)
    rgbx.jobs.sweep.run.PROGRAM = FAKE
    run_sweep(Plan(sweep, command, (), output, count, workers), study)
    return study
