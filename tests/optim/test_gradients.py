"""The buffer of per-loss gradients: sums, groups, cuts, refusals."""

import pytest
import torch
from torch import nn

from rgbx.errors import RGBXError
from rgbx.optim.gradients import Cut, GroupedGradients
from rgbx.optim.surgery import Sum

GROUPS = {
    "one": ("one", ("a", "both")),
    "two": ("two", ("b", "both")),
    "head": ("head", ("a", "b", "both")),
}


class TwoStreams(nn.Module):
    """Two private stems into one shared head, as SAMSOD; `leak` lets a stem see the other's."""

    def __init__(self, leak: float = 0.0) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(5, 4), nn.Linear(5, 4)
        self.head = nn.Linear(4, 3)
        self.leak = leak

    def streams(self, x):
        first = self.one(x).tanh()
        second = self.two(x)
        return first, (second + self.leak * first if self.leak else second).tanh()

    def losses(self, first, second):
        parts = {"a": first, "b": second, "both": first + second}
        return {
            k: (self.head(v).sin() ** 2).mean() * (i + 1) for i, (k, v) in enumerate(parts.items())
        }


def setup(leak=0.0):
    torch.manual_seed(0)
    model = TwoStreams(leak).double()
    return model, torch.randn(6, 5, dtype=torch.float64)


def by_hand(model, x, group, loss):
    """The gradient of one loss on one group, by an ordinary backward pass."""
    params = [p for n, p in model.named_parameters() if n.startswith(group)]
    found = torch.autograd.grad(model.losses(*model.streams(x))[loss], params, allow_unused=True)
    return torch.cat([g.flatten() for g in found])


def rows(gradients):
    return {
        (group.name, loss): row.clone()
        for group in gradients.groups
        for loss, row in zip(group.losses, group.rows(gradients.flat), strict=True)
    }


def cut_losses(model, x):
    tensors = list(model.streams(x))
    leaves = [t.detach().requires_grad_() for t in tensors]
    return model.losses(*leaves), Cut(tensors, leaves)


@pytest.mark.parametrize("leak", [0.0, 0.7])
@pytest.mark.parametrize("with_cut", [False, True])
def test_every_row_is_that_loss_gradient(leak, with_cut):
    model, x = setup(leak)
    gradients = GroupedGradients(model.named_parameters(), GROUPS)
    for _ in range(2):  # the second time, with the plan of the first
        if with_cut:
            losses, cut = cut_losses(model, x)
            gradients.add(losses, cut=cut)
        else:
            losses = model.losses(*model.streams(x))
            gradients.add(losses)
        assert losses == {}, "every graph is let go once it has been walked through"
        gradients.reduce()
        for (group, loss), row in rows(gradients).items():
            torch.testing.assert_close(row, by_hand(model, x, group, loss), rtol=0, atol=1e-15)


def test_losses_share_a_walk_only_if_no_group_mixes_them():
    for leak, walks in ((0.0, [("a", "b"), ("both",)]), (0.7, [("a",), ("b",), ("both",)])):
        model, x = setup(leak)
        gradients = GroupedGradients(model.named_parameters(), GROUPS)
        losses, cut = cut_losses(model, x)
        gradients.add(losses, cut=cut)
        assert gradients._walks == walks


def test_a_group_may_lie_on_both_sides_of_a_cut():
    model, x = setup()
    groups = {"all": (".", ("a", "b", "both"))}
    gradients = GroupedGradients(model.named_parameters(), groups)
    losses, cut = cut_losses(model, x)
    gradients.add(losses, cut=cut)
    merged = gradients.groups[0].rows(gradients.flat).sum(0)
    total = sum(model.losses(*model.streams(x)).values())
    wanted = torch.autograd.grad(total, list(model.parameters()))
    torch.testing.assert_close(merged, torch.cat([g.flatten() for g in wanted]))


def test_a_window_is_divided_by_its_true_length():
    model, x = setup()
    gradients = GroupedGradients(model.named_parameters(), GROUPS)
    for part in x.split(2):
        gradients.add(model.losses(*model.streams(part)))
    assert gradients.count == 3
    gradients.reduce()
    # means over equal parts average to the mean over the whole
    for (group, loss), row in rows(gradients).items():
        torch.testing.assert_close(row, by_hand(model, x, group, loss), rtol=0, atol=1e-12)
    gradients.add(model.losses(*model.streams(x)))
    assert gradients.count == 1, "a new window starts from zero"
    gradients.reduce()
    torch.testing.assert_close(
        rows(gradients)["one", "a"], by_hand(model, x, "one", "a"), rtol=0, atol=1e-12
    )


def test_merge_fills_grad_as_one_summed_backward_would():
    model, x = setup()
    groups = {name: (pattern, ("a", "b", "both")) for name, (pattern, _) in GROUPS.items()}
    groups["one"] = ("one", ("a", "both"))  # b does not reach it
    groups["two"] = ("two", ("b", "both"))
    gradients = GroupedGradients(model.named_parameters(), groups)
    gradients.add(model.losses(*model.streams(x)))
    gradients.reduce()
    products = gradients.gramians()
    assert {k: tuple(v.shape) for k, v in products.items()} == {
        "one": (2, 2),
        "two": (2, 2),
        "head": (3, 3),
    }
    torch.testing.assert_close(
        products["head"][0, 2],
        by_hand(model, x, "head", "a") @ by_hand(model, x, "head", "both"),
    )
    gradients.merge({name: Sum()(gram) for name, gram in products.items()})
    wanted = torch.autograd.grad(
        sum(model.losses(*model.streams(x)).values()), list(model.parameters())
    )
    for parameter, gradient in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-12)


def test_half_precision_parameters_are_summed_in_float32():
    model = TwoStreams().bfloat16()
    gradients = GroupedGradients(model.named_parameters(), GROUPS)
    gradients.add(model.losses(*model.streams(torch.randn(6, 5).bfloat16())))
    assert gradients.flat.dtype == torch.float32
    gradients.reduce()
    gradients.merge({k: Sum()(v) for k, v in gradients.gramians().items()})
    assert {p.grad.dtype for p in model.parameters()} == {torch.bfloat16}


def test_groups_that_do_not_fit_are_refused():
    model, _ = setup()
    parameters = list(model.named_parameters())
    with pytest.raises(RGBXError, match="group 'three' is empty: its pattern 'three' matches no"):
        GroupedGradients(parameters, GROUPS | {"three": ("three", ("a",))})
    with pytest.raises(
        RGBXError, match=r"in no surgery group, for example head\.weight, head\.bias"
    ):
        GroupedGradients(parameters, {k: GROUPS[k] for k in ("one", "two")})
    with pytest.raises(RGBXError, match="'one' names no loss"):
        GroupedGradients(parameters, GROUPS | {"one": ("one", ())})


def test_a_loss_without_gradient_in_its_own_group_is_refused():
    model, x = setup()
    gradients = GroupedGradients(model.named_parameters(), GROUPS | {"one": ("one", ("a", "b"))})
    with pytest.raises(RGBXError, match="loss 'b' has no gradient in the parameter group 'one'"):
        gradients.add(model.losses(*model.streams(x)))


def test_a_parameter_without_any_gradient_is_refused():
    model, x = setup()
    model.head.extra = nn.Parameter(torch.zeros(2).double())
    gradients = GroupedGradients(model.named_parameters(), GROUPS)
    with pytest.raises(RGBXError, match=r"parameters of the group 'head' get no.*extra"):
        gradients.add(model.losses(*model.streams(x)))


def test_frozen_parameters_are_passed_over():
    model, x = setup()
    model.head.bias.requires_grad_(False)
    gradients = GroupedGradients(model.named_parameters(), GROUPS)
    gradients.add(model.losses(*model.streams(x)))
    gradients.reduce()
    gradients.merge({k: Sum()(v) for k, v in gradients.gramians().items()})
    assert model.head.bias.grad is None and model.head.weight.grad is not None


def test_a_buffer_refuses_other_losses_and_parameters_than_its_own():
    model, x = setup()
    gradients = GroupedGradients(model.named_parameters(), GROUPS)
    losses = model.losses(*model.streams(x))
    with pytest.raises(RGBXError, match=r"a, both, b.*a, both, extra"):
        gradients.add({"a": losses["a"], "both": losses["both"], "extra": losses["b"]})
    gradients.add(model.losses(*model.streams(x)))
    model.one.bias.requires_grad_(False)
    with pytest.raises(RGBXError, match="frozen"):
        gradients.add(model.losses(*model.streams(x)))
