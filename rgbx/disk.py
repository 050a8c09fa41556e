"""Files that are there whole or not at all, and what tells one file from another."""

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

__all__ = ["sha256_of", "whole_file", "write_bytes", "write_image", "write_text"]

_LONGEST = 200  # bytes of the name that a draft repeats: file systems take 255


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A draft beside ``path`` to write to; it takes the file's place when the block ends well.

    Whatever goes wrong, what was at ``path`` before is unchanged, and no draft is left.

    Raises:
        OSError: the draft was not written, or cannot be put into place; it names ``path``.
    """
    path = Path(path)
    name = os.fsencode(path.name)[:_LONGEST].decode("utf-8", "ignore")
    draft = path.with_name(f".{name}.{os.getpid()}.tmp")
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

    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    content = io.BytesIO()  # some of PIL's writers say no more of a full disk than a number
    picture.save(content, Image.registered_extensions()[Path(path).suffix.lower()], **options)
    write_bytes(path, content.getvalue())


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(2**22):
            digest.update(piece)
    return digest.hexdigest()
