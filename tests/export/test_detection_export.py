"""Detectors in files: what lies between and behind them is in the model's README, and works."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.ops import nms as reference

import rgbx.models.unirgb_ir as paper
from rgbx import UniRGBIRDetection
from rgbx.export.check import largest_difference
from rgbx.export.graph import trace
from rgbx.export.job import parts_of
from rgbx.export.onnx_file import read_onnx, write_onnx
from rgbx.models.unirgb_ir.detector import CascadeConfig, RPNConfig

SIZE = (64, 96)


@pytest.fixture(scope="module")
def code() -> dict:
    """The functions of the README's numpy block."""
    text = (Path(paper.__file__).parent / "README.md").read_text()
    blocks = [b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "def nms" in b]
    assert len(blocks) == 1
    names: dict = {}
    exec(blocks[0], names)
    return names


def model(head: str) -> UniRGBIRDetection:
    torch.manual_seed(1)
    cascade = CascadeConfig(fc_dim=16, convs=1)
    rpn = RPNConfig(candidates=60, proposals=50)
    made = UniRGBIRDetection(
        "tiny", head=head, channels=16, img_size=128, norm="gn", cascade=cascade, rpn=rpn
    )
    with torch.no_grad():  # scores that differ, above the threshold
        for name, parameter in made.network.named_parameters():
            if re.search(r"rpn_(cls|reg)|fc_(cls|reg)|fcos_head\.(cls|box|centre)", name):
                parameter.copy_(0.3 * torch.randn(parameter.shape))
    return made.eval()


def images() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return tuple(torch.randn(2, 3, *SIZE, generator=generator) for _ in range(2))


def same(found, wanted) -> None:
    """Detections in numpy against the model's; equal scores may be in another order."""
    boxes, scores, labels = found
    assert len(scores) == len(wanted["scores"]) > 5
    assert np.allclose(scores, wanted["scores"].numpy(), atol=1e-5)
    assert np.allclose(boxes, wanted["boxes"].numpy(), atol=1e-3)
    assert labels.tolist() == wanted["labels"].tolist()


def test_nms_is_torchvisions(code):
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(300, 4, generator=generator) * 50
    boxes[:, 2:] += boxes[:, :2] + 1
    scores = torch.rand(300, generator=generator)
    found = code["nms"](boxes.numpy(), scores.numpy(), 0.5)
    assert found.tolist() == reference(boxes, scores, 0.5).tolist()


def test_the_cascades_files_give_the_models_detections(code):
    made = model("cascade")
    pyramid, proposals, heads = parts_of(made, SIZE)
    rows = [
        int(n) for n in re.search(r"levels of \[(.*?)\]", proposals.output.meaning)[1].split(",")
    ]
    with torch.no_grad():
        wanted = made(*images())
        features = pyramid.module(*images())
        found = proposals.module(features)
        assert sum(rows) == found.shape[1]
        for i in range(2):
            seen = code["best_proposals"](found[i].numpy(), rows, candidates=60, most=50)
            scored = heads.module(features[i : i + 1], torch.from_numpy(seen)[None])[0]
            same(code["detections"](scored.numpy()), wanted[i])


def test_the_file_of_fcos_gives_the_models_detections(code):
    made = model("fcos")
    [part] = parts_of(made, SIZE)
    with torch.no_grad():
        wanted, found = made(*images()), part.module(*images())
    for i in range(2):
        same(code["detections"](found[i].numpy()), wanted[i])


@pytest.mark.slow
@pytest.mark.parametrize("place", [1, 2])
def test_proposals_and_heads_as_onnx_equal_the_model(tmp_path, place):
    """The encoder in front of them is that of the other tasks, whose files are tested."""
    part, path = parts_of(model("cascade"), SIZE)[place], tmp_path / "d.onnx"
    write_onnx(trace(part), part, path, "{}", 18)
    assert largest_difference(part, read_onnx(path, part)).share < 1e-4
