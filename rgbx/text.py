"""Text that comes from elsewhere: files of unknown encoding and size, names that are no words."""

import os
import stat
from pathlib import Path

from rgbx.errors import DataError

__all__ = ["kind_of_file", "printable", "read_bounded", "read_utf8"]

_LARGEST = 256 * 2**20  # bytes; a list of a million long paths is smaller

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def kind_of_file(path: Path) -> str:
    """What a path is if it is no regular file, as words for a message; empty if it is one.

    Links are followed. Nothing is opened, so that a pipe cannot block.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return "a link to nothing" if os.path.islink(path) else error.strerror or str(error)
    return next((words for test, words in _KINDS if test(mode)), "")


def read_bounded(path: Path, what: str) -> bytes:
    """Read a whole file that should be text.

    Args:
        path: the file.
        what: what was expected, for messages ("the list of names").

    Raises:
        DataError: it is no regular file, too large, or cannot be read.
    """
    if kind := kind_of_file(path):
        raise DataError(f"{path}: {what} cannot be read ({kind})")
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise DataError(f"{path}: {what} cannot be read ({size} bytes are too many)")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {what} cannot be read ({error.strerror})") from error


def read_utf8(path: Path, what: str) -> str:
    """As `read_bounded`, decoded; a byte-order mark is taken off, that of UTF-16 is understood.

    Raises:
        DataError: as `read_bounded`, or the file is not UTF-8.
    """
    data = read_bounded(path, what)
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: {what} cannot be read (it is not UTF-8 text); save it as UTF-8"
        ) from error


def printable(text: str) -> str:
    r"""A name on one line that every terminal and font takes: what is no character is escaped.

    >>> printable("a\nb"), printable("\udcff"), printable("prüf 图")
    ('a\\nb', '\\udcff', 'prüf 图')
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )
