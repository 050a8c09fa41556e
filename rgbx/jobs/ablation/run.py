"""Training and testing the rows of an ablation, each command in a process of its own."""

import sys
from collections.abc import Mapping, Sequence

import yaml

from rgbx.disk import write_text
from rgbx.jobs.ablation.job import Job, logger_overlay
from rgbx.jobs.process import Process, start
from rgbx.jobs.runner import Bar, run_jobs

__all__ = ["run_rows"]


def run_rows(
    jobs: Sequence[Job],
    test_options: Sequence[str] = (),
    workers: int = 1,
    devices: Sequence[str] = (),
) -> dict[str, str]:
    """Train (or go on) and test every job, unless that is done.

    Args:
        jobs: What to do, in order.
        test_options: Further options of ``rgbx test``.
        workers: Jobs at a time; of one alone the training is seen on the terminal.
        devices: One of these is seen by each worker; empty to leave it to the job.

    Returns:
        Title of each job that failed -> why.

    Raises:
        KeyboardInterrupt: After the processes were ended; another time they go on.
    """
    with Bar("rows", len(jobs), shown=workers > 1) as bar:
        rows = _Rows(jobs, test_options, bar, screen=workers == 1)
        run_jobs(rows, workers, {}, devices)
    return rows.failed


class _Rows:
    """The jobs of an ablation: each a training, then a test."""

    def __init__(
        self, jobs: Sequence[Job], test_options: Sequence[str], bar: Bar, screen: bool
    ) -> None:
        self.failed: dict[str, str] = {}
        self._jobs, self._test_options, self._bar, self._screen = jobs, test_options, bar, screen
        self._begun = 0
        self._ended = 0
        self._shown: dict[str, int] = {}  # of the logs that are shown: how far

    def next(self, held: Sequence[Job]) -> Job | None:
        """The next job in order; those that are done are passed by."""
        while self._begun < len(self._jobs):
            job = self._jobs[self._begun]
            self._begun += 1
            if job.folder.busy or job.folder.state(job.settings)[0] != "done":
                self._say(job, "running")
                return job
            self._over(job)
            self._say(job, "done before")
        return None

    def start(self, job: Job, environment: Mapping[str, str]) -> Process | None:
        """Train, go on, or test; wait for a process of another command that does."""
        folder = job.folder
        if folder.busy:
            self._bar.say(
                f"{job.title}: another process (id {folder.owner or 'unknown'}) is at work on it "
                f"in {folder.path}; waiting for it to end. Stop that process to go on at once."
            )
            return Process(folder)
        state, _ = folder.state(job.settings)
        if state == "done":
            self._over(job)
            return None
        if state == "trained":
            return self._test(job, environment)
        folder.path.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(logger_overlay(job.loggers, folder.path), sort_keys=False)
        write_text(folder.path / "overlay.yaml", text)
        folder.write("running", job.settings)
        argv = ["fit", *job.options]
        if folder.last:
            folder.keep_metrics()
            argv += ["--ckpt_path", str(folder.last)]
        return start(folder, argv, "fit.log", environment=environment, screen=self._screen)

    def _test(self, job: Job, environment: Mapping[str, str]) -> Process:
        checkpoint = job.folder.chosen
        assert checkpoint is not None  # as it is trained
        output = job.folder.run / f"test_{checkpoint.stem}"
        argv = ["test", *job.options, "--ckpt_path", str(checkpoint), "--output", str(output)]
        self._bar.say(f"{job.title}: testing; log: {job.folder.path / 'test.log'}")
        argv += self._test_options
        return start(job.folder, argv, "test.log", environment=environment)

    def look(self, job: Job, process: Process, running: bool) -> None:
        """Show what a training complains of, if it is the only one."""
        log = process.log
        if not self._screen or log is None or log.name != "fit.log":
            return
        with log.open("rb") as file:
            file.seek(self._shown.get(str(log), process.begin))
            text = file.read()
            self._shown[str(log)] = file.tell()
        if text:
            sys.stderr.write(text.decode("utf-8", "replace"))
            sys.stderr.flush()

    def ended(self, job: Job, process: Process) -> bool:
        """Note how a training or a test ended; after a training comes the test."""
        folder, reason = job.folder, process.reason
        if process.adopted:
            return True  # whatever it was: what is left to do follows from what is there
        if process.log is not None and process.log.name == "test.log":
            folder.write("trained" if reason else "done", job.settings, **_because(reason))
            self._over(job, reason)
            return False
        folder.join_metrics()
        if not reason and folder.chosen is None:
            reason = "training left no checkpoint (--trainer.fast_dev_run writes none)"
        folder.write("failed" if reason else "trained", job.settings, **_because(reason))
        if reason:
            self._over(job, reason)
        return not reason

    def _over(self, job: Job, reason: str = "") -> None:
        self._ended += 1
        self._bar.done(self._ended)
        if reason:
            self.failed[job.title] = reason
            self._say(job, f"FAILED, {reason}")

    def _say(self, job: Job, text: str) -> None:
        number = self._jobs.index(job) + 1
        self._bar.say(f"[{number}/{len(self._jobs)}] {job.title}: {text}")


def _because(reason: str) -> dict[str, str]:
    return {"reason": reason} if reason else {}
