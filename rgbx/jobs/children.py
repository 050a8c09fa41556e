"""What commands that start ``rgbx`` in processes of its own need: environment, last words."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import rgbx
from rgbx.callbacks.run_folder import VERSION_VARIABLE

__all__ = ["Terminated", "child_environment", "last_words", "terminated_like_ctrl_c"]

_KEPT = 4096  # bytes of a log's end in which the reason of a failure is looked for


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


@contextlib.contextmanager
def terminated_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM end what is done here as Ctrl-C does, so that no process is left alone.

    Raises:
        Terminated: SIGTERM came.
    """

    def end(*_: Any) -> NoReturn:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield  # signals are heard by the main thread alone
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def child_environment() -> dict[str, str]:
    """Of a process that fits or tests: the same rgbx, wherever this one was started from."""
    environment = {k: v for k, v in os.environ.items() if k != VERSION_VARIABLE}
    package = str(Path(rgbx.__file__).parents[1])
    known = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join((package, known)) if known else package
    # a run goes on in its own folder, and its metrics are kept: see JobFolder.keep_metrics
    ignored = ("ignore:Experiment logs directory", "ignore:Checkpoint directory")
    environment["PYTHONWARNINGS"] = ",".join(ignored)
    return environment


def last_words(log: Path, start: int = 0) -> str:
    """The last line that a process wrote, as a reason for its failure; empty if it wrote none.

    Args:
        log: what it wrote to.
        start: byte at which it began.
    """
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - _KEPT))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip().removeprefix("rgbx: error: ").rstrip(".") if lines else ""
