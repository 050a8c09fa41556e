"""Graphs as ONNX files, and ONNX Runtime."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
                dynamic_shapes=tuple(port.free for port in part.inputs),
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
    for node in made.model.graph.all_nodes():
        node.metadata_props.clear()  # where in Python it came from
    made.model.metadata_props[METADATA] = metadata
    size = sum(t.numel() * t.element_size() for t in program.state_dict.values())
    made.save(path, external_data=size > _ONE_FILE)


def read_onnx(path: Path, part: Part) -> Callable[..., Tensor]:
    """What ONNX Runtime computes with a file, on the CPU.

    Raises:
        RGBXError: ONNX Runtime refuses the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    with _explained("read"):
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def run(*inputs: Tensor) -> Tensor:
        given = {p.name: t.numpy() for p, t in zip(part.inputs, inputs, strict=True)}
        with _explained("run"):
            return torch.from_numpy(session.run([part.output.name], given)[0])

    return run


@contextmanager
def _explained(verb: str) -> Iterator[None]:
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    try:
        yield
    except (errors.Fail, errors.InvalidGraph, errors.NotImplemented, errors.RuntimeException) as e:
        raise RGBXError(f"ONNX Runtime cannot {verb} what was exported: {_reason(e)}") from e


def _reason(error: BaseException) -> str:
    """The first line of the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages it would like and versions it converts."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
