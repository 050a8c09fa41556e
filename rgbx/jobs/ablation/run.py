"""Training and testing one row of an ablation, each in a process of its own."""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from rgbx.disk import write_text
from rgbx.jobs.ablation.job import Job, logger_overlay
from rgbx.jobs.children import Terminated, child_environment, last_words
from rgbx.jobs.folder import JobFolder

__all__ = ["run_job"]


def run_job(job: Job, title: str, test_options: Sequence[str] = ()) -> str:
    """Train (or go on) and test, unless that is done.

    Args:
        job: What to do.
        title: Its name on the terminal.
        test_options: Further options of ``rgbx test``.

    Returns:
        Why it failed; empty if the scores are there.
    """
    folder = job.folder
    with folder.lock(title) as lock:
        state, _ = folder.state(job.settings)  # another process may have been at work
        if state == "done":
            return ""
        _write_overlay(job)
        if state != "trained":
            reason = _fit(job, lock)
            if reason:
                return reason
        checkpoint = folder.chosen
        if checkpoint is None:
            reason = "training left no checkpoint (--trainer.fast_dev_run writes none)"
            folder.write("failed", job.settings, reason=reason)
            return reason
        output = folder.run / f"test_{checkpoint.stem}"
        argv = ["test", *job.options, "--ckpt_path", str(checkpoint), "--output", str(output)]
        reason = _process([*argv, *test_options], folder, lock, quiet=True)
        status = "trained" if reason else "done"
        folder.write(status, job.settings, **({"reason": reason} if reason else {}))
        return reason


def _write_overlay(job: Job) -> None:
    """Write the configuration that leads a job's logs into its folder."""
    job.folder.path.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(logger_overlay(job.loggers, job.folder.path), sort_keys=False)
    write_text(job.folder.path / "overlay.yaml", text)


def _fit(job: Job, lock: int) -> str:
    folder = job.folder
    folder.write("running", job.settings)
    argv = ["fit", *job.options]
    if folder.last:
        folder.keep_metrics()
        argv += ["--ckpt_path", str(folder.last)]
    reason = _process(argv, folder, lock)
    folder.join_metrics()
    status = "failed" if reason else "trained"
    folder.write(status, job.settings, **({"reason": reason} if reason else {}))
    return reason


def _process(argv: Sequence[str], folder: JobFolder, lock: int, quiet: bool = False) -> str:
    """Run one ``rgbx`` command; what it complains of is shown, and kept in a log next to the run.

    Args:
        argv: The command.
        folder: Gets the log.
        lock: File descriptor that the process inherits.
        quiet: Keep all that it says in the log.

    Returns:
        Why it failed, or an empty text.
    """
    log = folder.path / f"{argv[0]}.log"
    with log.open("ab") as file:
        start = file.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "rgbx", *argv],
            stdout=file if quiet else None,
            stderr=file,  # a file, not a pipe: it outlives this process
            env=child_environment(),
            pass_fds=(lock,),
        )
    folder.note_owner(process.pid)
    try:
        if quiet:
            _wait(process, f"testing; log: {log}")
        else:
            _follow(process, log, start)
    except KeyboardInterrupt as stop:
        if isinstance(stop, Terminated):
            process.terminate()
        _stop(process)
        raise
    return _reason(process.returncode, log, start)


def _follow(process: subprocess.Popen[bytes], log: Path, start: int) -> None:
    """Show what a process writes into its log until it ends."""
    with log.open("rb") as file:
        file.seek(start)
        ended = False
        while not ended:
            ended = process.poll() is not None
            if text := file.read():
                sys.stderr.write(text.decode("utf-8", "replace"))
                sys.stderr.flush()
            if not ended:
                time.sleep(0.1)


def _wait(process: subprocess.Popen[bytes], text: str) -> None:
    """Wait with a line that shows for how long."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, transient=True) as progress:
        progress.add_task(text, total=None)
        process.wait()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let a process that got the same signal end by itself, then end it."""
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _reason(status: int, log: Path, start: int) -> str:
    """Why a process failed, in one clause."""
    if status == 0:
        return ""
    if status in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        return f"it was stopped by {signal.Signals(status - 128).name}"
    if status < 0:
        name = signal.Signals(-status).name
        hint = " (memory may have run out)" if -status == signal.SIGKILL else ""
        return f"it was killed by {name}{hint}"
    return last_words(log, start) or f"exit status {status}"
