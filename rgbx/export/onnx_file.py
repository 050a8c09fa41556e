"""Graphs as ONNX files, and ONNX Runtime."""

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from rgbx.errors import RGBXError
from rgbx.tasks.export_part import Part

__all__ = ["MAX_OPSET", "METADATA", "MIN_OPSET", "check_opset", "read_onnx", "write_onnx"]

#: the exporter writes 18 and knows how to go on from there, not back
MIN_OPSET, MAX_OPSET = 18, 23
#: key of the text about the model in the file's metadata
METADATA = "rgbx"

_ONE_FILE = 1_900_000_000  # bytes of weights that fit into one file; protobuf ends at 2 GiB


def check_opset(opset: int) -> None:
    """Refuse an opset that the exporter cannot write.

    Raises:
        RGBXError: says which it can.
    """
    if not MIN_OPSET <= opset <= MAX_OPSET:
        what = "old" if opset < MIN_OPSET else "new"
        raise RGBXError(
            f"ONNX opset {opset} is too {what}: give --opset {MIN_OPSET} to {MAX_OPSET}."
        )


def write_onnx(program: ExportedProgram, part: Part, path: Path, metadata: str, opset: int) -> None:
    """Write a graph as ONNX; weights above 1.9 GB go into ``PATH.data`` next to it.

    Args:
        program: what `rgbx.export.graph.trace` made of `part`.
        part: names inputs, output and free lengths.
        path: ends in .onnx.
        metadata: JSON, kept in the file's metadata under `METADATA`.
        opset: of the operators, `MIN_OPSET` to `MAX_OPSET`.

    Raises:
        RGBXError: an operator has no counterpart in ONNX.
    """
    try:
        with _quiet():
            made = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=opset,
                input_names=[port.name for port in part.inputs],
                output_names=[part.output.name],
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise RGBXError(f"ONNX cannot express this model: {_reason(error)}") from error
    assert made is not None
    written = made.model.opset_imports[""]
    if written != opset:
        raise RGBXError(
            f"This model cannot be written with ONNX opset {opset}, only with {written}: give "
            f"--opset {written}."
        )
    _name_lengths(made.model, part)
    made.model.metadata_props[METADATA] = metadata
    size = sum(t.numel() * t.element_size() for t in program.state_dict.values())
    made.save(path, external_data=size > _ONE_FILE)


def read_onnx(path: Path, part: Part) -> Callable[..., Tensor]:
    """What ONNX Runtime computes with a file, on the CPU.

    Raises:
        RGBXError: ONNX Runtime refuses the file.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    refusals = (errors.Fail, errors.InvalidGraph, errors.NotImplemented, errors.RuntimeException)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except refusals as error:
        raise RGBXError(f"ONNX Runtime cannot read what was exported: {_reason(error)}") from error

    def run(*inputs: Tensor) -> Tensor:
        given = {p.name: t.numpy() for p, t in zip(part.inputs, inputs, strict=True)}
        try:
            return torch.from_numpy(session.run([part.output.name], given)[0])
        except refusals as error:
            raise RGBXError(
                f"ONNX Runtime cannot run what was exported: {_reason(error)}"
            ) from error

    return run


def _name_lengths(model: Any, part: Part) -> None:
    """Call free lengths what the part calls them, and drop where in Python operators came from."""
    import onnx_ir

    names = {}
    for value, port in zip(model.graph.inputs, part.inputs, strict=True):
        for axis, name in port.free.items():
            names[str(value.shape[axis])] = name
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b")

    def renamed(side: Any) -> Any:
        # some lengths have no name, and are not the same for that
        if isinstance(side, int) or side.value is None:
            return side
        return pattern.sub(lambda found: names[found[1]], side.value)

    def rename(value: Any) -> None:
        if value.shape is not None:
            value.shape = onnx_ir.Shape([renamed(side) for side in value.shape])

    for value in (*model.graph.inputs, *model.graph.outputs):
        rename(value)
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            rename(value)


def _reason(error: BaseException) -> str:
    """The first line of the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages it would like and versions it converts."""
    said = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in said]
    for logger in said:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(said, levels, strict=True):
            logger.setLevel(level)
