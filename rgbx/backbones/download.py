"""Fetching a public weight file: resumable, verified, and never over an existing file."""

import errno
import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from tqdm import tqdm

from rgbx.backbones.file_kind import kind_of
from rgbx.backbones.known import KnownWeights
from rgbx.errors import WeightsError

_PIECE = 2**20  # bytes read at a time
_TIMEOUT = 30  # seconds without an answer
_RANGE_REFUSED = 416


def fetch(entry: KnownWeights, folder: Path) -> Path:
    """Download one file, verify it, and only then give it its name.

    The download goes to FILE.part and continues where an earlier one stopped when the server
    allows it (HTTP Range).

    Args:
        entry: what to fetch.
        folder: where to store it; made when missing.

    Returns:
        Path of the verified file.

    Raises:
        WeightsError: the file exists, the server cannot be reached or refuses, the connection
            breaks, the disk is full, or size or hash differ.
    """
    target = folder / entry.file
    if target.exists():
        raise WeightsError(f"{target} exists already and is left untouched; delete it to refetch.")
    part = folder / f"{entry.file}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _download(entry, part)
        _verify(entry, part)
        part.replace(target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WeightsError(
                f"The disk of {folder} is full; free some space and run the command again, it "
                f"continues after the {_size(part)} bytes that are there."
            ) from None
        raise WeightsError(f"{part} cannot be written: {error.strerror or error}.") from None
    return target


def _download(entry: KnownWeights, part: Path) -> None:
    """Bring `part` to its full length."""
    have = _size(part)
    if entry.size and have > entry.size:
        part.unlink()
        have = 0
    if entry.size and have == entry.size:
        return
    if entry.size and shutil.disk_usage(part.parent).free < entry.size - have:
        raise OSError(errno.ENOSPC, "no space left")
    response = _open(entry, part, have)
    if response is None:
        return
    with response:
        resumed = response.status == http.client.PARTIAL_CONTENT
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else entry.size
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=entry.file)
        with bar, part.open("ab" if resumed else "wb") as out:
            for piece in _pieces(response, entry, part):
                out.write(piece)
                bar.update(len(piece))
    if total and _size(part) < total:
        raise _broken(entry, part)


def _open(entry: KnownWeights, part: Path, have: int) -> http.client.HTTPResponse | None:
    """The server's answer, from byte `have` on where it can; None if nothing is missing."""
    request = urllib.request.Request(entry.url)
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        return urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == _RANGE_REFUSED and have:
            if error.headers.get("Content-Range", "").rpartition("/")[2] == str(have):
                return None
            part.unlink()
            return _open(entry, part, 0)
        raise WeightsError(
            f"The server answered {error.code} ({error.reason}) for {entry.url}; the file may "
            f"have moved: get it by hand and store it as {part.with_suffix('')}."
        ) from None
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
        reason = getattr(error, "reason", None) or error
        raise WeightsError(
            f"{urlsplit(entry.url).netloc} cannot be reached ({reason}); run the command again "
            f"when online, or download {entry.url} elsewhere and store it as "
            f"{part.with_suffix('')}."
        ) from None


def _pieces(response: IO[bytes], entry: KnownWeights, part: Path) -> Iterator[bytes]:
    """The body; a connection that breaks is told from a disk that is full."""
    while True:
        try:
            piece = response.read(_PIECE)
        except (http.client.HTTPException, OSError):
            raise _broken(entry, part) from None
        if not piece:
            return
        yield piece


def _broken(entry: KnownWeights, part: Path) -> WeightsError:
    total = f" of {entry.size}" if entry.size else ""
    return WeightsError(
        f"The connection broke while fetching {entry.url}; what arrived{total} is kept in "
        f"{part}, run the command again to continue."
    )


def _verify(entry: KnownWeights, part: Path) -> None:
    """Compare size and hash; a wrong file is removed so that the next attempt starts afresh."""
    size = _size(part)
    if entry.size and size != entry.size:
        part.unlink()
        raise WeightsError(
            f"{entry.url} delivered {size} bytes but {entry.size} are expected; it was removed, "
            "run the command again."
        )
    if not entry.sha256:
        if kind := kind_of(part):
            part.unlink()
            raise WeightsError(
                f"{entry.url} delivered something else than {entry.file}: it is {kind}; it was "
                "removed, get the file by hand."
            )
        return
    digest = hashlib.sha256()
    with part.open("rb") as file, tqdm(total=size, unit="B", unit_scale=True, desc="sha256") as bar:
        while piece := file.read(_PIECE):
            digest.update(piece)
            bar.update(len(piece))
    if digest.hexdigest() != entry.sha256:
        part.unlink()
        raise WeightsError(
            f"{entry.url} delivered SHA-256 {digest.hexdigest()} but {entry.sha256} is expected; "
            "it was removed, run the command again."
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
