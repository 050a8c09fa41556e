"""Public weight files: where they are, how large, and their hash where it could be verified."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownWeights:
    """One public file.

    Attributes:
        name: what `rgbx weights fetch` calls it.
        url: where it is published.
        file: its name on disk.
        size: bytes, None where unknown.
        sha256: hexadecimal, None where unknown.
        fits: the presets or methods that take it.
    """

    name: str
    url: str
    file: str
    size: int | None
    sha256: str | None
    fits: str


_META = "https://dl.fbaipublicfiles.com"
KNOWN: dict[str, KnownWeights] = {}


def known_file(file: str) -> KnownWeights | None:
    """The public file that is stored under this name, if there is one."""
    return next((entry for entry in KNOWN.values() if entry.file == file), None)
