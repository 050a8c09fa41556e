"""Reading weight files: existence, hash, format, and strict loading, each with its sentence."""

import os
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from rgbx.backbones.file_kind import (
    DAMAGE,
    SAFETENSORS,
    TORCHSCRIPT,
    kind_of,
    plain_file,
    unreadable,
)
from rgbx.backbones.known import known_file
from rgbx.backbones.pickles import log_stand_ins, read_pickle
from rgbx.backbones.torch_file import holds_numbers, read_torch_file, refuse_not_finite
from rgbx.backbones.torchscript import read_torchscript
from rgbx.disk import sha256_of
from rgbx.errors import WeightsError

_SHOWN = 10  # keys named in an error


@dataclass(frozen=True)
class Weights:
    """A weight file.

    Attributes:
        path: the file (.pth, .pt, .safetensors, or Detectron2's .pkl), TorchScript included.
        sha256: its expected SHA-256 in hexadecimal. Without it, a file that carries the name of
            a public one (`rgbx weights list`) is checked against that one's hash, if known.
    """

    path: str
    sha256: str | None = None


def read_state(weights: Weights, fetch: str | None = None) -> dict[str, Tensor]:
    """Read and verify a state dict; nothing in the file is executed.

    Args:
        weights: the file.
        fetch: name for the command `rgbx weights fetch NAME` in the message when the file is
            missing and its own name is not a public one.

    Returns:
        Tensors on the CPU by name (mapped from the file where the format allows). A wrapping
        `model` or `state_dict` entry is opened.

    Raises:
        WeightsError: missing, truncated, damaged, of another format, wrong hash, or not a state
            dict; or it asks to run code.
    """
    path = check_file(weights, fetch)
    content = _read(path)
    for wrapper in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not any(isinstance(t, Tensor) for t in content.values()):
        raise WeightsError(
            f"{path} holds no state dict (tensors by name){_instead(content)}; give a file that "
            "does."
        )
    state = {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}
    odd = [name for name in state if not isinstance(name, str)]
    if odd:
        raise WeightsError(
            f"{path} holds tensors under {odd[0]!r} and {len(odd) - 1} more that are no names; "
            "give a file with the tensors by name."
        )
    empty = [name for name, tensor in state.items() if not holds_numbers(tensor)]
    if empty:
        raise WeightsError(
            f"{path} holds {len(empty)} sparse, quantised or empty (meta) tensors, such as "
            f"{_some(empty[:1])}; give a file with ordinary ones."
        )
    return state


def check_file(weights: Weights, fetch: str | None = None) -> Path:
    """Path of the file once it is known to exist, to be whole and to have the expected hash.

    Args:
        weights: the file.
        fetch: see `read_state`.

    Returns:
        Its path.

    Raises:
        WeightsError: missing, not a plain file, truncated, or of another hash.
    """
    path = Path(weights.path)
    known = known_file(path.name)
    name = known.name if known else fetch
    if not os.path.exists(path):
        command = f"; get it with: rgbx weights fetch {name}" if name else ""
        if name and path.parent != Path("weights"):
            command += f" --dir {path.parent}"
        raise WeightsError(f"The weight file {path} does not exist{command}")
    plain_file(path, "weight file")
    if weights.sha256 is None and known and known.size and path.stat().st_size < known.size:
        raise WeightsError(
            f"{path} is truncated: {path.stat().st_size} bytes found, {known.size} expected; "
            f"delete it and run: rgbx weights fetch {known.name} --dir {path.parent}"
        )
    expected = weights.sha256 or (known.sha256 if known else None)
    if expected:
        found = sha256_of(path)
        if found != expected.lower():
            raise WeightsError(
                f"{path} has the SHA-256 {found}, but {expected.lower()} is expected: it is "
                "another file or a damaged one; fetch it again or correct `sha256`."
            )
    return path


def load_strict(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy `state` into `module`, all of it or nothing.

    Args:
        module: receives the values.
        state: tensors by name.
        source: where they come from, for the message.

    Raises:
        WeightsError: see `refuse_misfit`.
    """
    refuse_misfit(module.state_dict(), state, source, type(module).__name__)
    module.load_state_dict(state)


def refuse_misfit(
    expected: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str, model: str
) -> None:
    """Compare the names, shapes and kinds of two sets of tensors.

    Args:
        expected: what there must be, all of it and nothing else.
        state: what there is.
        source: where that comes from, for the message.
        model: what it should fit, for the message.

    Raises:
        WeightsError: lists what is missing, unexpected, of another shape, and of another kind of
            number; or some numbers are not finite.
    """
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state if name not in expected]
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    kinds = [
        f"{name} {state[name].dtype} instead of {tensor.dtype}"
        for name, tensor in expected.items()
        if name in state and number_kind(state[name]) != number_kind(tensor)
    ]
    faults = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    faults["of another kind of number"] = kinds
    listed = [f"{len(keys)} {kind}: {_some(keys)}" for kind, keys in faults.items() if keys]
    if listed:
        raise WeightsError(f"{source} does not fit {model}. " + "; ".join(listed))
    refuse_not_finite({name: state[name] for name in expected}, source)


@contextmanager
def fitting(source: str) -> Iterator[None]:
    """Refuse files whose names and shapes lead nowhere, where a model looks for its own in them.

    Args:
        source: where the tensors come from, for the message.

    Raises:
        WeightsError: names the file, for any of the errors of unexpected names and shapes.
    """
    try:
        yield
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise WeightsError(f"{source} holds the weights of another model ({what}).") from error


def _read(path: Path) -> Any:
    kind = kind_of(path)
    if kind == SAFETENSORS:
        try:
            return load_file(path)
        except (SafetensorError, OSError, MemoryError, *DAMAGE) as error:
            raise unreadable(path, "weight file", f"it is damaged safetensors ({error})") from error
    if kind == TORCHSCRIPT:  # as OpenAI publishes CLIP
        return read_torchscript(path)
    if path.suffix == ".pkl" and not zipfile.is_zipfile(path):
        try:
            return read_pickle(path)
        except (OSError, MemoryError, pickle.UnpicklingError) as error:
            reason = f"it is {kind or 'damaged, or not a pickle of arrays'}"
            raise unreadable(path, "weight file", reason) from error
    return read_torch_file(path, "weight file", mmap=True, known=log_stand_ins())


def _instead(content: Any) -> str:
    """What a file holds."""
    if not isinstance(content, Mapping):
        return f" but a {type(content).__name__}"
    return f" but {_some([str(key) for key in content])}" if content else " but nothing"


def number_kind(tensor: Tensor) -> tuple[bool, bool]:
    """Numbers that turn into each other without a loss of meaning, whatever their width."""
    return tensor.is_floating_point(), tensor.is_complex()


def _some(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
