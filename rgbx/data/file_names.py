"""Names of the files that are written about samples: unique, and short enough for every disk."""

import os
from collections.abc import Iterable, Sequence
from hashlib import blake2b

from rgbx.data.splits.records import Record

__all__ = ["file_names"]

_LONGEST = 190  # bytes of a name; disks take 255, of which endings and drafts need some
_KEPT = 150  # bytes that are kept of a longer one


def file_names(records: Iterable[Record], endings: Sequence[str] = ("",)) -> dict[str, str]:
    """Name the files of samples.

    That is the sample's own name, but where files of two samples would be one: names that differ in
    letter case only (many disks do not tell them apart), or in an ending of theirs. The later one
    is called ``NAME~2``. Names too long for a disk are cut and end in ``~`` and a hash.

    Args:
        records: the samples of a split.
        endings: what is put behind the name of a sample for its files.

    Returns:
        For the visible image's path of each sample the name of its files, without suffix.
    """
    taken: set[str] = set()
    found: dict[str, str] = {}
    for record in records:
        base = "/".join(map(_short, record.name.split("/")))
        name, number = base, 1
        while taken & (files := {f"{name}{ending}".casefold() for ending in endings}):
            number += 1
            name = f"{base}~{number}"
        taken |= files
        found[str(record.rgb)] = name
    return found


def _short(part: str) -> str:
    raw = os.fsencode(part)
    if len(raw) <= _LONGEST:
        return part
    return f"{raw[:_KEPT].decode('utf-8', 'ignore')}~{blake2b(raw, digest_size=4).hexdigest()}"
