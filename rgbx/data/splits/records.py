"""Finding the files of a data set: folders, split lists, pairs by stem."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from rgbx.data.decoding.files import Kind
from rgbx.data.splits.index import Index, find_folder, index_images
from rgbx.data.splits.lists import read_list
from rgbx.errors import DataError
from rgbx.text import printable

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


_WHAT = {"boxes": "file of boxes"}  # parts that are no images


@dataclass(frozen=True)
class Record:
    """The files of one sample.

    Args:
        name: stem that identifies the sample within its split.
        rgb: visible image.
        x: second modality; equal to `rgb` where one file holds both; None for RGB-only data.
        mask: class ids; None where there are no labels.
        subset: part of the split that is also scored on its own, e.g. "night"; "" for none.
        labelled: of scribbles, the image of the pixels that carry any label; equal to `mask`
            where one file tells both; None for full masks.
        boxes: file of box annotations, of this image alone or of a whole split.
        absent: modality that has no file in prediction ("rgb", "x"; "" for none); its mean is shown
            to the network. Without a visible image, `rgb` is the file of `x`.
    """

    name: str
    rgb: Path
    x: Path | None = None
    mask: Path | None = None
    subset: str = ""
    labelled: Path | None = None
    boxes: Path | None = None
    absent: Literal["", "rgb", "x"] = ""


class Problem(NamedTuple):
    """One thing that is wrong with a data set; `text` names the file."""

    kind: Kind
    text: str


class Scan(NamedTuple):
    """The pairs of a split that were found, and what was not.

    `notes` name folders and files that are there and were passed over.
    """

    records: list[Record]
    problems: list[Problem]
    notes: tuple[str, ...] = ()


def listed(problems: Sequence[Problem], root: Path, split: str) -> DataError:
    """The error that stops at some problems; it names the first ten.

    Args:
        problems: all of them.
        root: of the data set.
        split: whose samples cannot be used.
    """
    lines = "\n".join(f"  {problem.text}" for problem in problems[:10])
    more = f"\n  ... and {len(problems) - 10} more" if len(problems) > 10 else ""
    return DataError(
        f"{root}: {len(problems)} samples of {split} cannot be used (on_bad: skip leaves them "
        f"out):\n{lines}{more}"
    )


def join(scans: Iterable[Scan]) -> Scan:
    """Put the pairs and problems of several folders together."""
    parts = list(scans)
    notes = dict.fromkeys(note for scan in parts for note in scan.notes)
    return Scan(
        [r for s in parts for r in s.records], [p for s in parts for p in s.problems], tuple(notes)
    )


def pair(
    stems: Iterable[str],
    folders: Mapping[str, Mapping[str, Path] | None],
    subset: Callable[[str], str] = lambda stem: "",
    where: str = "",
) -> Scan:
    """Join files by stem; a missing partner becomes a problem instead of a record.

    Args:
        stems: names wanted, in order.
        folders: ``rgb``, and optionally ``x``, ``mask``, ``labelled`` and ``boxes``, each an index
            from `index_images`; None for a part that the data set does not have.
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
            kinds = " and no ".join(_WHAT.get(part, part) for part in missing)
            whole = [parts[part] for part in missing]
            reasons = [i.why_not(stem) for i in whole if isinstance(i, Index)]
            what = "" if missing[-1] in _WHAT else " image"
            text = f"{printable(stem)}{source}: no {kinds}{what} of this stem"
            if any(reasons):
                text += f" ({'; '.join(dict.fromkeys(filter(None, reasons)))})"
            problems.append(Problem("missing", text))
            continue
        files = {part: index[stem] for part, index in parts.items()}
        records.append(Record(stem, subset=subset(stem), **files))  # type: ignore[arg-type]
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
        siblings: gives the family of a name. A family (one image and its rotated, flipped and
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
