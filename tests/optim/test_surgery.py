"""Surgery from Gram matrices equals surgery on the gradient vectors themselves."""

import math

import pytest
import torch

from rgbx.errors import RGBXError
from rgbx.optim.surgery import (
    Mean,
    PCGrad,
    Sum,
    build_weighting,
    conflict_share,
    cosine,
    gramian,
    merge,
    pcgrad_weights,
)


def pcgrad_on_vectors(gradients: torch.Tensor, orders: torch.Tensor) -> torch.Tensor:
    """SAMSOD's Eq. 14 to 16 word by word, on vectors."""
    total = torch.zeros_like(gradients[0])
    for i, order in enumerate(orders):
        current = gradients[i].clone()
        for j in order:
            if j == i:
                continue
            similarity = (current @ gradients[j]) / (current.norm() * gradients[j].norm())
            if similarity < 0:
                current -= (current @ gradients[j]) / gradients[j].norm() ** 2 * gradients[j]
        total += current
    return total / len(gradients)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
@pytest.mark.parametrize("seed", range(6))
def test_pcgrad_equals_projection_of_the_vectors(count, seed):
    generator = torch.Generator().manual_seed(seed)
    gradients = torch.randn(count, 7, generator=generator, dtype=torch.float64)
    gradients[1] -= 1.5 * gradients[0]  # conflicts for sure
    orders = torch.stack([torch.randperm(count, generator=generator) for _ in range(count)])
    merged = merge(gradients, pcgrad_weights(gramian(gradients), orders))
    assert conflict_share(gramian(gradients)) > 0
    torch.testing.assert_close(merged, pcgrad_on_vectors(gradients, orders), rtol=0, atol=1e-6)


def test_the_order_matters_and_comes_from_the_global_generator():
    gradients = torch.tensor([[1.0, 0.0], [-1.0, 0.4], [-0.6, -1.0]], dtype=torch.float64)
    products, results = gramian(gradients), set()
    for seed in range(20):
        torch.manual_seed(seed)
        first = PCGrad()(products)
        torch.manual_seed(seed)
        assert torch.equal(first, PCGrad()(products))
        results.add(tuple(first.tolist()))
    assert len(results) > 1


def test_without_conflict_pcgrad_is_the_mean():
    gradients = torch.rand(4, 9, dtype=torch.float64)
    assert torch.allclose(PCGrad()(gramian(gradients)), torch.full((4,), 0.25).double())


def test_two_opposite_gradients_cancel():
    gradients = torch.tensor([[1.0, 2.0], [-2.0, -4.0]], dtype=torch.float64)
    assert merge(gradients, PCGrad()(gramian(gradients))).abs().max() < 1e-15


def test_a_zero_gradient_changes_nothing_but_the_divisor():
    gradients = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    assert PCGrad()(gramian(gradients)).tolist() == [0.5, 0.5]


def test_sum_and_mean():
    gradients = torch.randn(3, 5, dtype=torch.float64)
    products = gramian(gradients)
    torch.testing.assert_close(merge(gradients, Sum()(products)), gradients.sum(0))
    torch.testing.assert_close(merge(gradients, Mean()(products)), gradients.mean(0))
    torch.testing.assert_close(products, gradients @ gradients.T)


def test_cosine_and_conflict_share():
    gradients = torch.tensor([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.5], [0.0, 0.0]])
    products = gramian(gradients)
    assert cosine(products, 0, 1) == pytest.approx(math.sqrt(0.5), abs=1e-7)
    assert cosine(products, 0, 2) == pytest.approx(-2 / math.sqrt(5), abs=1e-7)
    assert math.isnan(cosine(products, 0, 3))
    # against each other: 0 with 2, 1 with 2; of six pairs
    assert conflict_share(products) == pytest.approx(2 / 6)
    assert conflict_share(products[:1, :1]) == 0


@pytest.mark.parametrize("name", ["PCGrad", "UPGrad", "MGDA", "AlignedMTL", "IMTLG", "DualProj"])
def test_torchjd_weightings_fit_as_they_are(name):
    aggregation = pytest.importorskip("torchjd.aggregation")
    weighting = build_weighting(f"torchjd.aggregation.{name}Weighting")
    gradients = torch.randn(3, 20, dtype=torch.float64)
    gradients[1] -= gradients[0]
    torch.manual_seed(3)
    ours = merge(gradients, weighting(gramian(gradients)))
    torch.manual_seed(3)
    theirs = getattr(aggregation, name)()(gradients)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_weightings_are_built_from_plain_values():
    assert isinstance(build_weighting("PCGrad"), PCGrad)
    assert isinstance(build_weighting("rgbx.optim.Mean"), Mean)
    own = lambda products: products.diagonal()  # noqa: E731
    assert build_weighting(own) is own
    pytest.importorskip("torchjd")
    spec = {
        "class_path": "torchjd.aggregation.ConstantWeighting",
        "init_args": {"weights": torch.tensor([0.2, 0.8])},
    }
    assert build_weighting(spec)(torch.eye(2)).tolist() == pytest.approx([0.2, 0.8])


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("PCgrad", "There is no surgery 'PCgrad'; known are PCGrad, Sum, Mean, or a class path"),
        ("rgbx.optim.surgery.Max", "rgbx.optim.surgery has no Max"),
        ("no_such_package.Thing", "cannot be imported"),
        ({"init_args": {}}, "give a name such as PCGrad, or class_path and init_args"),
        ({"class_path": "PCGrad", "init_args": {"k": 1}}, "cannot be built with {'k': 1}"),
        ("rgbx.errors.RGBXError", "its instances cannot be called"),
        (5, "surgery is 5"),
        ({"class_path": "PCGrad", "init_args": [1]}, "init_args of surgery PCGrad is .1."),
    ],
)
def test_a_wrong_surgery_is_refused_in_one_sentence(spec, text):
    with pytest.raises(RGBXError, match=text.replace("{", r"\{").replace("}", r"\}")):
        build_weighting(spec)


def test_weightings_that_need_the_gradients_are_refused():
    pytest.importorskip("torchjd")
    with pytest.raises(RGBXError, match="needs the gradients themselves"):
        build_weighting("torchjd.aggregation.SDMGradWeighting")
