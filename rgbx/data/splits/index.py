"""The images of a folder by name, and what lies next to them that is not read."""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path

from rgbx.data.decoding.files import IMAGE_SUFFIXES
from rgbx.errors import DataError
from rgbx.text import kind_of_file, printable

__all__ = [
    "Index",
    "all_stems",
    "count_images",
    "find_folder",
    "index_images",
    "normal",
    "passed_over",
    "subfolders",
]

_DEPTH = 4  # levels of folders below one that holds images
#: suffixes of files that hold images or masks, though rgbx does not read them
_LIKE_IMAGES = frozenset(
    (".npy", ".npz", ".mat", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".exr", ".tga", ".dng")
)


class Index(dict[str, Path]):
    """Image files of a folder by stem.

    Stems are in Unicode's composed form, so that a name is the same whichever system wrote it;
    where images lie in folders below, it is ``FOLDER/STEM``.

    Attributes:
        folder: where they lie.
        foreign: other files by stem, whose suffix is not one of images.
        hidden: images whose names begin with a dot, which are passed over.
        irregular: what is called like an image but is no file, by stem, and what it is.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.foreign: dict[str, Path] = {}
        self.irregular: dict[str, str] = {}
        self.hidden: list[Path] = []

    def renamed(self, rename: Callable[[str], str | None]) -> "Index":
        """The same files under other stems; those for which `rename` gives None are left out."""
        found = Index(self.folder)
        found.hidden = self.hidden
        found.update({new: p for s, p in self.items() if (new := rename(s)) is not None})
        found.foreign = {new: p for s, p in self.foreign.items() if (new := rename(s)) is not None}
        for stem, text in self.irregular.items():
            if (new := rename(stem)) is not None:
                found.irregular[new] = text
        return found

    def why_not(self, stem: str) -> str:
        """Why there is no image of a stem, as far as the folder tells; empty if it does not."""
        if stem in self.irregular:
            return self.irregular[stem]
        if stem in self.foreign:
            path = self.foreign[stem]
            return f"{path} is there, but {path.suffix or 'a file without suffix'} is not read"
        alike = next((known for known in self if known.casefold() == stem.casefold()), None)
        return "" if alike is None else f"{printable(alike)} differs in upper and lower case"


def normal(name: str) -> str:
    """A name in Unicode's composed form: what looks equal is equal."""
    return unicodedata.normalize("NFC", name)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, by name.

    Raises:
        DataError: the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be listed ({error.strerror})") from error


def subfolders(folder: Path) -> list[Path]:
    """Folders directly below a folder, hidden ones excepted; none if it is no folder."""
    if not folder.is_dir():
        return []
    return [Path(e.path) for e in _entries(folder) if not e.name.startswith(".") and e.is_dir()]


def find_folder(root: Path, names: Iterable[str]) -> Path | None:
    """Return the first folder below `root` with one of the names, whatever its letter case."""
    folders = {path.name.lower(): path for path in reversed(subfolders(root))}
    return next((folders[n.lower()] for n in names if n.lower() in folders), None)


def count_images(folder: Path) -> int:
    """Number of files in a folder, and in those directly below, that have an image's suffix."""
    return sum(
        Path(entry.name).suffix.lower() in IMAGE_SUFFIXES and not entry.name.startswith(".")
        for place in (folder, *subfolders(folder))
        for entry in _entries(place)
    )


def index_images(
    folder: Path,
    ending: str = "",
    suffixes: Collection[str] = IMAGE_SUFFIXES,
    nested: bool = False,
) -> Index:
    """Map stems to image files of one folder (hidden and foreign files are passed over).

    Args:
        folder: where to look.
        ending: only files whose stem ends so; it is cut from the key (``_rgb``, ``_th``).
        suffixes: only files with one of these, in lower case with the dot.
        nested: where the folder holds no image but folders, look into these (a folder for each
            sequence).

    Raises:
        DataError: two images share a stem, so that a pair would be ambiguous, or a folder cannot be
            listed.
    """
    found = Index(folder)
    _add(found, folder, suffixes)
    if nested and not found and not found.irregular:
        _add_below(found, folder, "", suffixes, {os.path.realpath(folder)})
    return found.renamed(partial(_without, ending)) if ending else found


def _without(ending: str, stem: str) -> str | None:
    return stem[: len(stem) - len(ending)] if stem.endswith(ending) else None


def _add_below(
    found: Index, folder: Path, prefix: str, suffixes: Collection[str], seen: set[str]
) -> None:
    for below in subfolders(folder):
        place = os.path.realpath(below)  # a link may lead back up
        if place in seen or prefix.count("/") >= _DEPTH:
            continue
        seen.add(place)
        name = f"{prefix}{normal(below.name)}/"
        inner = Index(below)
        _add(inner, below, suffixes)
        inner = inner.renamed(name.__add__)
        found.update(inner)
        found.foreign |= inner.foreign
        found.irregular |= inner.irregular
        found.hidden += inner.hidden
        _add_below(found, below, name, suffixes, seen)


def _add(found: Index, folder: Path, suffixes: Collection[str]) -> None:
    for entry in _entries(folder):
        path = Path(entry.path)
        stem, suffix = normal(path.stem), path.suffix.lower()
        if entry.name.startswith("."):
            if suffix in suffixes and not entry.name.startswith("._"):  # which macOS adds to files
                found.hidden.append(path)
            continue
        if suffix not in suffixes:
            if suffix not in IMAGE_SUFFIXES and not entry.is_dir():
                found.foreign.setdefault(stem, path)
            continue
        if not entry.is_file():
            found.irregular[stem] = f"{path} is {kind_of_file(path)}, no image file"
            continue
        if stem in found:
            raise DataError(
                f"{folder} has two images of the same stem, {printable(found[stem].name)} and "
                f"{printable(entry.name)}: keep one of them"
            )
        found[stem] = path


def all_stems(indices: Iterable[Mapping[str, Path]]) -> list[str]:
    """All names of some folders, also those that lack a file, sorted."""
    stems: set[str] = set()
    for index in indices:
        stems |= index.keys()
        if isinstance(index, Index):
            stems |= index.irregular.keys()
    return sorted(stems)


def passed_over(indices: Iterable[Mapping[str, Path]], stems: Iterable[str]) -> list[str]:
    """One line for each folder that holds images which belong to no sample as they are not read.

    Args:
        indices: of the folders.
        stems: of the samples.
    """
    known, lines = set(stems), []
    for index in indices:
        if not isinstance(index, Index):
            continue
        others = [path for stem, path in index.foreign.items() if stem not in known]
        suffixes = [path.suffix.lower() for path in others]
        counts = Counter(suffix for suffix in suffixes if suffix in _LIKE_IMAGES)
        if counts:
            words = ", ".join(f"{n} {suffix}" for suffix, n in counts.items())
            lines.append(f"{index.folder}: files that are not read are passed over ({words})")
        if index.hidden:
            lines.append(
                f"{index.folder}: {len(index.hidden)} images whose names begin with a dot are "
                f"passed over, for instance {printable(index.hidden[0].name)}"
            )
        if not index and (folders := subfolders(index.folder)):
            names = ", ".join(printable(folder.name) for folder in folders[:5])
            lines.append(f"{index.folder} holds no image itself, but folders ({names})")
    return lines
