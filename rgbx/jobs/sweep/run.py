"""The loop of a local sweep: keeps its workers busy, watches what they log, and notes the end."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from rgbx.errors import RGBXError
from rgbx.jobs.sweep import Command, SweepFile
from rgbx.jobs.sweep.record import TrialRecord
from rgbx.jobs.sweep.study import SweepStudy
from rgbx.jobs.sweep.trial import Process, TrialFolder
from rgbx.jobs.sweep.watch import logged_names, logged_values

__all__ = ["Plan", "run_sweep"]

#: as W&B's agent: a sweep whose first trials all fail is wrong as a whole
INITIAL_FAILURES = 5
#: a process that was ended from outside is started once more
_CUTS = 2
WITH_SWEEP = "with the sweep"
_PAUSE = 0.2  # seconds between looks at the trials


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
class _Slot:
    """A worker's place, and the trial at work there."""

    environment: Mapping[str, str]
    number: int = -1
    process: Process | None = None
    seen: int = 0
    size: int = -1
    stopped: bool = False


@dataclass
class _Sweep:
    plan: Plan
    study: SweepStudy
    progress: Progress
    task: TaskID
    slots: list[_Slot] = field(default_factory=list)

    # ------------------------------------------------------------------ starting
    def take_up(self) -> None:
        """Note which trials were cut off together with an earlier sweep."""
        for record in self.study.records():
            if record.state != "running" or not record.folder:
                continue
            folder = TrialFolder(Path(record.folder))
            if folder.busy:
                self.say(f"trial {record.number} is still at work since an earlier start")
            elif folder.exit_status is None:
                self.study.cut_off(record, WITH_SWEEP)
                self.say(f"trial {record.number} was cut off with the sweep; it goes on")

    def fill(self) -> None:
        """Put a trial into every free slot, while there is one to run."""
        for slot in self.slots:
            if slot.process is None and (record := self._next()) is not None:
                self._start(slot, record)

    def _next(self) -> TrialRecord | None:
        records = self.study.records()
        held = {slot.number for slot in self.slots if slot.process is not None}
        left = [r for r in records if r.state == "running" and r.number not in held]
        for record in left:  # begun by a sweep that was stopped
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

    def _start(self, slot: _Slot, record: TrialRecord) -> None:
        folder = TrialFolder(Path(record.folder) if record.folder else self._place(record.number))
        slot.number, slot.seen = record.number, len(record.values)
        slot.size, slot.stopped = -1, False
        # busy is asked first: a process notes its end before it lets go
        if record.folder and (folder.busy or folder.exit_status is not None):
            slot.process = folder.adopt()
            return
        if not record.folder and folder.path.exists():  # of a study that is gone
            folder.set_aside()
        self.study.begin(record.number, folder.path)
        values = self.plan.file.values(record.drawn)
        options = self.plan.command.options(values, self.plan.extra)
        slot.process = folder.start(options, slot.environment)

    def _place(self, number: int) -> Path:
        return self.plan.output.resolve() / f"trial_{number:04d}"

    # ------------------------------------------------------------------ watching
    def watch(self, slot: _Slot) -> None:
        """Note what a trial logged, and whether it ended."""
        assert slot.process is not None
        running = slot.process.running  # before the last look, so that nothing is missed
        self._report(slot, running)
        if not running:
            self._settle(slot, slot.process)

    def _report(self, slot: _Slot, running: bool) -> None:
        assert slot.process is not None
        metrics = slot.process.folder.run / "metrics.csv"
        size = metrics.stat().st_size if metrics.is_file() else -1
        if slot.stopped or size == slot.size:
            return
        slot.size = size
        values = logged_values(slot.process.folder.run, self.plan.file.metric.name)
        for step, value in enumerate(values[slot.seen :], slot.seen + 1):
            slot.seen = step
            if self.study.report(slot.number, step, value) and running:
                # noted first: should this process be killed now, the trial is not taken up again
                self.study.finish(slot.number, "stopped early")
                slot.stopped = True
                slot.process.stop()
                return

    def _settle(self, slot: _Slot, process: Process) -> None:
        folder, slot.process = process.folder, None
        record = next(r for r in self.study.records() if r.number == slot.number)
        status = folder.exit_status
        if status is None and not slot.stopped:
            self._cut_off(record, process.killed_by or "its process ended")
            return
        folder.join_metrics()  # of a trial that was cut off: one file of all its epochs
        if not slot.stopped:
            self._finish(record, folder, status)
        self._tell(record.number)

    def _finish(self, record: TrialRecord, folder: TrialFolder, status: int | None) -> None:
        if status != 0:
            self.study.finish(record.number, "failed", folder.reason())
        elif record.best(self.plan.file.metric.maximize) is None:
            self._without_metric(record, folder)
        else:
            self.study.finish(record.number, "done")

    def _cut_off(self, record: TrialRecord, how: str) -> None:
        """Start a trial again whose process was killed, the second time give it up."""
        self.study.cut_off(record, how)
        if sum(cut != WITH_SWEEP for cut in record.cuts) + 1 < _CUTS:
            self.say(f"trial {record.number} was cut off ({how}); it goes on from its last epoch")
            return
        reason = f"it was cut off {_CUTS} times ({how}; memory may have run out)"
        self.study.finish(record.number, "failed", reason)
        self._tell(record.number)

    def _without_metric(self, record: TrialRecord, folder: TrialFolder) -> None:
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
        self.progress.update(self.task, completed=ended)
        self.say(f"[{ended}/{self.plan.count}] trial {number}: {words}")

    def _score(self, value: float) -> str:
        return f"{self.plan.file.metric.name} {value:.4g}"

    def say(self, text: str) -> None:
        """Print a line above the progress bar, as it is."""
        self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """End all processes; their trials can go on another time."""
        for slot in self.slots:
            if slot.process is not None:
                slot.process.stop()
        while any(slot.process is not None and slot.process.running for slot in self.slots):
            time.sleep(_PAUSE)


def run_sweep(plan: Plan, study: SweepStudy) -> None:
    """Run trials until the study holds as many as planned, or the target is reached.

    Trials that an earlier sweep left are taken up first: one that is still at work is watched, one
    that was cut off goes on from its last checkpoint.

    Raises:
        RGBXError: The first trial ended without the metric.
        KeyboardInterrupt: After the trials were ended; they go on with the next sweep.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console()
    with Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        done = sum(record.ended for record in study.records())
        task = progress.add_task("trials", total=plan.count, completed=min(done, plan.count))
        sweep = _Sweep(plan, study, progress, task)
        for index in range(plan.workers):
            environment = dict(plan.command.environment)
            if plan.devices:
                environment["CUDA_VISIBLE_DEVICES"] = plan.devices[index % len(plan.devices)]
            sweep.slots.append(_Slot(environment))
        try:
            sweep.take_up()
            while True:
                sweep.fill()
                busy = [slot for slot in sweep.slots if slot.process is not None]
                if not busy:
                    return
                for slot in busy:
                    sweep.watch(slot)
                time.sleep(_PAUSE)
        finally:
            sweep.stop()
