"""What a machine does to a command, in one sentence: full disks, memory, killed processes.

Only errors whose kind says that the machine is at fault are put into words. Everything else is a
bug, and keeps its traceback.
"""

import errno
import os
import re
import sys
from pathlib import Path

import rgbx

__all__ = ["FAULTS", "machine_fault"]

#: what may be the machine's fault; whether it is, the error itself tells
FAULTS: tuple[type[Exception], ...] = (OSError, MemoryError, RuntimeError)

_ROOM = "make room or choose another place; what was there before is unchanged"
_HINTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _ROOM),
    errno.EROFS: "choose another place",
    errno.EACCES: "change the permissions or choose another place",
    errno.EPERM: "change the permissions or choose another place",
    errno.EIO: "the disk or its network is at fault",
    errno.ENAMETOOLONG: "give shorter names",
}
_LESS = (
    "lower data.batch_size (data.eval_batch_size outside of training) or data.size; "
    "trainer.accumulate_grad_batches makes up for smaller batches"
)
_NO_MEMORY = re.compile(
    r"allocate memory|not enough memory|out of memory|Insufficient memory|ALLOC_FAILED"
    r"|Unable to allocate|storage size|MemoryError",
    re.IGNORECASE,
)
_WORKER = re.compile(
    r"DataLoader worker \(pid\(?s?\)? ([\d, ]+)\) (exited|is killed by signal: ([\w ]+))"
)
_SHARED = re.compile(
    r"shared memory|unable to (?:write to|open|resize|mmap|allocate).*(?:/torch_|shm)|/torch_\d",
    re.IGNORECASE,
)
_HANDLES = re.compile(r"Too many open files|items of ancdata", re.IGNORECASE)
_PROCESSES = re.compile(r"can't start new thread|Resource temporarily unavailable")
_DISK = re.compile(r"PytorchStreamWriter failed|unexpected pos \d+ vs|No space left", re.IGNORECASE)


def machine_fault(error: Exception) -> str | None:
    """Say what of the machine stands behind an error; None where it is a bug.

    Args:
        error: one of `FAULTS`, or what a loader's process made of one.
    """
    text = str(error)
    number = error.errno if isinstance(error, OSError) else None
    if number is None and isinstance(error, OSError) and (found := re.search(r"Errno (\d+)", text)):
        number = int(found[1])  # a loader's process hands on the text alone
    if worker := _WORKER.search(text):
        return _killed(worker[1].strip(), worker[3])
    if number in (errno.EMFILE, errno.ENFILE) or _HANDLES.search(text):
        return (
            f"Too many files are open at once{_limit()}: raise the limit (`ulimit -n 8192`), or "
            "lower data.num_workers."
        )
    if not isinstance(error, OSError) and _SHARED.search(text):
        return _shared(text)
    if isinstance(error, MemoryError) or number == errno.ENOMEM or _is_memory(error, text):
        return _memory(error, text)
    if number == errno.EAGAIN or _PROCESSES.search(text):
        return (
            "No further process or thread can be started (`ulimit -u` says how many may run): "
            "lower data.num_workers, or end other programs."
        )
    if isinstance(error, OSError):
        return _disk(error, number)
    return (
        f"A file cannot be written ({_first_line(text)}): {_ROOM}." if _DISK.search(text) else None
    )


def _killed(process: str, signal: str | None) -> str:
    if signal and "Bus error" in signal:
        return _shared(f"process {process}: {signal}")
    how = f"was killed ({signal.strip()})" if signal else "ended without a word"
    return (
        f"A data loader's process ({process}) {how}; most often the machine is out of memory: "
        "lower data.num_workers, data.batch_size or data.size."
    )


def _shared(text: str) -> str:
    return (
        f"Loader processes cannot get shared memory ({_first_line(text)}): enlarge /dev/shm "
        "(docker run --shm-size 8g), or set data.num_workers to 0."
    )


def _is_memory(error: Exception, text: str) -> bool:
    kind = type(error)
    if kind.__name__ == "OutOfMemoryError" and kind.__module__.startswith("torch"):
        return True
    return not isinstance(error, OSError) and bool(_NO_MEMORY.search(text))


def _memory(error: Exception, text: str) -> str:
    gpu = "CUDA" in text or "CUBLAS" in text or "GPU" in text
    detail = _first_line(text)
    told = f" ({detail})" if detail and len(detail) < 200 else ""
    return f"There is not enough memory{' on the GPU' if gpu else ''}{told}: {_LESS}."


def _limit() -> str:
    if sys.platform == "win32":
        return ""
    import resource

    return f" (this process may have {resource.getrlimit(resource.RLIMIT_NOFILE)[0]})"


def _disk(error: OSError, number: int | None) -> str | None:
    """An error of the file system; None for pipes, sockets and files of a package."""
    what = error.strerror or (os.strerror(number) if number else "")
    if error.filename is None:
        return f"A file cannot be written ({what}): {_ROOM}." if number in _full() else None
    path = os.fsdecode(error.filename) if not isinstance(error.filename, int) else "a file"
    if Path(path).is_relative_to(Path(rgbx.__file__).parent) or "site-packages" in path:
        return None
    hint = f": {_HINTS[number]}" if number in _HINTS else ""
    return f"{path} cannot be {'written' if number in _full() else 'used'} ({what}){hint}."


def _full() -> tuple[int, ...]:
    return (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


def _first_line(text: str) -> str:
    """The last line of a handed-on traceback, the first line of anything else."""
    lines = text.strip().splitlines() or [""]
    return (lines[-1] if "Original Traceback" in text else lines[0]).strip().rstrip(".")
