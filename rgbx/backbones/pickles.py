"""Reading pickled weight files without executing anything in them.

A pickle is a program: unpickling imports and calls whatever it names. Detectron2 publishes its
models as pickles of NumPy arrays; here only what such an array needs may be named, and everything
else is refused by its name. mmengine's checkpoints are torch files that also carry the training
log; `log_stand_ins` lets torch's own restricted reader step over it.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgbx.errors import WeightsError

# what damaged or foreign bytes make an unpickler raise; it promises no common class
_DAMAGE = (
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    TypeError,
    ValueError,
)


def read_pickle(path: Path) -> Any:
    """The content of a pickle of plain values and NumPy arrays.

    Args:
        path: the file.

    Returns:
        What was pickled. Numeric arrays in a mapping, or in a mapping within it, become tensors.

    Raises:
        WeightsError: the file names a function or class that an array does not need.
        pickle.UnpicklingError: the file is damaged or no pickle.
    """
    with path.open("rb") as file:
        try:
            content = _ArrayUnpickler(file, str(path)).load()
        except _DAMAGE as error:
            raise pickle.UnpicklingError(str(error)) from None
    if not isinstance(content, Mapping):
        return content
    inner = {k: _tensors(v) if isinstance(v, Mapping) else v for k, v in content.items()}
    return _tensors(inner)


def log_stand_ins() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """What `torch.serialization.safe_globals` must know to step over mmengine's training log.

    Returns:
        Pairs of a harmless stand-in and the name in the file. Nothing of mmengine is needed.
    """
    return [
        *((found, f"{module}.{name}") for (module, name), found in _ALLOWED.items()),
        *((kind, f"numpy.dtypes.{kind.__name__}") for kind in _number_types()),
        (_TrainingLog, "mmengine.logging.history_buffer.HistoryBuffer"),
        (_nothing, "builtins.getattr"),  # the log names its own methods
    ]


class _TrainingLog:
    """Stands for mmengine's HistoryBuffer; keeps nothing."""

    def __setstate__(self, state: object) -> None:
        pass


def _nothing(*arguments: object) -> None:
    """Stands for a function whose result nobody needs."""


def _reconstruct(kind: type, shape: tuple[int, ...], code: object) -> np.ndarray:
    """An empty array; the pickle fills it by `ndarray.__setstate__`."""
    return np.empty((0,), dtype=np.int8)


def _scalar(kind: np.dtype, data: bytes = b"") -> Any:
    """A NumPy number from its bytes."""
    return np.frombuffer(data, dtype=kind)[0]


def _frombuffer(data: bytes, kind: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    """An array from its bytes (pickle protocol 5)."""
    return np.frombuffer(data, dtype=kind).reshape(shape, order="F" if order == "F" else "C")


def _latin1(text: str, encoding: str) -> bytes:
    """Bytes that protocol 2 wrote as text; no other encoding is looked up."""
    return text.encode("latin1")


def _number_types() -> list[type]:
    return [type(np.dtype(code)) for code in "?bhilqBHILQefd"]


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _latin1,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{
        (f"numpy.{core}.{module}", name): found
        for core in ("core", "_core")
        for module, name, found in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _frombuffer),
        )
    },
}


class _ArrayUnpickler(pickle.Unpickler):
    """Knows the names in `_ALLOWED` and no other."""

    def __init__(self, file: Any, source: str) -> None:
        super().__init__(file, encoding="latin1")  # Detectron2's oldest files are of Python 2
        self.source = source

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        raise WeightsError(
            f"{self.source} is refused: it asks to run {module}.{name}, and a weight file needs "
            "nothing but arrays; fetch it again from its publisher."
        )


def _tensors(content: Mapping[Any, Any]) -> dict[Any, Any]:
    """The mapping with its numeric arrays as tensors."""
    return {
        key: _tensor(value)
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
        else value
        for key, value in content.items()
    }


def _tensor(array: np.ndarray) -> Tensor:
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(np.ascontiguousarray(native).reshape(array.shape).copy())
