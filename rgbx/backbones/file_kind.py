"""What a file is, told from its first bytes and its list of contents, for messages.

Torch is not needed here: the command line looks at downloads without it.
"""

import pickle
import re
import stat
import zipfile
from pathlib import Path

from rgbx.errors import WeightsError

__all__ = ["DAMAGE", "SAFETENSORS", "TORCHSCRIPT", "kind_of", "plain_file", "unreadable"]

SAFETENSORS = "a safetensors file"
TORCHSCRIPT = "TorchScript, a program with its weights"

#: what damaged or foreign bytes make a reader of pickles and archives raise, next to OSError and
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
        option = " to --ckpt_path" if what == "checkpoint" else ""
        raise WeightsError(f"{path} is a folder: give the {what} itself{option}.")
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
    if head[7:9] == b"\0{":  # the length of a list of contents in JSON, and its beginning
        return SAFETENSORS
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


def _kind_of_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            changed = _changed(archive)
    except (zipfile.BadZipFile, *DAMAGE):  # how the module reports junk in the list of contents
        return "truncated or damaged (its end, which lists what is in it, is not there)"
    inner = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in inner:
        return TORCHSCRIPT
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
