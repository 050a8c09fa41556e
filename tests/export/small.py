"""Small models with every part away from where it starts, and what is checked of every file."""

import dataclasses
import gc
import json
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch

import rgbx
from rgbx.backbones.sam import SAM_PRESETS
from rgbx.backbones.sam2 import SAM2_PRESETS
from rgbx.export.graph import trace, write_torch
from rgbx.export.job import describe, parts_of
from rgbx.export.onnx_file import write_onnx
from rgbx.models.unirgb_ir.build import PRESETS
from rgbx.optim.schedules import Constant
from rgbx.tasks import SaliencyModule

SIZE = (64, 96)
FACTS = {"class_names": ["background", "salient"], "rgb_mean": [0.4, 0.5, 0.6]}


@contextmanager
def halved(depth: int = 2):
    """The tiny presets with one block of each kind, or one alone: graphs take time by the block."""
    blocks = {"depth": depth, "global_blocks": (depth - 1,)}
    stages = {"stages": (1, 1, 2, 1), "global_blocks": (3,)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SAM_PRESETS, "tiny", dataclasses.replace(SAM_PRESETS["tiny"], **blocks))
        patch.setitem(SAM2_PRESETS, "tiny", dataclasses.replace(SAM2_PRESETS["tiny"], **stages))
        patch.setitem(PRESETS, "tiny", PRESETS["tiny"] | blocks)
        yield


def moved(model, by=0.05):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(by * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def write(model, folder: Path) -> dict[str, Path]:
    """Every part in both formats from one graph: part and suffix -> file."""
    written = {}
    gc.freeze()  # what is there already need not be gone through again and again
    try:
        for part in parts_of(model, SIZE):
            program = trace(part)
            text = describe(model, part, SIZE, [], FACTS)
            for suffix in (".onnx", ".pt2"):
                path = folder / f"{part.name or 'model'}{suffix}"
                if suffix == ".onnx":
                    write_onnx(program, part, path, text, 18)
                else:
                    write_torch(program, path, text)
                written[path.name] = path
    finally:
        gc.unfreeze()
    return written


@cache
def read_pt2(path: Path) -> tuple:
    """The function in a file, and what the file says about itself."""
    extra = {"rgbx.json": ""}
    module = torch.export.load(path, extra_files=extra).module()
    return module, json.loads(extra["rgbx.json"])


def predict(path: Path, **inputs) -> torch.Tensor:
    """What a file computes, without any of our code."""
    with torch.no_grad():
        if path.suffix == ".pt2":
            return read_pt2(path)[0](*inputs.values())
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        return torch.from_numpy(found)


def stored(path: Path) -> dict:
    """What a file says about itself."""
    if path.suffix == ".pt2":
        return read_pt2(path)[1]
    (entry,) = onnx.load(path).metadata_props
    assert entry.key == "rgbx"
    return json.loads(entry.value)


def shapes(path: Path) -> dict[str, list]:
    """Inputs and outputs of an ONNX file: name -> lengths and names of lengths."""
    graph = onnx.load(path).graph
    return {
        port.name: [side.dim_param or side.dim_value for side in port.type.tensor_type.shape.dim]
        for port in (*graph.input, *graph.output)
    }


def says_nothing_of_us(path: Path) -> None:
    """No adapters, no paths of the machine, no operators of rgbx."""
    content = path.read_bytes()
    assert b"lora_" not in content
    assert str(Path(rgbx.__file__).parent).encode() not in content
    if path.suffix == ".onnx":
        assert {node.domain for node in onnx.load(path).graph.node} == {""}


class Toy(SaliencyModule):
    """A saliency model without a second modality, of two layers."""

    needs_x = False

    def __init__(self):
        super().__init__(torch.optim.SGD, Constant())
        self.first = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.last = torch.nn.Conv2d(4, 1, 1)

    def logits(self, rgb, x):
        assert x is None
        return self.last(torch.nn.functional.gelu(self.first(rgb)))
