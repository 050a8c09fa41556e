"""The process of one trial: ``python -m rgbx.cli.sweep_child FOLDER fit ...``.

Runs the command and leaves its exit status in ``FOLDER/state.json``, so that a sweep which was
itself killed meanwhile still learns how the trial ended. A trial that is stopped from outside
leaves none: it did not end, and may go on.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rgbx.cli import main
from rgbx.jobs.folder import JobFolder

__all__ = ["run_child"]

_STOPPED = 128 + signal.SIGTERM


def run_child(folder: Path, argv: Sequence[str]) -> int:
    """Run a command and note how it ended; returns its exit status."""
    stopped = []

    def stop(*_: Any) -> None:
        stopped.append(True)
        sys.exit(_STOPPED)

    signal.signal(signal.SIGTERM, stop)  # until training begins, which hears the signal itself
    status = 1  # of whatever is raised: it goes on to the interpreter, which prints it
    try:
        main(argv)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
        if status == _STOPPED:
            stopped.append(True)
    finally:
        # of several ranks, rank 0 alone; it learns its rank while it runs
        if not stopped and os.environ.get("LOCAL_RANK", "0") == "0":
            JobFolder(folder).write("failed" if status else "done", {}, exit=status)
    return status


if __name__ == "__main__":
    sys.exit(run_child(Path(sys.argv[1]), sys.argv[2:]))
