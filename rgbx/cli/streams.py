"""Standard input and output that are closed, full, cut off, or know few letters."""

import contextlib
import os
import select
import sys
from collections.abc import Iterator
from typing import Any, TextIO

__all__ = ["forgiving_output", "open_standard_files", "pipe_is_closed"]


def open_standard_files() -> None:
    """Open what was closed as nothing: a data file must not become the process's output."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # the lowest free number
        pass
    os.close(number)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


@contextlib.contextmanager
def forgiving_output() -> Iterator[None]:
    """Escape letters that the output's encoding does not have, instead of failing at them."""
    changed = [
        (s, e) for s in (sys.stdout, sys.stderr) if (e := getattr(s, "errors", "")) == "strict"
    ]
    for stream, _ in changed:
        _reconfigure(stream, "backslashreplace")
    try:
        yield
    finally:
        for stream, errors in changed:
            if not stream.closed:
                _reconfigure(stream, errors)


def _reconfigure(stream: Any, errors: str) -> None:
    if hasattr(stream, "reconfigure"):
        with contextlib.suppress(OSError):  # it flushes, and the reader may be gone
            stream.reconfigure(errors=errors)


def pipe_is_closed() -> bool:
    """Whether the reader of the output is gone, as after ``... | head``; forgets the rest."""
    try:
        number = sys.stdout.fileno()
    except OSError:  # no real output, as in tests
        return False
    poll = select.poll()
    poll.register(number, 0)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    _forget(sys.stdout)
    return True


def _forget(stream: TextIO) -> None:
    """What is still to be written goes nowhere: the interpreter flushes once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
