"""How Kvasir-SEG is divided: it was published as one folder, and papers differ."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from rgbx.data.splits.lists import is_there, read_list
from rgbx.errors import DataError

__all__ = ["Division", "divide_by_hash", "read_division"]

_SPLITS = ("train", "val", "test")


class Division(NamedTuple):
    """Names of training, validation (None: to be cut from train) and test, and where it is from."""

    train: list[str]
    val: list[str] | None
    test: list[str]
    note: str


def divide_by_hash(names: Sequence[str], share: float = 0.2, seed: int = 42) -> Division:
    """Divide names into training and test, the same way on every machine and for ever.

    The names are put in the order of the SHA-256 of ``"SEED:NAME"`` (UTF-8), which no library's
    random numbers can change, and the first are trained on. Neither order nor folder of the files
    has a say.

    Args:
        names: all names, each once.
        share: part that is tested on.
        seed: of the order.

    Returns:
        Training and test names, each sorted.
    """
    order = sorted(names, key=lambda name: _digest(f"{seed}:{name}"))
    count = len(order) - round(len(order) * share)
    note = f"{100 - 100 * share:g}/{100 * share:g} in the order of the names' SHA-256, seed {seed}"
    return Division(sorted(order[:count]), None, sorted(order[count:]), note)


def _digest(text: str) -> str:
    # names that are no UTF-8 count by their bytes
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def read_division(folder: Path, names: Sequence[str]) -> Division | None:
    """Divide names by the lists ``train.txt``, ``val.txt`` and ``test.txt`` of a folder.

    With all three, each is what it says. Without ``test.txt``, what stands in ``val.txt`` is
    tested on, as the papers with 880 and 120 images do. Without either, the rest is.

    Args:
        folder: where the lists are, or not.
        names: all names, for the rest.

    Returns:
        None if there is no ``train.txt``.

    Raises:
        DataError: there are other lists, but no ``train.txt``.
    """
    lists = {s: read_list(p, names) for s in _SPLITS if is_there(p := folder / f"{s}.txt")}
    if not lists:
        return None
    if "train" not in lists:
        raise DataError(f"{folder} has {' and '.join(f'{s}.txt' for s in lists)}, but no train.txt")
    train, val, test = (lists.get(split) for split in _SPLITS)
    if test is not None:
        note = "by " + ", ".join(f"{split}.txt ({len(found)})" for split, found in lists.items())
        return Division(train or [], val, test, note)
    if val is not None:
        note = f"by train.txt ({len(train or [])}); tested on val.txt ({len(val)})"
        return Division(train or [], None, val, note)
    known = set(train or [])
    rest = [name for name in names if name not in known]
    return Division(train or [], None, rest, f"by train.txt ({len(known)}); tested on the rest")
