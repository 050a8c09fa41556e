"""Files that are there whole or not at all, and what tells one file from another."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["sha256_of", "whole_file"]


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A draft beside ``path`` to write to; it takes the file's place when the block ends well.

    Whatever goes wrong, what was at ``path`` before is unchanged, and no draft is left.

    Raises:
        OSError: the draft was not written, or cannot be put into place.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        with contextlib.suppress(OSError):  # most often because it is in its place
            draft.unlink()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(2**22):
            digest.update(piece)
    return digest.hexdigest()
