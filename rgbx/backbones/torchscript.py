"""The weights in a TorchScript archive, read without running the program around them.

OpenAI publishes CLIP as TorchScript. `torch.jit.load` runs such a file's own code
(``__setstate__``); here its pickle is read by names alone, and its sources are looked at as text,
for the lists of parameters and buffers.
"""

import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rgbx.backbones.file_kind import DAMAGE, unreadable
from rgbx.errors import WeightsError

__all__ = ["read_torchscript"]

_PROGRAM = "__torch__"
_DTYPES = {
    **{"DoubleStorage": torch.float64, "FloatStorage": torch.float32},
    **{"HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16},
    **{"LongStorage": torch.int64, "IntStorage": torch.int32, "ShortStorage": torch.int16},
    **{"CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool},
}


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Parameters and buffers by name, as `torch.jit.load(path).state_dict()` has them.

    Args:
        path: the archive.

    Raises:
        WeightsError: the archive is damaged, or a part of the program can only be restored by
            running code of its own.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _state(_Reader(archive, path).load(), archive, "")
    except (OSError, MemoryError, *DAMAGE) as error:
        raise unreadable(path, "weight file", "it is damaged TorchScript") from error


class _Object:
    """Stands for an object of the program; keeps its attributes."""

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            where = f"{type(self).__module__}.{type(self).__name__}"
            raise WeightsError(f"it asks to run {where}.__setstate__")
        self.attributes = state


class _Reader(pickle.Unpickler):
    """Knows tensors, plain values and stand-ins for the program's objects."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self.archive, self.path = archive, path
        data = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
        self.folder = data.removesuffix("data.pkl")
        super().__init__(archive.open(data))
        self._storages: dict[str, Tensor] = {}

    def load(self) -> Any:
        try:
            return super().load()
        except WeightsError as error:  # of an object's state, which does not know the file
            raise unreadable(
                self.path, "weight file", f"it is TorchScript, and {error}, which rgbx never does"
            ) from None

    def find_class(self, module: str, name: str) -> Any:
        if module == _PROGRAM or module.startswith(f"{_PROGRAM}."):
            return type(name, (_Object,), {"__module__": module})
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) in _HARMLESS:
            return _HARMLESS[module, name]
        raise WeightsError(f"it asks to run {module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:
        """Numbers (N,) of a storage, each read once."""
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(key, str):
            raise pickle.UnpicklingError("no storage of numbers")
        if key not in self._storages:
            content = bytearray(self.archive.read(f"{self.folder}data/{key}"))
            if len(content) != count * dtype.itemsize:
                raise pickle.UnpicklingError("a storage of another length")
            empty = torch.empty(0, dtype=dtype)
            self._storages[key] = torch.frombuffer(content, dtype=dtype) if content else empty
        return self._storages[key]


def _tensor(
    storage: Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *_: object
) -> Tensor:
    return storage.as_strided(size, stride, offset)


def _value(value: Any, *_: object) -> Any:
    """What the program's lists, tags and devices are: the value itself."""
    return value


_HARMLESS = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch", "device"): _value,
    **{
        ("torch.jit._pickle", name): _value
        for name in (
            "build_intlist",
            "build_doublelist",
            "build_boollist",
            "build_tensorlist",
            "restore_type_tag",
        )
    },
}


def _state(module: Any, archive: zipfile.ZipFile, prefix: str) -> dict[str, Tensor]:
    """Parameters and buffers of a module and of those within it."""
    found: dict[str, Tensor] = {}
    if not isinstance(module, _Object):
        return found
    attributes = getattr(module, "attributes", {})
    stored = _stored_names(type(module), archive)
    for name, value in attributes.items():
        if isinstance(value, Tensor) and (stored is None or name in stored):
            found[prefix + name] = value
        elif isinstance(value, _Object):
            found |= _state(value, archive, f"{prefix}{name}.")
    return found


def _stored_names(cls: type, archive: zipfile.ZipFile) -> set[str] | None:
    """Names of parameters and buffers as a class's source lists them; None: it does not."""
    end = f"/code/{cls.__module__.replace('.', '/')}.py"
    source = next((name for name in archive.namelist() if name.endswith(end)), None)
    if source is None:
        return None
    text = archive.read(source).decode("utf-8")
    body = re.search(
        rf"^class {re.escape(cls.__name__)}\(Module\):\n"
        r"\s+__parameters__ = \[(.*?)\]\n\s+__buffers__ = \[(.*?)\]",
        text,
        re.MULTILINE | re.DOTALL,
    )
    return set(re.findall(r'"([^"]+)"', body[1] + body[2])) if body else None
