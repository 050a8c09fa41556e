"""UniRGB-IR's neck and head: the paper sheet's vectors, and the formulas by plain functions."""

import pytest
import torch
import torch.nn.functional as F

from rgbx.models.unirgb_ir import load_released
from rgbx.models.unirgb_ir.head import MLAHead
from rgbx.models.unirgb_ir.neck import MLANeck
from tests.models.unirgb_ir_vectors import check, fill, filled, wave

NECK = [
    (28.620366, 0.149064, [0.108998, 0, 0, 0.087109]),
    (51.905087, 0.270339, [0.426500, 0.151597, 0.157990, 0.360445]),
    (76.400380, 0.397919, [0.760921, 0.365714, 0.350991, 0.629915]),
    (98.541187, 0.513235, [1.317173, 0.919633, 0.848303, 0.999808]),
]


def neck_maps():
    """Shallow to deep."""
    return [wave((1, 24, 4, 6), 0.1 * k) for k in range(1, 5)]


def conv_norm_act(x, state, prefix):
    """Convolution, BatchNorm in eval mode at its start, ReLU."""
    weight = state[f"{prefix}.conv.weight"].double()
    x = F.conv2d(x, weight, padding=weight.shape[-1] // 2) / (1 + 1e-5) ** 0.5
    scale, shift = (state[f"{prefix}.bn.{n}"].double() for n in ("weight", "bias"))
    return (x * scale[:, None, None] + shift[:, None, None]).clamp(min=0)


def test_neck_vectors():
    outputs = fill(MLANeck(24, 8))(neck_maps())
    assert [o.shape for o in outputs] == [(1, 8, 4, 6)] * 4
    for output, row in zip(outputs, NECK, strict=True):
        check(output, *row, [])


def test_head_is_the_original_order_of_its_steps():
    """Branches enlarged, joined, classified; the module classifies before it enlarges."""
    head = fill(MLAHead(8, 6, num_classes=5))
    state = filled(head)
    maps = [wave((2, 8, 3, 5), 0.1 * k) for k in range(4)]
    enlarged = []
    for index, x in enumerate(maps):
        x = conv_norm_act(x.double(), state, f"up_convs.{index}.0")
        x = conv_norm_act(x, state, f"up_convs.{index}.1")
        enlarged.append(F.interpolate(x, size=(12, 20), mode="bilinear", align_corners=False))
    weight, bias = (state[f"conv_seg.{n}"].double() for n in ("weight", "bias"))
    expected = F.conv2d(torch.cat(enlarged, dim=1), weight, bias)
    with torch.no_grad():
        logits = head(maps)
    assert logits.shape == (2, 5, 12, 20)
    assert torch.allclose(logits.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("depth", range(4))
def test_a_map_reaches_the_outputs_of_its_depth_and_shallower(depth):
    """Perturbing the shallowest map (depth 0) changes the last output alone."""
    neck = fill(MLANeck(24, 8))
    maps = neck_maps()
    before = neck(maps)
    maps[depth] = maps[depth].flip(-1)
    changed = [not torch.equal(a, b) for a, b in zip(before, neck(maps), strict=True)]
    assert changed == [output >= 3 - depth for output in range(4)]


def test_parameters_and_official_names():
    counts = [
        sum(p.numel() for p in module.parameters())
        for module in (MLANeck(), MLAHead(), MLAHead(num_classes=1))
    ]
    assert counts == [3_155_968, 1_776_137, 1_772_033]
    neck, head = set(filled(MLANeck(24, 8))), set(filled(MLAHead(8, 6)))
    unit = ("conv.weight", "bn.weight", "bn.bias")
    parts = ("mla.channel_proj", "mla.feat_extract")
    assert neck == {f"norm.{i}.{n}" for i in range(4) for n in ("weight", "bias")} | {
        f"{part}.{i}.{n}" for part in parts for i in range(4) for n in unit
    }
    assert head == {"conv_seg.weight", "conv_seg.bias"} | {
        f"up_convs.{i}.{j}.{n}" for i in range(4) for j in (0, 1) for n in unit
    }


def test_released_names_load_with_a_prefix():
    head = MLAHead(8, 6)
    values = filled(MLAHead(8, 6))
    load_released(head, {f"module.{name}": tensor for name, tensor in values.items()})
    assert all(torch.equal(head.state_dict()[name], tensor) for name, tensor in values.items())


def test_classifier_starts_small_and_norms_are_an_option():
    torch.manual_seed(0)
    head = MLAHead(8, 64, num_classes=9, norm="gn")
    assert float(head.conv_seg.weight.std()) == pytest.approx(0.01, rel=0.05)
    assert not head.conv_seg.bias.any()
    assert not [m for m in head.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    neck = MLANeck(24, 8, num_maps=2, norm="gn")
    assert len(neck(neck_maps()[:2])) == 2
    assert not [m for m in neck.modules() if isinstance(m, torch.nn.BatchNorm2d)]
