"""Opening files that `torch.save` wrote, and saying what a file is that it did not write.

Everything that rgbx reads of this kind comes from somebody else: a download, a colleague, a run
that was killed. Nothing in a file is executed, and every way of being wrong has its sentence.
"""

import pickle
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rgbx.backbones.file_kind import DAMAGE, kind_of, plain_file, unreadable
from rgbx.errors import WeightsError

__all__ = ["holds_numbers", "read_torch_file", "refuse_not_finite"]

_SHOWN = 3  # tensors named in an error

#: how torch says that a pickle names a function or class beyond tensors and plain values
_ASKS = re.compile(r"GLOBAL ([\w.]*\w) was ")


def read_torch_file(
    path: Path,
    what: str,
    *,
    mmap: bool = False,
    known: Sequence[Callable[..., Any] | tuple[Callable[..., Any], str]] = (),
) -> Any:
    """The content of a file of `torch.save`: tensors on the CPU and plain values.

    Args:
        path: the file.
        what: what it should be, for messages: "checkpoint" or "weight file".
        mmap: leave tensors in the file until they are used, where its format allows.
        known: functions and classes that the file may name, see `torch.serialization.safe_globals`.

    Raises:
        WeightsError: the file is missing, cannot be opened, is damaged or of another format, asks
            to run code, or needs more memory than there is.
    """
    plain_file(path, what)
    zipped, kind = _looked_at(path, what)
    if kind:
        raise unreadable(path, what, f"it is {kind}")
    mmap = mmap and zipped and path.suffix != ".safetensors"  # which torch reads in its own way
    try:
        with torch.serialization.safe_globals(list(known)), path.open("rb") as file:
            source: Any = path if mmap else file
            return torch.load(source, map_location="cpu", weights_only=True, mmap=mmap)
    except (MemoryError, OSError, *DAMAGE) as error:
        raise unreadable(path, what, _reason(error)) from error


def holds_numbers(value: object) -> bool:
    """Whether it is an ordinary tensor: not sparse, quantised, or without data (meta)."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not (value.is_meta or value.is_quantized)
    )


def refuse_not_finite(state: Mapping[str, Tensor], source: str) -> None:
    """Stop at weights that no network can use.

    Args:
        state: tensors by name.
        source: where they come from, for the message.

    Raises:
        WeightsError: says how many tensors hold NaN or infinite numbers, and names some.
    """
    bad = [name for name, tensor in state.items() if not _is_finite(tensor)]
    if bad:
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise WeightsError(
            f"{source} holds numbers that are not finite (NaN or infinite) in {len(bad)} of "
            f"{len(state)} tensors: {', '.join(bad[:_SHOWN])}{more}. The training that wrote it "
            "had failed: use an earlier one, or another."
        )


def _is_finite(tensor: Tensor) -> bool:
    if tensor.is_meta or not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    wide = tensor.float() if tensor.element_size() == 1 else tensor  # float8 lacks the operation
    return bool(torch.isfinite(wide).all())


def _looked_at(path: Path, what: str) -> tuple[bool, str]:
    """Whether the file is an archive, and what it is instead of torch's."""
    try:
        return zipfile.is_zipfile(path), kind_of(path)
    except OSError as error:
        raise unreadable(path, what, _reason(error)) from error


def _reason(error: BaseException) -> str:
    """Why reading failed."""
    text = str(error)
    if isinstance(error, MemoryError) or "allocate memory" in text or "alloc_cpu" in text:
        return "it asks for more memory than there is"
    if isinstance(error, OSError):
        return f"{error.strerror or error}"
    asked = _ASKS.search(text) if isinstance(error, pickle.UnpicklingError) else None
    if asked:
        return f"it asks to run {asked[1]}, and rgbx reads nothing but tensors and plain values"
    return "it is damaged, or not a file that torch wrote"
