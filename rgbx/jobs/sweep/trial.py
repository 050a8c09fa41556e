"""One trial of a sweep: its folder, its process, and how that ended."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from rgbx.disk import write_text
from rgbx.jobs.children import child_environment, last_words
from rgbx.jobs.folder import STATE, JobFolder

__all__ = ["Process", "TrialFolder"]

#: what runs a trial; its folder and the command follow
PROGRAM = (sys.executable, "-m", "rgbx.cli.sweep_child")
_GRACE = 20.0  # seconds that a process has to end by itself


@dataclass(frozen=True)
class TrialFolder(JobFolder):
    """``trial_0003``: the folder of a job, whose process writes ``fit.log``."""

    def reason(self) -> str:
        """The last thing that the process said."""
        return last_words(self.path / "fit.log") or "it said nothing"

    def start(self, options: Sequence[str], environment: Mapping[str, str]) -> "Process":
        """Start ``rgbx fit``, from the last checkpoint if there is one.

        Args:
            options: of the command; logs and checkpoints are led into this folder.
            environment: variables besides the present ones.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / STATE).unlink(missing_ok=True)
        write_text(self.path / "overlay.yaml", _overlay(self.path))
        argv = ["fit", *options, "--config", str(self.path / "overlay.yaml")]
        if self.last:
            self.keep_metrics()
            argv += ["--ckpt_path", str(self.last)]
        with (
            (self.path / "fit.log").open("ab") as log,
            (self.path / ".lock").open("a", encoding="utf-8") as lock,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX)
            process = subprocess.Popen(
                [*PROGRAM, str(self.path), *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**child_environment(), **environment},
                pass_fds=(lock.fileno(),),  # held until the process ends, whoever ends it
                start_new_session=True,  # so that its loaders and ranks can be ended with it
            )
        self.note_owner(process.pid)
        return Process(self, process)

    def adopt(self) -> "Process":
        """The process of a sweep that was killed."""
        return Process(self, None)


class Process:
    """A process at work on a trial, started here or left by a sweep that was killed."""

    def __init__(self, folder: TrialFolder, process: subprocess.Popen[bytes] | None) -> None:
        self.folder = folder
        self._process = process
        self._deadline: float | None = None

    @property
    def running(self) -> bool:
        """Whether it is at work; kills one that was stopped and does not end."""
        if self._process is None:
            running = self.folder.busy
        else:
            running = self._process.poll() is None
        if running and self._deadline is not None and time.monotonic() > self._deadline:
            self._signal(signal.SIGKILL)
        return running

    @property
    def killed_by(self) -> str:
        """Name of the signal that ended it, if one did and that is known."""
        status = self._process.returncode if self._process is not None else None
        return signal.Signals(-status).name if status is not None and status < 0 else ""

    def stop(self) -> None:
        """Ask it to end; `running` sees to it that it does."""
        if self._deadline is None:
            self._deadline = time.monotonic() + _GRACE
            self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            group = self._process.pid
        else:
            group = self.folder.owner
        if group > 1:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)


def _overlay(folder: Path) -> str:
    """The configuration that leads logs and checkpoints into a trial's folder, line by line."""
    where = {"save_dir": str(folder.parent), "name": folder.name, "version": 0}
    loggers = [
        {"class_path": "CSVLogger", "init_args": {**where, "flush_logs_every_n_steps": 1}},
        {"class_path": "TensorBoardLogger", "init_args": where},
    ]
    return yaml.safe_dump({"trainer": {"logger": loggers}}, sort_keys=False)
