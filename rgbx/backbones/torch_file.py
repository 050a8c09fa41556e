"""Opening files that `torch.save` wrote, and saying what a file is that it did not write.

Everything that rgbx reads of this kind comes from somebody else: a download, a colleague, a run
that was killed. Nothing in a file is executed, and every way of being wrong has its sentence.
"""

import pickle
import re
import stat
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from rgbx.errors import WeightsError

__all__ = ["DAMAGE", "kind_of", "plain_file", "read_torch_file", "unreadable"]

#: what damaged or foreign bytes make a reader of pickles and archives raise, beside OSError and
#: MemoryError; none of these readers promises a common class
DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)

_HEAD = 512  # bytes that tell what a file is
_SHOWN = 40  # characters of a text that are quoted
_LFS = b"version https://git-lfs.github.com/spec/"
#: first bytes -> what a file is that people mistake for one of torch's
_MAGIC = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x1f\x8b": "compressed by gzip",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"GGUF": "a GGUF file",
    b"%PDF": "a PDF document",
}
#: how torch says that a pickle names a function or class beyond tensors and plain values
_ASKS = re.compile(r"GLOBAL ([\w.]+)")


def read_torch_file(
    path: Path,
    what: str,
    *,
    mmap: bool = False,
    known: Sequence[Callable[..., Any] | tuple[Callable[..., Any], str]] = (),
) -> Any:
    """The content of a file of `torch.save`: tensors on the CPU and plain values.

    Args:
        path: the file.
        what: what it should be, for messages: "checkpoint" or "weight file".
        mmap: leave tensors in the file until they are used, where its format allows.
        known: functions and classes that the file may name, see `torch.serialization.safe_globals`.

    Raises:
        WeightsError: the file is missing, cannot be opened, is damaged or of another format, asks
            to run code, or needs more memory than there is.
    """
    plain_file(path, what)
    zipped, kind = _looked_at(path, what)
    if kind:
        raise unreadable(path, what, f"it is {kind}")
    mmap = mmap and zipped and path.suffix != ".safetensors"  # which torch reads in its own way
    try:
        with torch.serialization.safe_globals(list(known)), path.open("rb") as file:
            source: Any = path if mmap else file
            return torch.load(source, map_location="cpu", weights_only=True, mmap=mmap)
    except (MemoryError, OSError, *DAMAGE) as error:
        raise unreadable(path, what, _reason(error)) from error


def plain_file(path: Path, what: str) -> Path:
    """`path`, once it is known to be a file that can be opened and read to its end.

    Raises:
        WeightsError: it is missing, a folder, a device or a pipe, empty, or may not be read.
    """
    try:
        found = path.stat()
        if stat.S_ISREG(found.st_mode):
            path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError):
        raise WeightsError(f"There is no {what} {path}.") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise WeightsError(f"The {what} {str(path)!r} cannot be opened: {reason}.") from None
    if stat.S_ISDIR(found.st_mode):
        raise WeightsError(f"{path} is a folder: name the {what} itself.")
    if not stat.S_ISREG(found.st_mode):
        raise WeightsError(f"{path} is a device or a pipe, not a {what} on disk.")
    if not found.st_size:
        raise unreadable(path, what, "it is empty")
    return path


def kind_of(path: Path) -> str:
    """What a plain file is, as words that follow "it is"; "" for one that torch may have written.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(_LFS):
        return "a Git LFS pointer that stands for the file (`git lfs pull` fetches it)"
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_archive(path)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size:
        return "a safetensors file"
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[:1] == b"\x80":  # a pickle, as old torch and Detectron2 write
        return ""
    return _kind_of_text(head)


def unreadable(path: Path, what: str, reason: str) -> WeightsError:
    """The sentence for a file that is there and is not what it should be.

    Args:
        path: the file.
        what: what it should be.
        reason: what is wrong, without a full stop.
    """
    size = path.stat().st_size
    again = "delete it and fetch it again" if what == "weight file" else "give another one"
    return WeightsError(f"{path} ({size} bytes) cannot be read as a {what}: {reason}; {again}.")


def _looked_at(path: Path, what: str) -> tuple[bool, str]:
    """Whether the file is an archive, and what it is instead of torch's."""
    try:
        return zipfile.is_zipfile(path), kind_of(path)
    except OSError as error:
        raise unreadable(path, what, _reason(error)) from error


def _kind_of_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            changed = _changed(archive)
    except (zipfile.BadZipFile, *DAMAGE):  # how the module reports junk in the list of contents
        return "truncated or damaged (its end, which lists what is in it, is not there)"
    inner = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in inner:
        return "TorchScript, a program with its weights"
    if "data.pkl" in inner:
        return f"damaged ({changed} does not fit its checksum)" if changed else ""
    if "archive_format" in inner:
        return "a model exported by torch.export"
    return f"a zip archive without tensors (it holds {', '.join(names[:3]) or 'nothing'})"


def _changed(archive: zipfile.ZipFile) -> str | None:
    """The first part whose bytes are not those that were written; torch itself does not look."""
    written = any(entry.CRC for entry in archive.infolist())  # torch can be told to write none
    return archive.testzip() if written else None


def _kind_of_text(head: bytes) -> str:
    try:
        text = head.decode("utf-8") if len(head) < _HEAD else head[:-3].decode("utf-8", "ignore")
    except UnicodeDecodeError:
        return "of an unknown format"
    if any(ord(letter) < ord(" ") and letter not in "\t\n\r\f" for letter in text):
        return "of an unknown format"
    words = " ".join(text.split())
    if re.match(r"<!doctype html|<html|<\?xml|<head|<body", words, re.IGNORECASE):
        return "a web page, most likely what a server answered instead of the file"
    return f"text ({words[:_SHOWN]!r}{', ...' if len(words) > _SHOWN else ''})"


def _reason(error: BaseException) -> str:
    """Why reading failed."""
    text = str(error)
    if isinstance(error, MemoryError) or "allocate memory" in text or "alloc_cpu" in text:
        return "it asks for more memory than there is"
    if isinstance(error, OSError):
        return f"{error.strerror or error}"
    asked = _ASKS.search(text) if isinstance(error, pickle.UnpicklingError) else None
    if asked:
        return f"it asks to run {asked[1]}, and rgbx reads nothing but tensors and plain values"
    return "it is damaged, or not a file that torch wrote"
