"""Giving a model what a checkpoint file holds; refusals name the file."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from lightning.pytorch import LightningModule

from rgbx.backbones.file_kind import DAMAGE
from rgbx.errors import RGBXError, WeightsError
from rgbx.models.checkpoint_file import read_checkpoint
from rgbx.optim.surgery import is_known_weighting

__all__ = ["build_from", "load_checkpoint", "loading"]


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
    source: str | Path | IO[bytes],
    build: Callable[..., Any],
    weights_only: bool | None,
    given: Mapping[str, Any],
) -> Any:
    """A model from a checkpoint alone, by Lightning's `load_from_checkpoint`.

    Args:
        source: the file, or an open one.
        build: Lightning's, which gets ``weights_only`` and ``given``.
        weights_only: False: trust the file, and run whatever it names.
        given: arguments of the model that win over the checkpoint's.

    Raises:
        WeightsError: see `load_checkpoint`; or the model cannot be built from the arguments that
            the checkpoint holds, or would run a class of another package for them; or the source
            is an address, which Lightning would trust.
    """
    with warnings.catch_warnings():
        # a checkpoint brings its frozen weights, or is refused if those built here are others
        warnings.filterwarnings("ignore", message=".*starts? from RANDOM weights")
        if weights_only is False:
            return build(weights_only=False, **given)
        stored = _looked_at(source)
        surgery = stored.get("hyper_parameters", {}).get("surgery")
        if "surgery" not in given and not is_known_weighting(surgery):
            raise WeightsError(
                f"{_name(source)} asks for surgery {surgery!r}, code outside of rgbx and torchjd, "
                "which a file may not choose: give surgery=... yourself."
            )
        with loading(_name(source)):
            return build(weights_only=True, **given)


def _looked_at(source: str | Path | IO[bytes]) -> dict[str, Any]:
    """The content of a checkpoint that Lightning will read once more."""
    if not isinstance(source, str | Path):
        content: dict[str, Any] = torch.load(source, map_location="cpu", weights_only=True)
        source.seek(0)
        return content
    if "://" in str(source):
        raise WeightsError(f"{source} is an address: fetch the file, and give its path.")
    return read_checkpoint(source, mmap=True)


def _name(source: str | Path | IO[bytes]) -> str:
    return str(source if isinstance(source, str | Path) else getattr(source, "name", "The file"))


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
