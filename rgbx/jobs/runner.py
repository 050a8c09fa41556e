"""The loop that runs many jobs: keeps its workers busy, watches them, ends them with itself."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from rgbx.jobs.process import Process

__all__ = ["Bar", "Jobs", "run_jobs"]

Job = TypeVar("Job")
_PAUSE = 0.2  # seconds between looks at the processes


class Jobs(Protocol[Job]):
    """Where jobs come from, and what becomes of them: the rows of an ablation, a sweep's trials."""

    def next(self, held: Sequence[Job]) -> Job | None:
        """A job to be run that no worker holds; None if there is none now."""

    def start(self, job: Job, environment: Mapping[str, str]) -> Process | None:
        """Its next process; None if it is over."""

    def look(self, job: Job, process: Process, running: bool) -> None:
        """Note what a process did since the last look; the last one comes after its end."""

    def ended(self, job: Job, process: Process) -> bool:
        """Note how a process ended; whether the job goes on with `start`."""


@dataclass
class _Slot(Generic[Job]):
    """A worker's place, and the job at work there."""

    environment: Mapping[str, str]
    job: Job | None = None
    process: Process | None = None


class Bar:
    """A progress bar of jobs below the lines that are said.

    Args:
        title: What the jobs are.
        total: How many there are.
        shown: Whether there is a bar; lines are printed all the same.
    """

    def __init__(self, title: str, total: int, shown: bool = True) -> None:
        console = Console()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(
            *columns,
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not (shown and console.is_terminal),
        )
        self._total = total
        self._task = self._progress.add_task(title, total=total)

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def done(self, count: int) -> None:
        """So many jobs have ended."""
        self._progress.update(self._task, completed=min(count, self._total))

    def say(self, text: str) -> None:
        """Print a line above the bar, as it is."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


def run_jobs(
    jobs: Jobs[Job], workers: int, environment: Mapping[str, str], devices: Sequence[str] = ()
) -> None:
    """Run jobs until there are no more.

    Args:
        jobs: Where they come from.
        workers: Jobs at a time.
        environment: Variables of all processes besides the present ones.
        devices: One of these is seen by each worker, in turn; empty to leave it to the job.

    Raises:
        KeyboardInterrupt: After the processes were ended; another time they go on.
    """
    slots: list[_Slot[Job]] = []
    for index in range(workers):
        own = {"CUDA_VISIBLE_DEVICES": devices[index % len(devices)]} if devices else {}
        slots.append(_Slot({**environment, **own}))
    try:
        while True:
            _fill(jobs, slots)
            busy = [slot for slot in slots if slot.process is not None]
            if not busy:
                return
            for slot in busy:
                _watch(jobs, slot)
            time.sleep(_PAUSE)
    finally:
        processes = [slot.process for slot in slots if slot.process is not None]
        for process in processes:
            process.stop()
        while any(process.running for process in processes):
            time.sleep(_PAUSE)


def _fill(jobs: Jobs[Job], slots: Sequence[_Slot[Job]]) -> None:
    """Put a job into every free slot, while there is one to run."""
    for slot in slots:
        while slot.process is None:
            held = [s.job for s in slots if s.process is not None and s.job is not None]
            job = jobs.next(held)
            if job is None:
                return
            slot.job, slot.process = job, jobs.start(job, slot.environment)


def _watch(jobs: Jobs[Job], slot: _Slot[Job]) -> None:
    process, job = slot.process, slot.job
    assert process is not None and job is not None
    running = process.running  # before the last look, so that nothing is missed
    jobs.look(job, process, running)
    if not running:
        slot.process = None
        if jobs.ended(job, process):
            slot.process = jobs.start(job, slot.environment)
