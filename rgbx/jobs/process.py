"""The process of a job: started or taken over, watched, ended."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rgbx.jobs.children import child_environment, last_words
from rgbx.jobs.folder import JobFolder, try_lock

__all__ = ["Process", "start"]

_GRACE = 30.0  # seconds that a process has to end by itself


class Process:
    """A process at work on a job, started here or left by a command that was killed.

    Attributes:
        folder: The job's folder.
        log: What the process writes to; None if it was taken over.
        begin: Byte of the log at which it began.
    """

    def __init__(
        self,
        folder: JobFolder,
        process: subprocess.Popen[bytes] | None = None,
        log: Path | None = None,
        begin: int = 0,
    ) -> None:
        self.folder, self.log, self.begin = folder, log, begin
        self._process = process
        self._deadline: float | None = None

    @property
    def adopted(self) -> bool:
        """Whether another command started it."""
        return self._process is None

    @property
    def running(self) -> bool:
        """Whether it is at work; kills one that was stopped and does not end."""
        running = self.folder.busy if self._process is None else self._process.poll() is None
        if running and self._deadline is not None and time.monotonic() > self._deadline:
            self._signal(signal.SIGKILL)
        return running

    @property
    def killed_by(self) -> str:
        """Name of the signal that ended it, if one did and that is known."""
        status = self._process.returncode if self._process is not None else None
        return signal.Signals(-status).name if status is not None and status < 0 else ""

    @property
    def reason(self) -> str:
        """Why it failed, in one clause; empty if it did not."""
        status = self._process.returncode if self._process is not None else None
        if status in (128 + signal.SIGINT, 128 + signal.SIGTERM):
            return f"it was stopped by {signal.Signals(status - 128).name}"
        if self.killed_by:
            hint = " (memory may have run out)" if self.killed_by == "SIGKILL" else ""
            return f"it was killed by {self.killed_by}{hint}"
        if not status or self.log is None:
            return ""
        return last_words(self.log, self.begin) or f"exit status {status}"

    def stop(self) -> None:
        """Ask it to end; `running` sees to it that it does."""
        if self._deadline is None:
            self._deadline = time.monotonic() + _GRACE
            self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        group = self.folder.owner if self._process is None else self._process.pid
        if group > 1:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)


def start(
    folder: JobFolder,
    argv: Sequence[str],
    log: str,
    program: Sequence[str] = (sys.executable, "-m", "rgbx"),
    environment: Mapping[str, str] | None = None,
    screen: bool = False,
) -> Process:
    """Start a command that works on a job, or take over the process that already does.

    Args:
        folder: The job's; its lock is held until the process ends, whoever ends it.
        argv: The command.
        log: Name of the file in the folder that it writes to.
        program: What runs the command.
        environment: Variables besides the present ones.
        screen: Let its standard output go to the terminal rather than to the log.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    path = folder.path / log
    with (
        path.open("ab") as file,
        (folder.path / ".lock").open("a", encoding="utf-8") as lock,
    ):
        if not try_lock(lock.fileno()):
            return Process(folder)
        process = subprocess.Popen(
            [*program, *argv],
            stdin=subprocess.DEVNULL,
            stdout=None if screen else file,
            stderr=file,  # a file, not a pipe: it outlives this process
            env={**child_environment(), **(environment or {})},
            pass_fds=(lock.fileno(),),
            start_new_session=True,  # so that its loaders and ranks can be ended with it
        )
        begin = file.tell()
    folder.note_owner(process.pid)
    return Process(folder, process, path, begin)
