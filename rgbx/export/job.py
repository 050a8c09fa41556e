"""From a model to checked files; nothing stays behind where one of them is wrong."""

import copy
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn
from tqdm import tqdm

import rgbx
from rgbx.blocks.lora import merge_lora
from rgbx.errors import RGBXError
from rgbx.export.check import Difference, largest_difference
from rgbx.export.graph import read_torch, trace, write_torch
from rgbx.export.onnx_file import MIN_OPSET, check_opset, read_onnx, write_onnx
from rgbx.tasks import RGBXModule
from rgbx.tasks.export_part import Part

__all__ = ["Exported", "Format", "describe", "export", "parts_of"]

Format = Literal["onnx", "torch"]


@dataclass(frozen=True)
class Exported:
    """One file that was written.

    Attributes:
        path: where it is.
        part: what is in it, what it takes and gives.
        difference: the largest one to the model that was found.
    """

    path: Path
    part: Part
    difference: Difference


def export(
    model: RGBXModule,
    size: tuple[int, int],
    kind: Format,
    target: Path,
    facts: Mapping[str, Any],
    opset: int = MIN_OPSET,
) -> list[Exported]:
    """Write a model to files that run without rgbx, and check them against it.

    LoRA is merged in a copy; the model itself is as before. Batches may have any number of
    images, all of one size.

    Args:
        model: ready to predict.
        size: (H,W) of the images.
        kind: ``onnx``, or ``torch`` for PyTorch's .pt2.
        target: the file; a model that becomes several has ``best_encoder.onnx``,
            ``best_decoder.onnx``, ... in the place of ``best.onnx``.
        facts: of data and checkpoint, as plain values, kept in the files.
        opset: of ONNX's operators.

    Returns:
        What was written; files of these names are replaced, all of them or none.

    Raises:
        RGBXError: the model cannot be exported like this, the result differs from the model, or
            the folder cannot be written to.
    """
    check_opset(opset)
    with _staging(target) as staging, _evaluating(model):
        parts = parts_of(model, size)
        names = [f"{_stem(target, part)}{target.suffix}" for part in parts]
        written = []
        with tqdm(total=3 * len(parts), leave=False) as bar:
            for part, name in zip(parts, names, strict=True):
                metadata = describe(model, part, size, names, facts)
                difference = _make(part, kind, staging / name, metadata, opset, bar)
                written.append(Exported(target.with_name(name), part, difference))
        _move(staging, target.parent, names)
    return written


def parts_of(model: RGBXModule, size: tuple[int, int]) -> list[Part]:
    """Copy a model, merge the copy's LoRA, and ask the model what goes into a file each.

    Args:
        model: in eval mode; it is not changed.
        size: (H,W) of the images.

    Raises:
        RGBXError: the model cannot be exported.
    """
    merged = copy.deepcopy(model)
    merge_lora(merged)
    return model.export_parts(merged, size)


def describe(
    model: RGBXModule,
    part: Part,
    size: Sequence[int],
    files: Sequence[str],
    facts: Mapping[str, Any],
) -> str:
    """What a file says of itself, in JSON: enough to feed it and to read its outputs.

    Args:
        model: that was exported.
        part: what is in this file.
        size: (H,W) that the images have to have.
        files: names of all files of the model.
        facts: of data and checkpoint, as plain values.
    """
    known = {
        "rgbx": rgbx.__version__,
        "model": type(model).__name__,
        "encoder": model.hparams.get("encoder"),
        "task": model.task,
        "part": part.name or None,
        "files": list(files),
        "size": list(size),
        "inputs": {port.name: port.describe() for port in part.inputs},
        "outputs": {part.output.name: part.output.describe()},
    }
    return json.dumps(known | dict(facts), indent=1, ensure_ascii=False)


def _stem(target: Path, part: Part) -> str:
    return f"{target.stem}_{part.name}" if part.name else target.stem


def _make(
    part: Part, kind: Format, path: Path, metadata: str, opset: int, bar: "tqdm[Any]"
) -> Difference:
    """Graph, file, check."""
    name = part.name or "model"
    bar.set_description(f"{name}: graph")
    program = trace(part)
    bar.update()
    bar.set_description(f"{name}: file")
    try:
        if kind == "onnx":
            write_onnx(program, part, path, metadata, opset)
        else:
            write_torch(program, path, metadata)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RGBXError(f"Could not write {path.name}: {reason}") from error
    bar.update()
    bar.set_description(f"{name}: check")
    difference = largest_difference(
        part, read_onnx(path, part) if kind == "onnx" else read_torch(path)
    )
    bar.update()
    return difference


def _move(staging: Path, folder: Path, names: list[str]) -> None:
    """Put the files into place; weights of earlier files that no file refers to are removed."""
    staged = [path.name for path in staging.iterdir()]
    for name in staged:
        os.replace(staging / name, folder / name)
    for name in names:
        if f"{name}.data" not in staged:
            (folder / f"{name}.data").unlink(missing_ok=True)


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A folder next to the target, on the same disk, that is gone afterwards."""
    folder = target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=".rgbx-export-", dir=folder)
    except OSError as error:
        raise RGBXError(
            f"{folder} cannot be written to ({error.strerror}): give another folder with --output."
        ) from error
    with temporary as name:
        yield Path(name)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """In eval mode, and back to what every part was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
