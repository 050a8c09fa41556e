"""Finding the files of a data set: folders, split lists, pairs by stem."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
    "held_out",
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
        labelled: of scribbles, the picture of the pixels that carry any label; equal to `mask`
            where one file tells both; None for full masks.
    """

    name: str
    rgb: Path
    x: Path | None = None
    mask: Path | None = None
    subset: str = ""
    labelled: Path | None = None


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


def index_images(
    folder: Path, ending: str = "", suffixes: Collection[str] = IMAGE_SUFFIXES
) -> dict[str, Path]:
    """Map stems to image files of one folder (hidden and foreign files are passed over).

    Args:
        folder: where to look, not recursively.
        ending: only files whose stem ends so; it is cut from the key (``_rgb``, ``_th``).
        suffixes: only files with one of these, in lower case with the dot.

    Raises:
        DataError: two images share a stem, so that a pair would be ambiguous.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in suffixes:
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
        folders: ``rgb``, and optionally ``x``, ``mask`` and ``labelled``, each an index from
            `index_images`; None for a part that the data set does not have.
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
            kinds = " and no ".join(missing)
            text = f"{stem}{source}: no {kinds} image of this stem"
            problems.append(Problem("missing", text))
            continue
        files = {part: index[stem] for part, index in parts.items()}
        records.append(Record(stem, **files, subset=subset(stem)))
    return Scan(records, problems)


def held_out(total: int, share: float) -> int:
    """Number of names that `seeded_split` puts aside of a total, where each stands for itself."""
    if share <= 0 or total < 2:
        return 0
    return min(max(round(total * share), 1), total - 1)


def seeded_split(
    names: Sequence[str],
    share: float,
    seed: int,
    siblings: Callable[[str], str] = lambda name: name,
) -> tuple[list[str], list[str]]:
    """Cut a validation set from the training names.

    The cut depends on the sorted names, their families, the share and the seed only.

    Args:
        names: all names, in any order.
        share: part that goes to validation, in [0, 1); at least one family if share > 0 and there
            are two families or more.
        seed: of the permutation.
        siblings: gives the family of a name. A family (one picture and its rotated, flipped and
            otherwise augmented copies) is never parted: families are drawn in a random order as
            long as they fit into the share, and if none fits, the smallest is taken.

    Returns:
        Training and validation names, each sorted.
    """
    families: dict[str, list[str]] = {}
    for name in sorted(names):
        families.setdefault(siblings(name), []).append(name)
    groups = [families[key] for key in sorted(families)]
    count = held_out(len(names), share) if len(groups) > 1 else 0
    val: set[str] = set()
    for i in np.random.default_rng([seed, len(groups)]).permutation(len(groups)):
        if len(val) + len(groups[i]) <= count:
            val.update(groups[i])
    if count and not val:
        smallest = min(groups, key=len)
        val.update(smallest)
    return [name for name in sorted(names) if name not in val], sorted(val)
