"""From a module to a graph without Python, and its file for PyTorch."""

import io
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from rgbx.errors import RGBXError
from rgbx.tasks.export_part import Part

__all__ = ["METADATA", "read_torch", "trace", "write_torch"]

#: name of the text about the model inside a .pt2 file
METADATA = "rgbx.json"


def trace(part: Part) -> ExportedProgram:
    """The graph of a part, its free lengths left open.

    Raises:
        RGBXError: PyTorch cannot make a graph of it.
    """
    names = {name: Dim(name, min=least) for name, least in part.checked[0].items()}
    shapes = tuple({axis: names[n] for axis, n in port.free.items()} for port in part.inputs)
    inputs = part.example(part.traced, torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            program = torch.export.export(part.module, inputs, dynamic_shapes=shapes, strict=False)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise RGBXError(
            f"PyTorch cannot make a graph of this model's {part.name or 'forward pass'}: {reason}"
        ) from error
    _forget_sources(program)
    return program


def write_torch(program: ExportedProgram, path: Path, metadata: str) -> None:
    """Write a graph as PyTorch's own archive.

    Args:
        program: what `trace` made.
        path: ends in .pt2.
        metadata: JSON, kept inside as `METADATA`.
    """
    program.example_inputs = None  # images that nobody needs
    content = io.BytesIO()  # given a file, torch ends the whole process where the disk is full
    torch.export.save(program, content, extra_files={METADATA: metadata})
    path.write_bytes(content.getbuffer())


def read_torch(path: Path) -> Callable[..., Tensor]:
    """The function in a file that `write_torch` wrote."""
    module: Callable[..., Tensor] = torch.export.load(path).module()
    return module


def _forget_sources(program: ExportedProgram) -> None:
    """Drop the lines of Python that operations came from: paths of this machine, in every one."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
                node.meta.pop("nn_module_stack", None)
