"""Reading pickled weight files without executing anything in them.

A pickle is a program: unpickling imports and calls whatever it names. Detectron2 publishes its
models as pickles of NumPy arrays; here only what such an array needs may be named, and everything
else is refused by its name. mmengine's checkpoints are torch files that also carry the training
log; `log_stand_ins` lets torch's own restricted reader step over it.
"""

import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgbx.backbones.file_kind import DAMAGE
from rgbx.errors import WeightsError


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
        except (MemoryError, *DAMAGE) as error:
            raise pickle.UnpicklingError(str(error)) from None
    if not isinstance(content, Mapping):
        return content
    inner = {k: _tensors(v) if isinstance(v, Mapping) else v for k, v in content.items()}
    return _tensors(inner)


def log_stand_ins() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """What `torch.serialization.safe_globals` must know to step over mmengine's training log.

    Returns:
        Pairs of a harmless stand-in and the name in the file. Nothing of mmengine or NumPy is
        called.
    """
    names = [f"{module}.{name}" for module, name in _ALLOWED if module != "collections"]
    names += [f"numpy.dtypes.{type(np.dtype(code)).__name__}" for code in "?bhilqBHILQefd"]
    names += ["mmengine.logging.history_buffer.HistoryBuffer"]
    names += ["builtins.getattr"]  # the log names its own methods
    return [(_Ignored, name) for name in names]


class _Ignored:
    """Stands for whatever a training log holds; keeps nothing."""

    def __init__(self, *arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _Kind:
    """A type of numbers or letters.

    NumPy's own would believe the file about which bytes are pointers, and follow them.
    """

    def __init__(self, code: object, *_: object) -> None:
        plain = isinstance(code, str) and _PLAIN.fullmatch(code)
        self.dtype = np.dtype(code) if plain else None  # type: ignore[call-overload]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if self.dtype is not None:
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array, which the pickle fills after it was made."""

    array = np.array(None)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, kind, turned, data = state[-4:]
        self.array = _filled(data, kind, shape, turned)


def _filled(data: Any, kind: _Kind, shape: tuple[int, ...], turned: bool) -> np.ndarray:
    """An array from its bytes; one of objects stays empty."""
    if kind.dtype is None:
        return np.array(None)
    content = data.encode("latin1") if isinstance(data, str) else bytes(data)  # str: of Python 2
    return np.ndarray(shape, kind.dtype, content, order="F" if turned else "C")


def _array_of(*_: object) -> _Array:
    """What `numpy.ndarray` and `_reconstruct` are asked for."""
    return _Array()


def _scalar(kind: _Kind, data: Any = b"") -> Any:
    """A NumPy number from its bytes."""
    return _filled(data, kind, (), False)[()]


def _frombuffer(data: Any, kind: _Kind, shape: tuple[int, ...], order: str) -> np.ndarray:
    """An array from its bytes (pickle protocol 5)."""
    return _filled(data, kind, shape, order == "F")


def _latin1(text: str, encoding: str) -> bytes:
    """Bytes that protocol 2 wrote as text; no other encoding is looked up."""
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How old protocols write that there are none."""
    return b""


#: NumPy's codes of numbers, of bytes and of text
_PLAIN = re.compile(r"[<>|=]?(\?|[bhilqBHILQefdFD]|[biufc]\d{1,2}|[SU]\d{1,9})")
_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _latin1,
    ("__builtin__", "bytes"): _no_bytes,
    ("numpy", "ndarray"): _array_of,
    ("numpy", "dtype"): _Kind,
    **{
        (f"numpy.{core}.{module}", name): found
        for core in ("core", "_core")
        for module, name, found in (
            ("multiarray", "_reconstruct", _array_of),
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
    arrays = {k: v.array if isinstance(v, _Array) else v for k, v in content.items()}
    return {
        key: _tensor(value)
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
        else value
        for key, value in arrays.items()
    }


def _tensor(array: np.ndarray) -> Tensor:
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(np.ascontiguousarray(native).reshape(array.shape).copy())
