"""Split lists: which samples belong to train, val and test."""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from rgbx.data.decoding.files import IMAGE_SUFFIXES
from rgbx.data.splits.index import normal
from rgbx.errors import DataError
from rgbx.text import printable, read_bounded

__all__ = ["is_there", "read_list"]

_LONGEST = 4096  # characters of a line; no path is longer
_COLUMN = re.compile(r"[\t ,;]+")
_QUOTED = re.compile(r"""(["'])((?:(?!\1).|\1\1)*)\1""")
# In the order in which they are tried; one counts only if all that the list then names exists.
_ENCODINGS = (
    "utf-16-le",
    "utf-16-be",
    "gb18030",
    "shift_jis",
    "big5",
    "euc-kr",
    "cp1252",
    "cp1251",
    "latin-1",
)


def is_there(path: Path) -> bool:
    """Tell whether a list is there, be it a file that can be read or not.

    A link to nothing or a folder of this name must not make the data set one without lists.
    """
    return os.path.lexists(path)


def read_list(
    path: Path, known: Collection[str] = (), aliases: Mapping[str, str] | None = None
) -> list[str]:
    """Read the stems of a split list.

    A line is what exists: the whole line if it names a sample, else its longest first column that
    does; blanks, commas, semicolons and tabs part columns. So ``pic (2).png``, ``rgb/1.png
    mask/1.png`` and ``"a, b.png",3`` are all read. Blank lines, a byte-order mark, any line ends,
    quotes, a folder prefix and an image suffix are accepted; other dots belong to the stem.
    Repeated names are kept once. Lists in other encodings than UTF-8 are read if all that they name
    exists.

    Args:
        path: the list.
        known: names of the samples that exist, as in `rgbx.data.splits.index.Index`.
        aliases: other names of these.

    Raises:
        DataError: the file is no text, has a line that can be no name, has several names on each
            line, or names one sample by two different paths.
    """
    data = read_bounded(path, "the list of names")
    names = _Names(known, aliases or {})
    lines = _decoded(data, bool(known))
    # a few words in another encoding may be UTF-8 by chance, and then name nothing
    if lines is None or not (data.isascii() or names.has_all(lines)):
        lines = next((guess for guess in _guesses(data) if names.has_all(guess)), lines)
    if lines is None:
        raise DataError(
            f"{path} is no text file in UTF-8, but a list of names was expected, and in no other "
            "encoding does all that it names exist; save it as UTF-8"
        )
    if names.has_rows(lines):
        raise DataError(
            f"{path} has several names on a line, of which only the first would be read; a list "
            "has one name per line"
        )
    found: dict[str, str] = {}  # name -> the folders in front of it that do not belong to it
    for number, line in enumerate(lines, 1):
        if len(line) > _LONGEST:
            raise DataError(
                f"{path} line {number} has {len(line)} characters; a list has one name per line"
            )
        if line.strip():
            name, folder = names.find(line) or names.absent(line)
            before = found.setdefault(name, folder)
            if before and folder and before != folder:
                raise DataError(
                    f"{path} names {printable(name)} in {printable(before)} and in "
                    f"{printable(folder)}, which are taken for one sample; without their folders, "
                    "names must differ"
                )
    return list(found)


class _Names:
    """The names that exist, and how lines of a list are read with them."""

    def __init__(self, known: Collection[str], aliases: Mapping[str, str]) -> None:
        self._known = {name: name for name in known} | dict(aliases)
        self._nested = any("/" in name for name in known)

    def find(self, line: str) -> tuple[str, str] | None:
        """The sample that a line names, and the folders before it; None if it does not exist."""
        for text in _columns(line):
            for path in dict.fromkeys((text, text.replace("\\", "/"))):
                parts = path.split("/")
                for i in range(len(parts)):
                    tail = "/".join(parts[i:])
                    name = self._known.get(_stem(tail)) or self._known.get(tail)
                    if name is not None:
                        return name, "/".join(parts[:i])
        return None

    def has_all(self, lines: list[str]) -> bool:
        """Whether all lines that are not blank name something, and none is too long."""
        said = [line for line in lines if line.strip()]
        fit = all(len(line) <= _LONGEST for line in said)
        return bool(said) and fit and all(map(self.find, said))

    def has_rows(self, lines: list[str]) -> bool:
        """Whether every line names several samples, each once; numbers as labels come again."""
        seen: set[str] = set()
        for line in filter(str.strip, lines):
            columns = [self.find(column) for column in _COLUMN.split(line.strip()) if column]
            names = {found[0] for found in columns if found}
            if len(columns) < 2 or len(names) < len(columns) or names & seen:
                return False
            if self.find(line) != columns[0]:  # a name may hold blanks
                return False
            seen |= names
        return bool(seen)

    def absent(self, line: str) -> tuple[str, str]:
        """The same for a sample that does not exist: the first column, as far as one can tell."""
        text = normal(line.strip())
        ends = [m.start() for m in _COLUMN.finditer(text)]
        images = [end for end in ends if _stem(text[:end]) != text[:end]]
        strict = [end for end in ends if text[end] != " " or not self._known]
        path = text[: min(images or strict or [len(text)])].strip("\"'").replace("\\", "/")
        folder, _, last = path.rpartition("/")
        return (_stem(path), "") if self._nested else (_stem(last), folder)


def _columns(line: str) -> Iterator[str]:
    """What a line may name: itself, what stands in quotes, and its first columns, longest first."""
    text = normal(line)
    yield text
    text = text.strip()
    yield text
    if quoted := _QUOTED.match(text):
        yield quoted[2].replace(quoted[1] * 2, quoted[1])
    for match in reversed(list(_COLUMN.finditer(text))):
        yield text[: match.start()].rstrip()


def _stem(path: str) -> str:
    """A path without the suffix of an image."""
    suffix = path[path.rfind(".") :] if "." in path else ""
    return path[: -len(suffix)] if suffix.lower() in IMAGE_SUFFIXES else path


def _decoded(data: bytes, trusted: bool) -> list[str] | None:
    """The lines of UTF-8 text, or if names are there to be compared of marked UTF-16; else None."""
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        if marked and trusted:
            return _split(data.decode("utf-16"))
        return None if b"\0" in data else _split(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return None


def _guesses(data: bytes) -> Iterator[list[str]]:
    """The lines in other encodings; names that are bytes without a meaning as text are first."""
    yield _split(data.decode("utf-8", "surrogateescape"))
    for encoding in _ENCODINGS:
        try:
            lines = _split(data.decode(encoding))
        except UnicodeDecodeError:
            continue
        yield lines


def _split(text: str) -> list[str]:
    # not splitlines(), which parts names at characters that are no ends of lines
    return re.split(r"\r\n|\n|\r", text)
