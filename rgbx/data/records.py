"""Finding the files of a data set: folders, split lists, pairs by stem."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rgbx.data.files import IMAGE_SUFFIXES, Kind
from rgbx.errors import DataError

__all__ = [
    "Problem",
    "Record",
    "Scan",
    "find_folder",
    "index_images",
    "join",
    "pair",
    "read_list",
    "seeded_split",
]


@dataclass(frozen=True)
class Record:
    """The files of one sample.

    Args:
        name: stem that identifies the sample within its split.
        rgb: visible picture.
        x: second modality; equal to `rgb` where one file holds both; None for RGB-only data.
        mask: class ids; None where there are no labels.
        subset: part of the split that is also scored on its own, e.g. "night"; "" for none.
    """

    name: str
    rgb: Path
    x: Path | None = None
    mask: Path | None = None
    subset: str = ""


class Problem(NamedTuple):
    """One thing that is wrong with a data set; `text` names the file."""

    kind: Kind
    text: str


class Scan(NamedTuple):
    """The pairs of a split that were found, and what was not."""

    records: list[Record]
    problems: list[Problem]


def join(scans: Iterable[Scan]) -> Scan:
    """Put the pairs and problems of several folders together."""
    parts = list(scans)
    return Scan([r for s in parts for r in s.records], [p for s in parts for p in s.problems])


def find_folder(root: Path, names: Iterable[str]) -> Path | None:
    """Return the first folder below `root` with one of the names, whatever its letter case."""
    if not root.is_dir():
        return None
    folders = {p.name.lower(): p for p in sorted(root.iterdir(), reverse=True) if p.is_dir()}
    return next((folders[n.lower()] for n in names if n.lower() in folders), None)


def index_images(folder: Path, ending: str = "") -> dict[str, Path]:
    """Map stems to image files of one folder (hidden and foreign files are passed over).

    Args:
        folder: where to look, not recursively.
        ending: only files whose stem ends so; it is cut from the key (``_rgb``, ``_th``).

    Raises:
        DataError: two images share a stem, so that a pair would be ambiguous.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if not path.stem.endswith(ending):
            continue
        stem = path.stem[: len(path.stem) - len(ending)]
        if stem in found:
            raise DataError(
                f"{folder} has two images of the same stem, {found[stem].name} and {path.name}: "
                "keep one of them"
            )
        found[stem] = path
    return found


def read_list(path: Path) -> list[str]:
    """Read the stems of a split list.

    Blank lines, a byte-order mark, Windows line ends, a second column, a folder prefix and an
    image suffix are all accepted; other dots belong to the stem. Repeated names are kept once.

    Raises:
        DataError: the file is not text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text file, but a list of names was expected") from error
    stems: dict[str, None] = {}
    for line in lines:
        if not line.strip():
            continue
        name = line.split()[0].split(",")[0].replace("\\", "/").rsplit("/", maxsplit=1)[-1]
        known = Path(name).suffix.lower() in IMAGE_SUFFIXES
        stems[Path(name).stem if known else name] = None
    return list(stems)


def pair(
    stems: Iterable[str],
    folders: Mapping[str, Mapping[str, Path] | None],
    subset: Callable[[str], str] = lambda stem: "",
    where: str = "",
) -> Scan:
    """Join files by stem; a missing partner becomes a problem instead of a record.

    Args:
        stems: names wanted, in order.
        folders: ``rgb``, and optionally ``x`` and ``mask``, each an index from `index_images`;
            None for a part that the data set does not have.
        subset: gives the subset of a stem.
        where: the list or folder the stems come from, for messages.
    """
    records: list[Record] = []
    problems: list[Problem] = []
    parts = {part: index for part, index in folders.items() if index is not None}
    for stem in stems:
        missing = [part for part, index in parts.items() if stem not in index]
        if missing:
            source = f" (named in {where})" if where else ""
            text = f"{stem}{source}: no {' and no '.join(missing)} image of this stem"
            problems.append(Problem("missing", text))
            continue
        files = {part: index[stem] for part, index in parts.items()}
        records.append(Record(stem, **files, subset=subset(stem)))
    return Scan(records, problems)


def seeded_split(names: Sequence[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Cut a validation set from the training names.

    The cut depends on the sorted names, the share and the seed only.

    Args:
        names: all names, in any order.
        share: part that goes to validation, in [0, 1); at least one name if share > 0 and there
            are two names or more.
        seed: of the permutation.

    Returns:
        Training and validation names, each sorted.
    """
    ordered = sorted(names)
    count = round(len(ordered) * share)
    if share > 0 and len(ordered) > 1:
        count = min(max(count, 1), len(ordered) - 1)
    chosen = set(np.random.default_rng([seed, len(ordered)]).permutation(len(ordered))[:count])
    train = [name for i, name in enumerate(ordered) if i not in chosen]
    return train, [name for i, name in enumerate(ordered) if i in chosen]
