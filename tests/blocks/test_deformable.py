"""Deformable attention: the paper sheet's vectors, the formula by loops, gradients, precision."""

import math

import pytest
import torch
import torch.nn.functional as F

from rgbx.blocks import DeformableAttention, deformable_attention, deformable_core, reference_points
from rgbx.errors import RGBXError
from tests.blocks.deformable_explicit import explicit
from tests.models.unirgb_ir_vectors import check, seed, wave

LEVELS = ((4, 6), (2, 3), (1, 2))


def arguments(dtype=torch.float64, batch=2, queries=5, heads=3, width=4, levels=LEVELS, points=2):
    """Random values, places up to 0.3 outside the maps, weights."""
    generator = torch.Generator().manual_seed(1)
    cells = sum(h * w for h, w in levels)
    shape = (batch, queries, heads, len(levels), points)
    value = torch.randn(batch, cells, heads, width, dtype=dtype, generator=generator)
    locations = torch.rand(*shape, 2, dtype=dtype, generator=generator) * 1.6 - 0.3
    weights = torch.rand(shape, dtype=dtype, generator=generator)
    return value, levels, locations, weights


def by_grid_sample(value, levels, locations, weights):
    """The same, differentiable by autograd: PyTorch's own bilinear reading, level by level."""
    batch, _, heads, width = value.shape
    total = 0
    for level, cells in enumerate(value.split([h * w for h, w in levels], dim=1)):
        maps = cells.permute(0, 2, 3, 1).reshape(batch * heads, width, *levels[level])
        grid = (2 * locations[:, :, :, level] - 1).transpose(1, 2).flatten(0, 1)
        read = F.grid_sample(maps, grid, align_corners=False)
        total = total + (read * weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None])
    return total.sum(-1).unflatten(0, (batch, heads)).permute(0, 3, 1, 2).flatten(2)


def gradients(function, value, levels, locations, weights):
    inputs = [t.clone().requires_grad_() for t in (value, locations, weights)]
    out = function(inputs[0], levels, *inputs[1:])
    return torch.autograd.grad(out, inputs, wave(out.shape, 0.4).to(out))


def test_vector_1_core():
    weights = wave((2, 5, 3, 6), 2.0).softmax(-1).view(2, 5, 3, 3, 2)
    locations = 0.5 + 0.6 * wave((2, 5, 3, 3, 2, 2), 1.1)
    out = deformable_attention(wave((2, 32, 3, 4), 0.3), LEVELS, locations, weights)
    assert out.shape == (2, 5, 12)
    first = [-0.090678, -0.108561, -0.075386, -0.006755]
    check(out, 5.945104, 0.108774, first, [0.095241, 0.069658])


def test_vector_2_layer():
    layer = DeformableAttention(24, heads=6)
    for name, parameter in layer.named_parameters():
        parameter.data = wave(tuple(parameter.shape), seed(name), 0.2)
    levels = ((8, 12), (4, 6), (2, 3))
    query, pool = wave((2, 24, 24), 0.5), wave((2, 126, 24), 0.9)
    out = layer(query, reference_points(4, 6), pool, levels)
    first = [-0.051712, 0.228283, 0.309117, -0.081583]
    check(out, 15.793504, 0.158442, first, [-0.031710, -0.151467])


def test_core_is_the_formula():
    values = arguments()
    assert torch.allclose(deformable_attention(*values), explicit(*values), atol=1e-12)


def test_places_on_and_beyond_the_border():
    """Cell centres, edges, corners, far outside; a map of one cell."""
    levels = ((2, 2), (1, 1))
    ends = torch.tensor([-9.0, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 9.0], dtype=torch.float64)
    grid = torch.cartesian_prod(ends, ends)
    locations = grid[None, :, None, None, None].expand(1, -1, 1, 2, 1, 2)
    value, _, _, _ = arguments(batch=1, heads=1, levels=levels)
    weights = torch.rand(1, len(grid), 1, 2, 1, dtype=torch.float64)
    out = deformable_attention(value, levels, locations, weights)
    assert torch.allclose(out, explicit(value, levels, locations, weights), atol=1e-12)
    assert torch.equal(out[0, grid.abs().amax(-1) > 2], torch.zeros(32, 4, dtype=torch.float64))


@pytest.mark.slow
def test_gradients_by_finite_differences():
    value, levels, locations, weights = (
        t.requires_grad_() if isinstance(t, torch.Tensor) else t for t in arguments(queries=3)
    )
    assert torch.autograd.gradcheck(
        lambda v, x, w: deformable_attention(v, levels, x, w), (value, locations, weights)
    )


@pytest.mark.parametrize("together", [0, 1, 2, 3])
def test_any_chunk_gives_the_gradients_of_grid_sample(together, monkeypatch):
    """One head at a time (also where one is more than a chunk may hold), two of three, all."""
    monkeypatch.setattr(deformable_core, "_PLACES", together * 5 * 3 * 2)
    values = arguments()
    expected = by_grid_sample(*values)
    assert torch.allclose(deformable_attention(*values), expected, atol=1e-12)
    pairs = zip(
        gradients(deformable_attention, *values), gradients(by_grid_sample, *values), strict=True
    )
    assert all(torch.allclose(ours, theirs, atol=1e-12) for ours, theirs in pairs)


def test_gradients_are_those_of_grid_sample_on_cell_centres():
    """At the start the ring lies on centres, where the slope depends on the side that is taken."""
    levels, offsets = ((4, 8),), torch.arange(-2.0, 3.0, dtype=torch.float64)
    grid = reference_points(4, 8).double()
    locations = grid[None, :, None, None, None] + (offsets[:, None] / torch.tensor([8, 4]))
    weights = torch.rand(1, 32, 1, 1, 5, dtype=torch.float64)
    value = torch.randn(1, 32, 1, 3, dtype=torch.float64)
    ours = gradients(deformable_attention, value, levels, locations, weights)
    theirs = gradients(by_grid_sample, value, levels, locations, weights)
    assert float(theirs[1].abs().amin(-1).median()) > 0.01
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(ours, theirs, strict=True))


def test_values_of_another_layout_and_a_broadcast_gradient():
    value, levels, locations, weights = arguments(width=3)
    strided = value.transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
    out = deformable_attention(strided, levels, locations, weights)
    assert torch.equal(out, deformable_attention(value, levels, locations, weights))
    out.sum().backward()
    value.requires_grad_()
    by_grid_sample(value, levels, locations, weights).sum().backward()
    assert torch.allclose(strided.grad, value.grad, atol=1e-12)


def test_a_place_that_is_no_number_spoils_its_query_alone():
    value, levels, locations, weights = arguments()
    clean = deformable_attention(value, levels, locations, weights)
    locations[0, 1, 2, 0, 0, 0] = math.nan
    out = deformable_attention(value, levels, locations, weights)
    spoiled = torch.zeros(2, 5, 3, 4, dtype=torch.bool)
    spoiled[0, 1, 2] = True
    assert torch.equal(out.isnan(), spoiled.flatten(2))
    assert torch.equal(out[~out.isnan()], clean[~out.isnan()])


def test_nothing_is_kept_but_the_arguments():
    kept = []
    arguments_ = [t.requires_grad_() if isinstance(t, torch.Tensor) else t for t in arguments()]
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        deformable_attention(*arguments_)
    tensors = [arguments_[0], *arguments_[2:]]
    assert sorted(t.data_ptr() for t in kept) == sorted(t.data_ptr() for t in tensors)


def test_autocast_leaves_the_core_in_float32():
    value, levels, locations, weights = arguments(torch.float32)
    expected = deformable_attention(value, levels, locations, weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = deformable_attention(value, levels, locations, weights)
        half = deformable_attention(value.bfloat16(), levels, locations, weights)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, expected)
    assert half.dtype == torch.bfloat16
    rounded = deformable_attention(value.bfloat16().float(), levels, locations, weights)
    assert torch.equal(half, rounded.bfloat16())


def test_layer_under_autocast_stays_close():
    torch.manual_seed(0)
    layer = DeformableAttention(24, heads=6)
    torch.nn.init.normal_(layer.attention_weights.weight, std=0.2)
    levels = ((8, 12), (4, 6), (2, 3))
    query, pool = torch.randn(1, 24, 24), torch.randn(1, 126, 24)
    reference = reference_points(4, 6)
    expected = layer(query, reference, pool, levels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(query, reference, pool, levels)
        out.float().square().sum().backward()
    assert out.dtype == torch.bfloat16
    assert torch.allclose(out.float(), expected, atol=0.02 * expected.abs().max().item())
    assert all(bool(p.grad.isfinite().all()) for p in layer.parameters())


def test_reference_points_are_cell_centres():
    points = reference_points(2, 4)
    assert points.dtype == torch.float32
    rows = [[(c + 0.5) / 4, (r + 0.5) / 2] for r in range(2) for c in range(4)]
    assert torch.equal(points, torch.tensor(rows))


def test_initial_offsets_are_a_ring_and_all_points_weigh_the_same():
    torch.manual_seed(0)
    layer = DeformableAttention(768)
    ring = layer.sampling_offsets.bias.view(12, 3, 4, 2)
    steps = torch.arange(1.0, 5.0)
    assert torch.equal(ring[0, 0], torch.stack([steps, torch.zeros(4)], -1))
    assert torch.allclose(ring[1, 2], torch.stack([steps, steps * math.tan(math.pi / 6)], -1))
    assert torch.allclose(ring[3, 1], torch.stack([torch.zeros(4), steps], -1), atol=1e-6)
    assert torch.allclose(ring[:, 0, 0].abs().amax(-1), torch.ones(12))
    assert torch.equal(ring, ring[:, :1].expand_as(ring))
    for zero in ("sampling_offsets.weight", "attention_weights.weight", "attention_weights.bias"):
        assert not layer.get_parameter(zero).any()
    for linear in (layer.value_proj, layer.output_proj):
        assert not linear.bias.any()
        limit = math.sqrt(6 / (768 + 384))
        assert limit * 0.99 < float(linear.weight.abs().max()) <= limit
    weights = layer.attention_weights(torch.randn(5, 768)).view(5, 12, 12).softmax(-1)
    assert torch.equal(weights, torch.full_like(weights, 1 / 12))
    assert sum(p.numel() for p in layer.parameters()) == 221_472 + 110_736 + 295_296 + 295_680


def test_at_the_start_every_head_is_the_mean_of_its_ring():
    layer = DeformableAttention(24, heads=6, points=2)
    levels = ((4, 6), (2, 3), (1, 2))
    query, pool = torch.randn(2, 6, 24), torch.randn(2, 32, 24)
    offsets = layer.sampling_offsets.bias.detach().view(6, 3, 2, 2)
    sizes = torch.tensor([(w, h) for h, w in levels])[:, None]
    locations = reference_points(2, 3)[None, :, None, None, None] + offsets / sizes
    value = layer.value_proj(pool).unflatten(-1, (6, -1))
    read = by_grid_sample(value, levels, locations.expand(2, -1, -1, -1, -1, -1), one_sixth(2, 6))
    expected = layer.output_proj(read)
    assert torch.allclose(layer(query, reference_points(2, 3), pool, levels), expected, atol=1e-6)


def one_sixth(batch, queries):
    return torch.full((batch, queries, 6, 3, 2), 1 / 6)


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(RGBXError, match="values 12 wide, which 5 heads cannot share evenly"):
        DeformableAttention(24, heads=5)
    with pytest.raises(RGBXError, match=r"deform_ratio 0\.1 of 24 channels gives values 2 wide"):
        DeformableAttention(24, heads=6, ratio=0.1)
