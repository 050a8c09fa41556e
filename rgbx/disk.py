"""Files that are there whole or not at all, and what tells one file from another."""

import contextlib
import functools
import hashlib
import io
import os
import re
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

__all__ = [
    "remove_drafts",
    "sha256_of",
    "whole_file",
    "write_bytes",
    "write_image",
    "write_text",
]

_LONGEST = 200  # bytes of the name that a draft repeats: file systems take 255


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A draft next to ``path`` to write to; it takes the file's place when the block ends well.

    Whatever goes wrong, what was at ``path`` before is unchanged, and no draft is left.

    Raises:
        OSError: the draft was not written, or cannot be put into place; it names ``path``.
    """
    path = Path(path)
    name = os.fsencode(path.name)[:_LONGEST].decode("utf-8", "ignore")
    draft = path.with_name(f".{name}.{_machine()}-{os.getpid()}.tmp")
    try:
        yield draft
        os.replace(draft, path)
    except OSError as error:
        if error.filename in (None, draft, str(draft)):  # the draft's name tells nobody anything
            error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):  # most often because it is in its place
            draft.unlink()


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all, and its folder if there is none.

    Raises:
        OSError: it cannot be written; what was there before is unchanged.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft:
        draft.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Likewise, in UTF-8 and with the line ends of the text."""
    write_bytes(path, text.encode("utf-8"))


def write_image(
    image: "np.ndarray[Any, Any] | Image.Image", path: str | Path, **options: Any
) -> None:
    """Likewise an image, in the format of the path's suffix.

    Args:
        image: of PIL, or an array that PIL makes one of.
        path: ends in a suffix that PIL knows.
        options: of PIL's writer of that format.
    """
    from PIL import Image

    panel = image if isinstance(image, Image.Image) else Image.fromarray(image)
    content = io.BytesIO()  # some of PIL's writers say no more of a full disk than a number
    panel.save(content, Image.registered_extensions()[Path(path).suffix.lower()], **options)
    write_bytes(path, content.getvalue())


def remove_drafts(folders: Iterable[Path]) -> list[Path]:
    """Remove the drafts of `whole_file` that killed processes of this machine left in folders.

    Drafts of processes that are at work, or that other machines or containers wrote, are left;
    so is every file of another name.

    Returns:
        What was removed.
    """
    removed = []
    for folder in filter(Path.is_dir, folders):
        for draft in folder.glob(".*.tmp"):
            found = re.fullmatch(rf"\..+\.{_machine()}-(\d+)\.tmp", draft.name)
            if found and not _at_work(int(found.group(1))):
                with contextlib.suppress(OSError):  # another start was faster, or may not
                    draft.unlink()
                    removed.append(draft)
    return removed


@functools.cache
def _machine() -> str:
    """Tells apart those who number processes for themselves: 8 hexadecimal digits."""
    numbering = Path("/proc/self/ns/pid")  # Linux; a container has its own
    space = os.readlink(numbering) if numbering.is_symlink() else ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def _at_work(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # somebody else's; no number of a process
        return True
    return True


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(2**22):
            digest.update(piece)
    return digest.hexdigest()
