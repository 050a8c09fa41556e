"""Reading weight files: existence, hash, format, and strict loading, each with its sentence."""

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from rgbx.backbones.known import known_file
from rgbx.backbones.pickles import log_stand_ins, read_pickle
from rgbx.disk import sha256_of
from rgbx.errors import WeightsError

_SHOWN = 10  # keys named in an error


@dataclass(frozen=True)
class Weights:
    """A weight file.

    Attributes:
        path: the file (.pth, .pt, .safetensors, or Detectron2's .pkl).
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
        WeightsError: missing, truncated, damaged, wrong hash, or not a state dict.
    """
    path = check_file(weights, fetch)
    try:
        content = _read(path)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, SafetensorError):
        raise WeightsError(
            f"{path} ({path.stat().st_size} bytes) cannot be read as a weight file: it is damaged "
            "or of another format; delete it and fetch it again."
        ) from None
    for wrapper in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not any(isinstance(t, Tensor) for t in content.values()):
        raise WeightsError(f"{path} holds no state dict (tensors by name); give a file that does.")
    return {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}


def check_file(weights: Weights, fetch: str | None = None) -> Path:
    """Path of the file once it is known to exist, to be whole and to have the expected hash.

    Args:
        weights: the file.
        fetch: see `read_state`.

    Returns:
        Its path.

    Raises:
        WeightsError: missing, truncated, or of another hash.
    """
    path = Path(weights.path)
    known = known_file(path.name)
    name = known.name if known else fetch
    if not path.is_file():
        command = f"; get it with: rgbx weights fetch {name}" if name else ""
        if name and path.parent != Path("weights"):
            command += f" --dir {path.parent}"
        raise WeightsError(f"The weight file {path} does not exist{command}")
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
    """Compare the names and shapes of two sets of tensors.

    Args:
        expected: what there must be, all of it and nothing else.
        state: what there is.
        source: where that comes from, for the message.
        model: what it should fit, for the message.

    Raises:
        WeightsError: lists what is missing, unexpected and of another shape.
    """
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state if name not in expected]
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    faults = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    listed = [f"{len(keys)} {kind}: {_some(keys)}" for kind, keys in faults.items() if keys]
    if listed:
        raise WeightsError(f"{source} does not fit {model}. " + "; ".join(listed))


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    if not zipfile.is_zipfile(path):
        if path.suffix == ".pkl":
            return read_pickle(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    with zipfile.ZipFile(path) as archive:
        scripted = any(name.endswith("/constants.pkl") for name in archive.namelist())
    if scripted:  # OpenAI publishes CLIP as TorchScript; only its tensors are taken
        return torch.jit.load(path, map_location="cpu").state_dict()
    with torch.serialization.safe_globals(log_stand_ins()):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def _some(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
