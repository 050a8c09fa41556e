"""Convolution, norm and ReLU."""

import math

import pytest
import torch
import torch.nn.functional as F

from rgbx.blocks.conv import ConvNormAct, norm_layer
from rgbx.errors import RGBXError


def test_conv_norm_act_is_its_three_steps():
    torch.manual_seed(0)
    layer = ConvNormAct(6, 8, 3).double().eval()
    assert list(layer.state_dict())[:3] == ["conv.weight", "bn.weight", "bn.bias"]
    with torch.no_grad():
        for tensor in (layer.bn.weight, layer.bn.bias, layer.bn.running_mean):
            tensor.normal_()
        layer.bn.running_var.uniform_(0.5, 2.0)
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    scale = layer.bn.weight / (layer.bn.running_var + 1e-5).sqrt()
    shift = layer.bn.bias - layer.bn.running_mean * scale
    mapped = F.conv2d(x, layer.conv.weight * scale[:, None, None, None], shift, padding=1)
    assert torch.allclose(layer(x), mapped.clamp(min=0), atol=1e-12)


def test_convolution_starts_kaiming_normal_by_fan_out():
    torch.manual_seed(0)
    layer = ConvNormAct(256, 128, 3)
    assert layer.conv.bias is None
    assert float(layer.conv.weight.std()) == pytest.approx(math.sqrt(2 / (9 * 128)), rel=0.01)
    assert float(layer.conv.weight.mean()) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("channels", "groups"), [(256, 32), (64, 32), (48, 24), (40, 20), (8, 8), (37, 1), (1, 1)]
)
def test_group_norm_takes_the_most_groups_that_divide_the_channels(channels, groups):
    norm = norm_layer("gn", channels)
    assert isinstance(norm, torch.nn.GroupNorm)
    assert (norm.num_groups, norm.num_channels) == (groups, channels)


def test_group_norm_is_called_gn_and_sees_every_image_alone():
    layer = ConvNormAct(3, 4, 1, norm="gn").train()
    assert list(layer.state_dict()) == ["conv.weight", "gn.weight", "gn.bias"]
    x = torch.randn(2, 3, 5, 5)
    assert torch.allclose(layer(x)[1:], layer(x[1:]), atol=1e-6)


def test_one_value_per_channel_says_what_to_set():
    layer = ConvNormAct(3, 4, 1)
    one = torch.randn(1, 3, 1, 1)
    with pytest.raises(RGBXError, match=r"\(1, 4, 1, 1\): set model.norm to gn, a larger"):
        layer(one)
    assert layer.eval()(one).shape == (1, 4, 1, 1)
    assert layer.train()(torch.randn(2, 3, 1, 1)).shape == (2, 4, 1, 1)


def test_sync_batchnorm_converts_it():
    layer = torch.nn.SyncBatchNorm.convert_sync_batchnorm(ConvNormAct(3, 4, 1))
    assert type(layer.bn) is torch.nn.SyncBatchNorm
