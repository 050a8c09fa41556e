"""Gram matrices, weights and merged gradients are right for gradients of any size."""

import math

import pytest
import torch
from torch import nn

from rgbx.errors import RGBXError
from rgbx.optim.clip import clip_gradients
from rgbx.optim.gradients import GroupedGradients
from rgbx.optim.surgery import (
    PCGrad,
    build_weighting,
    conflict_share,
    cosine,
    gramian,
    merge,
    weigh,
)

SCALES = [10.0**e for e in (-40, -30, -23, -22, -10, -3, 0, 6, 18, 20, 30)]


def conflicting(count=3, size=50) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    gradients = torch.randn(count, size, generator=generator, dtype=torch.float64)
    for i in range(1, count):
        gradients[i] -= 1.5 * gradients[i - 1]
    return gradients


def weights(spec, gradients):
    torch.manual_seed(3)
    return build_weighting(spec)(gramian(gradients))


@pytest.mark.parametrize("scale", SCALES)
def test_products_are_those_of_float64_at_every_scale(scale):
    gradients = (conflicting() * scale).float()
    exact = gradients.double()
    found, wanted = gramian(gradients), exact @ exact.T
    norms = wanted.diagonal().sqrt()
    assert float(((found - wanted) / torch.outer(norms, norms)).abs().max()) < 1e-6
    assert conflict_share(found) == conflict_share(wanted) > 0
    assert cosine(found, 0, 1) == pytest.approx(cosine(wanted, 0, 1), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e3])
def test_narrow_types_are_widened_before_they_are_squared(dtype, scale):
    gradients = (conflicting() * scale).to(dtype)
    exact = gradients.double()
    torch.testing.assert_close(gramian(gradients), exact @ exact.T, rtol=1e-5, atol=0)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    "name",
    [
        "PCGrad",
        "Sum",
        "Mean",
        "torchjd.UPGrad",
        "torchjd.MGDA",
        "torchjd.AlignedMTL",
        "torchjd.IMTLG",
        "torchjd.DualProj",
        "torchjd.GradVac",
        "torchjd.PCGrad",
    ],
)
def test_weights_do_not_depend_on_a_common_scale(name, scale):
    spec = name
    if "." in name:
        pytest.importorskip("torchjd")
        spec = f"torchjd.aggregation.{name.removeprefix('torchjd.')}Weighting"
    gradients = (conflicting() * scale).float()
    wanted = weights(spec, gradients.double() / scale)
    torch.testing.assert_close(weights(spec, gradients), wanted, rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize("scale", [1e-22, 1e-5, 1.0, 1e20])
def test_fairgrad_solves_its_equation_at_every_scale(scale):
    pytest.importorskip("torchjd")
    spec = {"class_path": "torchjd.aggregation.FairGradWeighting", "init_args": {"alpha": 1.0}}
    gram = gramian(conflicting() * scale)
    found = build_weighting(spec)(gram)
    torch.testing.assert_close(gram @ found * found, torch.ones(3, dtype=torch.float64))


def test_gradients_of_very_different_sizes_meet():
    gradients = conflicting(4).float()
    gradients *= torch.tensor([[1.0], [1e-38], [1e30], [0.0]])
    exact = gradients.double()
    torch.manual_seed(3)
    wanted = PCGrad()(exact @ exact.T)
    found = weights("PCGrad", gradients)
    assert found.abs().max() > 1e38, "a weight that float32 does not hold"
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0)
    merged = merge(gradients, found)
    largest = float((wanted @ exact).abs().max())
    torch.testing.assert_close(
        merged.double(), wanted @ exact, rtol=1e-5, atol=1e-6 * largest, check_dtype=False
    )


def test_only_gradients_that_are_not_finite_have_products_that_are_not():
    gradients = torch.full((3, 4), 1e25)
    assert torch.isfinite(gramian(gradients)).all()
    gradients[1, 2] = math.inf
    found = torch.isfinite(gramian(gradients))
    assert found.tolist() == [[i != 1 and j != 1 for j in range(3)] for i in range(3)]


class Two(nn.Module):
    """Two losses that pull against each other, times a factor."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Parameter(torch.tensor([1.0, 2.0]))

    def losses(self, factor):
        a, b = torch.tensor([3.0, 1.0]), torch.tensor([-2.0, 1.0])
        return {"a": factor * (a @ self.shared), "b": factor * (b @ self.shared)}


@pytest.mark.parametrize("factor", [1e-30, 1e-23, 1e-22, 1.0, 1e20, 1e30])
def test_a_step_projects_what_conflicts_at_every_scale(factor):
    model = Two()
    gradients = GroupedGradients(model.named_parameters(), {"all": (".", ("a", "b"))})
    gradients.add(model.losses(factor))
    gradients.reduce()
    products = gradients.gramians()
    assert cosine(products["all"], 0, 1) == pytest.approx(-5 / 50**0.5, abs=1e-6)
    gradients.merge({name: PCGrad()(gram) for name, gram in products.items()})
    # a + b / 2 and b + a / 2, averaged: ((3, 1) + (-2, 1)) / 2 + ((-5/5) ... by hand
    a, b = torch.tensor([3.0, 1.0]), torch.tensor([-2.0, 1.0])
    wanted = ((a - (a @ b) / (b @ b) * b) + (b - (a @ b) / (a @ a) * a)) / 2
    torch.testing.assert_close(model.shared.grad / factor, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("factor", [1e-30, 1.0, 1e25])
def test_clipping_leaves_the_direction_at_every_scale(factor):
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0]) * factor
    norm = clip_gradients([parameter], 0.5)
    wanted = min(5 * factor, 0.5)
    assert float(norm) == pytest.approx(5 * factor, rel=1e-5, abs=1e-38)
    torch.testing.assert_close(parameter.grad, torch.tensor([0.6, 0.8]) * wanted, rtol=1e-4, atol=0)


def test_a_weighting_that_gives_something_else_than_weights_is_refused():
    gram = torch.eye(3, dtype=torch.float64)
    with pytest.raises(RGBXError, match="'rgb'"):
        weigh(lambda products: products, gram, "rgb")
    with pytest.raises(RGBXError, match="'rgb'"):
        weigh(lambda products: products.diagonal() * math.nan, gram, "rgb")
    with pytest.raises(RGBXError, match="'rgb'"):
        weigh(lambda products: [1.0, 1.0, 1.0], gram, "rgb")
    aggregation = pytest.importorskip("torchjd.aggregation")
    for wrong in (aggregation.KrumWeighting(1), aggregation.ConstantWeighting(torch.ones(2))):
        with pytest.raises(RGBXError, match=f"{type(wrong).__name__}.*'rgb'.* 3 losses"):
            weigh(build_weighting(wrong), gram, "rgb")
    assert weigh(lambda products: 1 / products.diagonal(), gram * 0, "rgb").tolist() == [0, 0, 0]


def test_what_reads_the_gradients_themselves_is_refused_as_an_object_too():
    aggregation = pytest.importorskip("torchjd.aggregation")
    for wrong in (aggregation.UPGrad(), aggregation.Mean(), aggregation.ExcessMTLWeighting()):
        with pytest.raises(RGBXError, match=type(wrong).__name__):
            build_weighting(wrong)
    inner = aggregation.CRMOGMWeighting(aggregation.ExcessMTLWeighting())
    with pytest.raises(RGBXError, match="Gram matrix"):
        build_weighting(inner)
