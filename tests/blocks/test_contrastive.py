"""InfoNCE against hand values and slow formulas; the queue; one process gathers nothing."""

import math

import pytest
import torch
import torch.nn.functional as F

from rgbx.blocks import NegativeQueue, gather_batch, info_nce


def vectors(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def slow(anchors, candidates, temperature, skip=()):
    """The formula, one row at a time; `skip` holds pairs that are no negatives."""
    losses = []
    for i, anchor in enumerate(anchors):
        scores = [
            math.exp(float(F.cosine_similarity(anchor, candidate, dim=0)) / temperature)
            for candidate in candidates
        ]
        others = sum(s for j, s in enumerate(scores) if j != i and (i, j) not in skip)
        losses.append(-math.log(scores[i] / (scores[i] + others)))
    return sum(losses) / len(losses)


def test_two_tokens_by_hand():
    x = torch.tensor([[3.0, 0.0], [0.0, 0.1]])
    y = torch.tensor([[6.0, 8.0], [2.0, 0.0]])
    # cosines: x0 y0 = .6, x0 y1 = 1, x1 y0 = .8, x1 y1 = 0; tau = .5
    first = math.log(math.exp(1.2) + math.exp(2.0)) - 1.2
    second = math.log(math.exp(1.6) + math.exp(0.0)) - 0.0
    loss, top1 = info_nce(x, y, 0.5)
    assert float(loss) == pytest.approx((first + second) / 2, abs=1e-6)
    assert float(top1) == 0.0


def test_equal_orthogonal_rows_cost_nothing():
    x = torch.eye(8, 16)
    loss, top1 = info_nce(x, 5 * x, 0.05)
    assert float(loss) < 1e-7 and float(top1) == 1.0


@pytest.mark.parametrize("count", [16, 256])
def test_unrelated_rows_cost_the_logarithm_of_their_number(count):
    loss, top1 = info_nce(vectors(count, 8192), vectors(count, 8192, seed=1), 0.1)
    assert float(loss) == pytest.approx(math.log(count), abs=0.05)
    assert float(top1) < 0.25


def test_a_permutation_of_the_rows_costs_much():
    x = torch.eye(8, 16)
    loss, top1 = info_nce(x, x.roll(1, dims=0), 0.05)
    assert float(loss) == pytest.approx(1 / 0.05, abs=1e-3) and float(top1) == 0.0


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
def test_it_is_the_formula(temperature):
    x, y = vectors(7, 5), vectors(10, 5, seed=1)  # three further negatives
    assert float(info_nce(x, y, temperature).loss) == pytest.approx(slow(x, y, temperature))
    more = float(info_nce(x, y[:7], temperature).loss)
    assert more < float(info_nce(x, y, temperature).loss)


def test_dropped_pairs_are_no_negatives():
    x, y = vectors(5, 4), vectors(5, 4, seed=1)
    dropped = torch.zeros(5, 5, dtype=torch.bool)
    dropped[0, 1] = dropped[3, 2] = True
    expected = slow(x, y, 0.2, {(0, 1), (3, 2)})
    assert float(info_nce(x, y, 0.2, dropped).loss) == pytest.approx(expected)
    assert expected < slow(x, y, 0.2)


def test_symmetric_is_the_mean_of_both_directions():
    x, y = vectors(6, 4), vectors(6, 4, seed=1)
    both = (slow(x, y, 0.2) + slow(y, x, 0.2)) / 2
    assert float(info_nce(x, y, 0.2, symmetric=True).loss) == pytest.approx(both)
    assert abs(both - slow(x, y, 0.2)) > 1e-3


def test_leading_dimensions_are_independent():
    x, y = vectors(3, 2, 6, 4), vectors(3, 2, 6, 4, seed=1)
    loss, top1 = info_nce(x, y, 0.2)
    assert loss.shape == top1.shape == (3, 2)
    assert float(loss[2, 1]) == pytest.approx(slow(x[2, 1], y[2, 1], 0.2))


def test_autocast_does_not_reach_the_cosines():
    x, y = vectors(6, 64).float(), vectors(6, 64, seed=1).float()
    with torch.autocast("cpu", torch.bfloat16):
        loss = info_nce(x, y, 0.05).loss
        half = info_nce(x.bfloat16(), y.bfloat16(), 0.05).loss
    assert loss.dtype == half.dtype == torch.float32
    assert torch.equal(loss, info_nce(x, y, 0.05).loss)


def test_vectors_without_a_direction_are_chance_and_have_finite_gradients():
    x, y = torch.zeros(4, 3, requires_grad=True), torch.zeros(4, 3, requires_grad=True)
    loss = info_nce(x, y, 0.1).loss
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(4))
    assert torch.isfinite(x.grad).all() and torch.isfinite(y.grad).all()


def test_one_candidate_leaves_nothing_to_lose():
    x = vectors(1, 3).requires_grad_()
    loss, top1 = info_nce(x, vectors(1, 3, seed=1), 0.1)
    assert float(loss.detach()) == 0.0 and float(top1) == 1.0
    assert loss.requires_grad


def test_gathering_in_one_process_changes_nothing():
    local = vectors(2, 3, 4)
    assert gather_batch(local) is local


def test_the_queue_forgets_the_oldest():
    queue = NegativeQueue(layers=2, length=3, dim=1)
    assert queue.stored().shape == (2, 0, 1)
    values = torch.arange(1.0, 6.0).reshape(1, 5, 1) * torch.tensor([1.0, -1.0]).reshape(2, 1, 1)
    queue.push(values[:, :2])
    assert queue.stored()[0, :, 0].tolist() == [1, 2]
    before = queue.stored()
    queue.push(values[:, 2:4])
    assert queue.stored()[:, :, 0].tolist() == [[3, 4, 1], [-3, -4, -1]]
    assert before[0, :, 0].tolist() == [1, 2]  # a copy
    queue.push(values)  # more than it holds
    assert queue.stored()[0, :, 0].tolist() == [1, 2, 3]
    assert set(queue.state_dict()) == {"items", "filled"}
