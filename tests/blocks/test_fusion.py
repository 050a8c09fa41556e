"""Fusion blocks against their formulas."""

import torch

from rgbx.blocks.fusion import ConcatFusion, DynamicFeatureFusion, SqueezeExcitation


def test_squeeze_excitation_scales_channels_by_a_function_of_their_means():
    block = SqueezeExcitation(32).double()
    x = torch.randn(2, 3, 5, 32, dtype=torch.float64)
    pooled = x.flatten(1, 2).mean(1)
    hidden = torch.relu(pooled @ block.squeeze.weight.T + block.squeeze.bias)
    gate = torch.sigmoid(hidden @ block.excite.weight.T + block.excite.bias)
    assert hidden.shape == (2, 2)
    assert torch.allclose(block(x), x * gate[:, None, None], atol=1e-12)


def test_dffm_is_equation_2():
    block = DynamicFeatureFusion(12, 16).double()
    fused, stream = torch.randn(2, 2, 3, 4, 12, dtype=torch.float64)
    assert torch.equal(block(fused, stream), torch.zeros_like(stream))
    torch.nn.init.normal_(block.conv_c.weight)
    inner = block.conv_a(fused) + block.attention(block.conv_b(stream))
    assert torch.allclose(block(fused, stream), inner @ block.conv_c.weight.T)


def test_dffm_has_the_1x1_convolutions_parameters():
    dim, width = 1280, 192
    block = DynamicFeatureFusion(dim, width)
    squeeze = 2 * width * (width // 16) + width // 16 + width
    expected = 2 * (dim * width + width) + (width * dim + dim) + squeeze
    assert sum(p.numel() for p in block.parameters()) == expected


def test_concat_starts_as_its_first_input():
    block = ConcatFusion(6)
    rgb, x = torch.randn(2, 1, 2, 3, 6)
    assert torch.equal(block(rgb, x), rgb)
    assert block.project.weight.shape == (6, 12)
