"""Learning rates by the names of parameters."""

import pytest
import torch
from torch import nn

from rgbx.errors import RGBXError
from rgbx.optim import ByName


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Linear(2, 2)
        self.blocks = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
        self.head = nn.Linear(2, 2)


def named(module=None):
    return [(f"net.{n}", p) for n, p in (module or Toy()).named_parameters()]


def sgd(groups):
    return torch.optim.AdamW(groups, lr=0.1, weight_decay=0.5)


def test_layers_get_powers_of_the_decay():
    parameters = named()
    optimizer = ByName(sgd, layer_decay=0.5)(parameters)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: rates[id(p)] for name, p in parameters}
    assert len(rates) == len(parameters) == 10
    for i, factor in enumerate((0.125, 0.25, 0.5)):
        assert found[f"net.blocks.{i}.weight"] == pytest.approx(0.1 * factor)
    assert found["net.patch.bias"] == found["net.head.weight"] == pytest.approx(0.1)


def test_the_number_of_blocks_can_be_given():
    scales = ByName(sgd, layer_decay=0.7, num_blocks=12).scales(["a.blocks.11.x", "a.blocks.0.x"])
    assert scales["a.blocks.11.x"] == pytest.approx(0.7)
    assert scales["a.blocks.0.x"] == pytest.approx(0.7**12)


def test_factors_and_weight_decay_by_name():
    parameters = named()
    make = ByName(sgd, factors={"head": 10.0, "weight$": 2.0}, no_weight_decay="bias")
    optimizer = make(parameters)
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    of = {name: groups[id(p)] for name, p in parameters}
    assert of["net.head.weight"]["lr"] == pytest.approx(1.0)  # the first pattern decides
    assert of["net.patch.weight"]["lr"] == pytest.approx(0.2)
    assert of["net.head.bias"]["weight_decay"] == 0 and of["net.head.weight"]["weight_decay"] == 0.5


def test_one_step_moves_by_its_own_rate():
    module = Toy()
    optimizer = ByName(lambda p: torch.optim.SGD(p, lr=1.0), layer_decay=0.5)(named(module))
    before = [layer.weight.detach().clone() for layer in module.blocks]
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    pairs = zip(before, module.blocks, strict=True)
    moved = [float((old - layer.weight).mean()) for old, layer in pairs]
    assert moved == pytest.approx([0.125, 0.25, 0.5])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layer_decay": 0}, "layer_decay is 0"),
        ({"layer_decay": 0.5, "blocks": "blocks"}, "one group"),
        ({"factors": {"x": -1}}, "'x'"),
        ({"blocks": "("}, "no pattern"),
    ],
)
def test_options_that_cannot_work(options, said):
    with pytest.raises(RGBXError, match=said):
        ByName(sgd, **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"factors": {"neck": 2.0}}, "factors of 'neck'"),
        ({"layer_decay": 0.5, "blocks": r"layer\.(\d+)"}, "optimizer.blocks"),
        ({"no_weight_decay": "gamma"}, "no_weight_decay"),
    ],
)
def test_patterns_that_fit_nothing(options, said):
    with pytest.raises(RGBXError, match=said):
        ByName(sgd, **options)(named())
