"""From a model to checked files; nothing stays behind where one of them is wrong."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn
from torch.export import ExportedProgram
from tqdm import tqdm

from rgbx.errors import RGBXError
from rgbx.export.about import about
from rgbx.export.check import Difference, largest_difference
from rgbx.export.graph import read_torch, trace, write_torch
from rgbx.export.onnx_file import MIN_OPSET, check_opset, read_onnx, write_onnx
from rgbx.export.part import Part, Port
from rgbx.export.parts import parts_of
from rgbx.tasks import RGBXModule

__all__ = ["Exported", "Format", "export", "part_paths"]

Format = Literal["onnx", "torch"]


@dataclass(frozen=True)
class Exported:
    """One file that was written.

    Attributes:
        path: where it is.
        inputs: what it takes, in order.
        output: what it gives.
        difference: the largest one to the model that was found.
    """

    path: Path
    inputs: tuple[Port, ...]
    output: Port
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
        target: the file; a model that becomes several gets names from it, see `part_paths`.
        facts: of data and checkpoint, as plain values, kept in the files.
        opset: of ONNX's operators.

    Returns:
        What was written; files of these names are replaced, all of them or none.

    Raises:
        RGBXError: the model cannot be exported like this, the result differs from the model, or
            the place cannot be written to.
    """
    check_opset(opset)
    with _staging(target) as staging, _evaluating(model):
        parts = parts_of(model, size)
        paths = part_paths(target, parts)
        names = [path.name for path in paths]
        written = []
        with tqdm(total=3 * len(parts), leave=False) as bar:
            for part, path in zip(parts, paths, strict=True):
                bar.set_description(f"{part.name or 'model'}: graph")
                program = trace(part)
                bar.update()
                bar.set_description(f"{part.name or 'model'}: file")
                staged = staging / path.name
                metadata = about(model, part, size, names, facts)
                _write(kind, program, part, staged, metadata, opset)
                bar.update()
                bar.set_description(f"{part.name or 'model'}: check")
                run = read_onnx(staged, part) if kind == "onnx" else read_torch(staged)
                difference = largest_difference(part, run)
                written.append(Exported(path, part.inputs, part.output, difference))
                bar.update()
        _move(staging, target.parent, names)
    return written


def part_paths(target: Path, parts: list[Part]) -> list[Path]:
    """``best.onnx``, or ``best_encoder.onnx``, ``best_decoder.onnx``, ..."""
    return [
        target.with_name(f"{target.stem}_{part.name}{target.suffix}") if part.name else target
        for part in parts
    ]


def _write(
    kind: Format, program: ExportedProgram, part: Part, path: Path, metadata: str, opset: int
) -> None:
    try:
        if kind == "onnx":
            write_onnx(program, part, path, metadata, opset)
        else:
            write_torch(program, path, metadata)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RGBXError(f"Could not write {path.name}: {reason}") from error


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
            f"{folder} cannot be written to ({error.strerror}): give another place with --output."
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
