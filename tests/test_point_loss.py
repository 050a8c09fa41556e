"""The point loss: which points, what is computed on them, and the dense form (check 9)."""

import math

import pytest
import torch

from rgbx.losses.points import POINTS, dense_losses, point_losses, sample_at, uncertain_points


def blob(batch: int = 2, side: int = 64) -> torch.Tensor:
    """Logits that are 0 on a circle, and far from 0 elsewhere."""
    line = torch.linspace(-1, 1, side)
    radius = (line[:, None] ** 2 + line[None] ** 2).sqrt()
    return (20 * (0.6 - radius)).expand(batch, 1, side, side).contiguous()


def test_the_paper_takes_112_times_112_points_three_quarters_of_them_uncertain():
    logits = blob(3)
    torch.manual_seed(0)
    places = uncertain_points(logits)
    assert POINTS == 112 * 112 == 12544 and places.shape == (3, 12544, 2)
    assert places.min() >= 0 and places.max() <= 1
    kept = 9408
    torch.manual_seed(0)
    candidates = torch.rand(3, 3 * 12544, 2)
    unsure = sample_at(logits, candidates).abs()
    limit = unsure.sort(dim=1).values[:, kept - 1 : kept]
    size = sample_at(logits, places).abs()
    assert (size[:, :kept] <= limit).all()
    # the rest is drawn evenly: as many of them below the limit as of the candidates
    share = (size[:, kept:] <= limit).float().mean(1)
    torch.testing.assert_close(share, torch.full((3,), 0.25), rtol=0, atol=0.03)
    torch.testing.assert_close(
        places[:, kept:].mean((0, 1)), torch.full((2,), 0.5), atol=0.02, rtol=0
    )


def test_options_of_the_choice():
    logits = blob(1)
    assert uncertain_points(logits, 100, oversample=1.0, uncertain=1.0).shape == (1, 100, 2)
    torch.manual_seed(1)
    free = uncertain_points(logits, 5000, uncertain=0.0)
    assert float(sample_at(logits, free).abs().mean()) > 4
    torch.manual_seed(1)
    bound = uncertain_points(logits, 5000, uncertain=1.0)
    assert float(sample_at(logits, bound).abs().mean()) < 3


def test_values_at_points_by_hand():
    maps = torch.tensor([[[[0.0, 1.0], [10.0, 11.0]]]])
    places = torch.tensor(
        [[[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.5, 0.5], [0, 0], [1, 0.5]]]
    )
    wanted = torch.tensor([[0.0, 1.0, 10.0, 5.5, 0.0, 6.0]])
    torch.testing.assert_close(sample_at(maps, places), wanted)


def test_both_terms_are_those_of_the_chosen_points():
    torch.manual_seed(2)
    logits, target = torch.randn(2, 1, 16, 16).double(), torch.rand(2, 1, 64, 48).double()
    torch.manual_seed(3)
    bce, dice = point_losses(logits, target, 50)
    torch.manual_seed(3)
    places = uncertain_points(logits, 50)
    wanted_bce, wanted_dice = [], []
    for z, y in zip(sample_at(logits, places), sample_at(target, places), strict=True):
        p = [1 / (1 + math.exp(-v)) for v in z.tolist()]
        pairs = list(zip(p, y.tolist(), strict=True))
        wanted_bce.append(-sum(t * math.log(a) + (1 - t) * math.log(1 - a) for a, t in pairs) / 50)
        overlap = sum(a * t for a, t in pairs)
        wanted_dice.append(1 - (2 * overlap + 1) / (sum(p) + float(y.sum()) + 1))
    assert bce.item() == pytest.approx(sum(wanted_bce) / 2, abs=1e-12)
    assert dice.item() == pytest.approx(sum(wanted_dice) / 2, abs=1e-12)


@pytest.mark.parametrize("value", [-3.0, 0.0, 0.7])
def test_on_a_constant_map_points_give_the_dense_loss_in_expectation(value):
    target = (torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(4)) < 0.3).float()
    logits = torch.full((1, 1, 16, 16), value)
    torch.manual_seed(5)
    draws = torch.tensor([point_losses(logits, target) for _ in range(60)])
    dense = torch.stack(dense_losses(logits, target))
    torch.testing.assert_close(draws.mean(0), dense, rtol=0, atol=6e-3)
    assert draws[:, 0].std() > 1e-5 or value == 0.0


def test_where_target_and_logits_are_constant_both_forms_are_equal():
    logits, target = torch.full((2, 1, 8, 8), 0.4), torch.ones(2, 1, 32, 32)
    for points, dense in zip(
        point_losses(logits, target), dense_losses(logits, target), strict=True
    ):
        torch.testing.assert_close(points, dense, rtol=0, atol=1e-3)


def test_gradients_reach_the_logits_alone_and_pass_through_no_choice():
    logits = blob(1).double().requires_grad_()
    target = torch.rand(1, 1, 32, 32).double().requires_grad_()
    assert not uncertain_points(logits, 20).requires_grad
    torch.manual_seed(6)
    bce, dice = point_losses(logits, target.detach(), 40)
    (found,) = torch.autograd.grad(bce + dice, logits)
    torch.manual_seed(6)
    places = uncertain_points(logits.detach(), 40)  # fixed: the gradient of a fixed sum
    z, y = sample_at(logits, places), sample_at(target.detach(), places)
    by_hand = torch.nn.functional.binary_cross_entropy_with_logits(z, y)
    p = z.sigmoid()
    by_hand = by_hand + 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
    (wanted,) = torch.autograd.grad(by_hand, logits)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert int((found != 0).sum()) < 160  # at most four pixels per point


def test_dense_losses_by_hand():
    logits, target = torch.randn(2, 1, 4, 6).double(), torch.rand(2, 1, 8, 12).double()
    large = torch.nn.functional.interpolate(logits, (8, 12), mode="bilinear", align_corners=False)
    p, y = large.sigmoid().flatten(1), target.flatten(1)
    bce, dice = dense_losses(logits, target)
    wanted = -(y * p.log() + (1 - y) * (1 - p).log()).mean(1).mean()
    torch.testing.assert_close(bce, wanted)
    ratio = (2 * (p * y).sum(1) + 1) / (p.sum(1) + y.sum(1) + 1)
    torch.testing.assert_close(dice, (1 - ratio).mean())


@pytest.mark.parametrize("loss", [point_losses, dense_losses])
def test_losses_are_means_over_masks_in_float32_at_least(loss):
    torch.manual_seed(7)
    logits, target = torch.randn(4, 1, 16, 16), torch.rand(4, 1, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        bce, dice = loss(logits.bfloat16(), target)
    assert bce.dtype == dice.dtype == torch.float32
    for truth in (torch.zeros_like(target), torch.ones_like(target)):
        right, wrong = loss(truth * 60 - 30, truth), loss(30 - truth * 60, truth)
        assert all(float(term) < 1e-6 for term in right) and float(wrong[0]) > 29
    if loss is dense_losses:
        halves = [torch.stack(loss(logits[i : i + 2], target[i : i + 2])) for i in (0, 2)]
        torch.testing.assert_close(sum(halves) / 2, torch.stack(loss(logits, target)))


def test_the_same_generator_state_chooses_the_same_points():
    logits, target = torch.randn(2, 1, 16, 16), torch.rand(2, 1, 32, 32)
    values = []
    for seed in (8, 8, 9):
        torch.manual_seed(seed)
        values.append(torch.stack(point_losses(logits, target, 200)))
    assert torch.equal(values[0], values[1]) and not torch.equal(values[0], values[2])
