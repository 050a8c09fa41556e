"""The trials of a local sweep: which comes next, what it logged, how it ended."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from rgbx.disk import write_text
from rgbx.errors import RGBXError
from rgbx.jobs.children import last_words
from rgbx.jobs.folder import STATE, JobFolder
from rgbx.jobs.process import Process, start
from rgbx.jobs.runner import Bar, run_jobs
from rgbx.jobs.sweep import Command, SweepFile
from rgbx.jobs.sweep.record import TrialRecord
from rgbx.jobs.sweep.study import SweepStudy
from rgbx.jobs.sweep.watch import logged_names, logged_values

__all__ = ["Plan", "run_sweep"]

#: as W&B's agent: a sweep whose first trials all fail is wrong as a whole
INITIAL_FAILURES = 5
#: a process that was ended from outside is started once more
_CUTS = 2
WITH_SWEEP = "with the sweep"
#: what runs a trial; its folder and the command follow
PROGRAM = (sys.executable, "-m", "rgbx.cli.sweep_child")


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        file: The sweep.
        command: Its command.
        extra: Further options of ``rgbx fit``.
        output: Folder of the trials.
        count: Trials that the study is to hold.
        workers: Trials at a time.
        devices: One of these is seen by each worker, in turn; empty to leave it to the trial.
    """

    file: SweepFile
    command: Command
    extra: Sequence[str]
    output: Path
    count: int
    workers: int
    devices: Sequence[str] = ()


@dataclass
class _Seen:
    """What was read of a running trial: values, size of its log, whether it is to end early."""

    values: int = 0
    size: int = -1
    stopped: bool = False


@dataclass
class _Trials:
    """The trials of a sweep, as the runner sees them."""

    plan: Plan
    study: SweepStudy
    bar: Bar
    seen: dict[int, _Seen] = field(default_factory=dict)

    # ------------------------------------------------------------------ starting
    def take_up(self) -> None:
        """Note which trials were cut off together with an earlier sweep."""
        for record in self.study.records():
            if record.state != "running" or not record.folder:
                continue
            folder = JobFolder(Path(record.folder))
            if folder.busy:
                self.bar.say(f"trial {record.number} is still at work since an earlier start")
            elif folder.exit_status is None:
                self.study.cut_off(record, WITH_SWEEP)
                self.bar.say(f"trial {record.number} was cut off with the sweep; it goes on")

    def next(self, held: Sequence[TrialRecord]) -> TrialRecord | None:
        """A trial that was begun by a sweep that was stopped, or a new one while there is need."""
        records, numbers = self.study.records(), {record.number for record in held}
        left = [r for r in records if r.state == "running" and r.number not in numbers]
        for record in left:
            if record.begun:
                return record
            self.study.void(record.number)
        ended = [record for record in records if record.ended]
        if len(ended) + len(held) >= self.plan.count or self._reached(ended):
            return None
        if len(ended) >= INITIAL_FAILURES and all(r.state == "failed" for r in ended):
            return None
        return self.study.ask()

    def _reached(self, ended: Sequence[TrialRecord]) -> bool:
        """Whether the metric's target was."""
        metric = self.plan.file.metric
        if metric.target is None:
            return False
        found = [record.best(metric.maximize) for record in ended]
        return any(v is not None and not metric.better(metric.target, v) for v in found)

    def start(self, job: TrialRecord, environment: Mapping[str, str]) -> Process:
        """Begin a trial, go on with it, or take over its process."""
        folder = JobFolder(Path(job.folder) if job.folder else self._place(job.number))
        self.seen[job.number] = _Seen(values=len(job.values))
        # busy is asked first: a process notes its end before it lets go
        if job.folder and (folder.busy or folder.exit_status is not None):
            return Process(folder)
        if not job.folder and folder.path.exists():  # of a study that is gone
            folder.set_aside()
        self.study.begin(job.number, folder.path)
        folder.path.mkdir(parents=True, exist_ok=True)
        (folder.path / STATE).unlink(missing_ok=True)
        write_text(folder.path / "overlay.yaml", _overlay(folder.path))
        options = self.plan.command.options(self.plan.file.values(job.drawn), self.plan.extra)
        argv = ["fit", *options, "--config", str(folder.path / "overlay.yaml")]
        if folder.last:
            folder.keep_metrics()
            argv += ["--ckpt_path", str(folder.last)]
        program = (*PROGRAM, str(folder.path))
        return start(folder, argv, "fit.log", program, environment)

    def _place(self, number: int) -> Path:
        return self.plan.output.resolve() / f"trial_{number:04d}"

    # ------------------------------------------------------------------ watching
    def look(self, job: TrialRecord, process: Process, running: bool) -> None:
        """Report what a trial logged, and stop it if others are better."""
        seen, folder = self.seen[job.number], process.folder
        metrics = folder.run / "metrics.csv"
        size = metrics.stat().st_size if metrics.is_file() else -1
        if seen.stopped or size == seen.size:
            return
        seen.size = size
        values = logged_values(folder.run, self.plan.file.metric.name)
        for step, value in enumerate(values[seen.values :], seen.values + 1):
            seen.values = step
            if self.study.report(job.number, step, value) and running:
                # noted first: should this process be killed now, the trial is not taken up again
                self.study.finish(job.number, "stopped early")
                seen.stopped = True
                process.stop()
                return

    def ended(self, job: TrialRecord, process: Process) -> bool:
        """Note how a trial ended; one that was cut off is taken up by `next`."""
        folder, stopped = process.folder, self.seen[job.number].stopped
        record = next(r for r in self.study.records() if r.number == job.number)
        status = folder.exit_status
        if status is None and not stopped:
            self._cut_off(record, process.killed_by or "its process ended")
            return False
        folder.join_metrics()  # of a trial that was cut off: one file of all its epochs
        if not stopped:
            self._finish(record, folder, status)
        self._tell(record.number)
        return False

    def _finish(self, record: TrialRecord, folder: JobFolder, status: int | None) -> None:
        if status != 0:
            reason = last_words(folder.path / "fit.log") or "it said nothing"
            self.study.finish(record.number, "failed", reason)
        elif record.best(self.plan.file.metric.maximize) is None:
            self._without_metric(record, folder)
        else:
            self.study.finish(record.number, "done")

    def _cut_off(self, record: TrialRecord, how: str) -> None:
        """Start a trial again whose process was killed, the second time give it up."""
        self.study.cut_off(record, how)
        if sum(cut != WITH_SWEEP for cut in record.cuts) + 1 < _CUTS:
            self.bar.say(
                f"trial {record.number} was cut off ({how}); it goes on from its last epoch"
            )
            return
        reason = f"it was cut off {_CUTS} times ({how}; memory may have run out)"
        self.study.finish(record.number, "failed", reason)
        self._tell(record.number)

    def _without_metric(self, record: TrialRecord, folder: JobFolder) -> None:
        name = self.plan.file.metric.name
        if record.values:
            self.study.finish(record.number, "failed", f"{name} was never a finite number")
            return
        logged = ", ".join(logged_names(folder.run)) or "nothing"
        reason = f"nobody logged {name}; logged were {logged}"
        self.study.finish(record.number, "failed", reason)
        if not any(other.values for other in self.study.records()):
            raise RGBXError(
                f"Trial {record.number} ran to its end, but {reason}: mend the metric of "
                f"{self.plan.file.path} and start again."
            )

    # ------------------------------------------------------------------ telling
    def _tell(self, number: int) -> None:
        """One line for a trial that ended."""
        records = self.study.records()
        record = records[number]
        best = record.best(self.plan.file.metric.maximize)
        words = record.state if best is None else f"{record.state}, {self._score(best)}"
        if record.state == "failed":
            words = f"FAILED, {record.reason}"
        ended = sum(r.ended for r in records)
        self.bar.done(ended)
        self.bar.say(f"[{ended}/{self.plan.count}] trial {number}: {words}")

    def _score(self, value: float) -> str:
        return f"{self.plan.file.metric.name} {value:.4g}"


def run_sweep(plan: Plan, study: SweepStudy) -> None:
    """Run trials until the study holds as many as planned, or the target is reached.

    Trials that an earlier sweep left are taken up first: one that is still at work is watched, one
    that was cut off goes on from its last checkpoint.

    Raises:
        RGBXError: The first trial ended without the metric.
        KeyboardInterrupt: After the trials were ended; they go on with the next sweep.
    """
    with Bar("trials", plan.count) as bar:
        bar.done(sum(record.ended for record in study.records()))
        trials = _Trials(plan, study, bar)
        trials.take_up()
        run_jobs(trials, plan.workers, plan.command.environment, plan.devices)


def _overlay(folder: Path) -> str:
    """The configuration that leads logs and checkpoints into a trial's folder, line by line."""
    where = {"save_dir": str(folder.parent), "name": folder.name, "version": 0}
    loggers = [
        {"class_path": "CSVLogger", "init_args": {**where, "flush_logs_every_n_steps": 1}},
        {"class_path": "TensorBoardLogger", "init_args": where},
    ]
    return yaml.safe_dump({"trainer": {"logger": loggers}}, sort_keys=False)
