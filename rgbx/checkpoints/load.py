"""Giving a model what a checkpoint file holds; refusals name the file."""

import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import torch
from lightning.pytorch import LightningModule

from rgbx.backbones.file_kind import DAMAGE
from rgbx.checkpoints.file import read_checkpoint
from rgbx.errors import RGBXError, WeightsError
from rgbx.optim.surgery import is_known_weighting

if TYPE_CHECKING:
    from rgbx.checkpoints.module import Checkpointed

__all__ = ["build_from", "load_checkpoint", "loading", "weights_follow"]

M = TypeVar("M", bound="Checkpointed")


def load_checkpoint(model: LightningModule, path: str | Path) -> None:
    """Give a model what was trained.

    Raises:
        WeightsError: see `read_checkpoint`; or the checkpoint is of another model or backbone.
    """
    stored = read_checkpoint(path)
    with loading(path):
        model.on_load_checkpoint(stored)
        model.load_state_dict(stored["state_dict"])


def build_from(
    source: str | Path | IO[bytes], model: type[M], given: Mapping[str, Any], override: bool
) -> M:
    """A model from a checkpoint alone.

    Args:
        source: the file, or an open one.
        model: its class.
        given: arguments that win over the checkpoint's.
        override: they may change what the network computes.

    Raises:
        RGBXError: the class has no such argument.
        WeightsError: see `load_checkpoint`; or the model cannot be built from the arguments that
            the checkpoint holds, or would run a class of another package for them; or the source
            is an address, which Lightning would trust.
    """
    known = inspect.signature(model.__init__).parameters
    if unknown := [name for name in given if name not in known]:
        raise RGBXError(f"{model.__name__} has no argument {', '.join(unknown)}.")
    stored, path = _content(source), _name(source)
    arguments = stored.get("hyper_parameters", {})
    if asked := [arguments[name] for name in ("_instantiator", "_class_path") if name in arguments]:
        raise WeightsError(
            f"{path} asks to be built by {', '.join(map(str, asked))}, which is code."
        )
    kept = {k: v for k, v in arguments.items() if k in known} | dict(given)
    if "surgery" not in given and not is_known_weighting(kept.get("surgery")):
        raise WeightsError(
            f"{path} asks for surgery {kept['surgery']!r}, code outside of rgbx and torchjd, which "
            "a file may not choose: give surgery=... yourself."
        )
    with loading(path), weights_follow():
        built = model(**kept)
        built.override = override
        built.on_load_checkpoint(stored)
        built.load_state_dict(stored["state_dict"])
    return built


def _content(source: str | Path | IO[bytes]) -> dict[str, Any]:
    if not isinstance(source, str | Path):
        content: dict[str, Any] = torch.load(source, map_location="cpu", weights_only=True)
        return content
    if "://" in str(source):
        raise WeightsError(f"{source} is an address: fetch the file, and give its path.")
    return read_checkpoint(source)


def _name(source: str | Path | IO[bytes]) -> str:
    return str(source if isinstance(source, str | Path) else getattr(source, "name", "The file"))


@contextmanager
def weights_follow() -> Iterator[None]:
    """Build a model that is given a checkpoint next, without a warning of random weights.

    A checkpoint brings its frozen weights, or is refused if those built here are others.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*starts? from (a )?RANDOM")
        yield


@contextmanager
def loading(path: str | Path) -> Iterator[None]:
    """Name the file in whatever is wrong with its content.

    Raises:
        WeightsError: a refusal of the content; or its values are not those that the model or
            Lightning had stored, which shows as any of the errors of wrong types.
    """
    try:
        yield
    except RGBXError as error:
        if not isinstance(error, WeightsError) or str(path) in str(error):
            raise
        raise WeightsError(f"{path}: {error}") from error
    except DAMAGE as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise WeightsError(
            f"{path} cannot be loaded: something in it is not what was stored ({what}). Use "
            "another checkpoint, or the versions it was written with."
        ) from error
