"""Schedules over runs whose epochs change their number of steps."""

import pytest

from rgbx.data.resume import Position
from rgbx.optim import Constant, Cosine, Poly, Step
from rgbx.optim.pace import Pace


@pytest.mark.parametrize("schedule", [Poly(), Cosine(final=0.1), Step((2,)), Constant(0.5)])
@pytest.mark.parametrize(("epochs", "steps", "total"), [(5, -1, 50), (-1, 37, 37), (5, 37, 37)])
def test_a_run_without_a_change_has_the_rates_of_its_steps(schedule, epochs, steps, total):
    pace = Pace(10, epochs, steps)
    found = [pace.factor(schedule, step) for step in range(60)]
    assert found == [schedule.factor(step, total, 10) for step in range(60)]


def resumed(before: Pace, step: int, per_epoch: int, epoch: int, left: int) -> Pace:
    after = Pace(per_epoch, before.epochs, before.max_steps)
    after.resume(before.state(), step, Position(epoch, 0, 0), left)
    return after


def test_one_gpu_becomes_two_at_epoch_60_of_100():
    """784 images in batches of 8: the case that jumped from .442 to 0."""
    schedule = Poly(power=0.9, warmup_epochs=1)
    one = Pace(98, 100, -1)
    two = resumed(one, 60 * 98, 49, epoch=60, left=49)
    before = one.factor(schedule, 60 * 98)
    assert before == pytest.approx(0.442, abs=5e-4)
    assert two.factor(schedule, 60 * 98) == pytest.approx(before, abs=1e-3)
    for epoch in (70, 99):
        wanted = one.factor(schedule, 98 * epoch)
        found = two.factor(schedule, 60 * 98 + 49 * (epoch - 60))
        assert found == pytest.approx(wanted, abs=1e-3)
    assert two.factor(schedule, 60 * 98 + 49 * 40) == 0.0
    one_again = resumed(two, 60 * 98 + 49 * 10, 98, epoch=70, left=98)
    step = 60 * 98 + 49 * 10
    assert one_again.factor(schedule, step) == one.factor(schedule, 70 * 98)
    assert one_again.factor(schedule, step + 98) == one.factor(schedule, 71 * 98)


def test_milestones_and_warm_up_fall_on_epochs_after_a_change():
    schedule = Step((2, 4), gamma=0.1, warmup_epochs=1)
    after = resumed(Pace(10, 6, -1), 5, 4, epoch=0, left=2)  # in the middle of the first epoch
    found = [after.factor(schedule, 5 + k) for k in range(20)]
    assert found[:2] == pytest.approx([3 / 5, 4 / 5])  # of a warm-up of four steps
    assert found[2:6] == [1.0] * 4
    assert found[6:14] == pytest.approx([0.1] * 8)
    assert found[14:] == pytest.approx([0.01] * 6)


def test_a_run_of_max_steps_goes_by_their_share_and_its_milestones_by_epochs():
    before = Pace(100, -1, 1000)
    after = resumed(before, 500, 50, epoch=5, left=50)
    schedule = Poly(power=1, warmup_epochs=1)
    assert after.factor(schedule, 500) == before.factor(schedule, 500)
    assert after.factor(schedule, 1000) == 0.0
    found = [after.factor(schedule, step) for step in range(500, 1001)]
    assert sorted(found, reverse=True) == found
    milestone = Step((7,))
    assert after.factor(milestone, 599) == 1.0  # fifty steps are an epoch now
    assert after.factor(milestone, 600) == pytest.approx(0.1)


def test_without_a_known_place_the_share_of_an_epoch_is_carried_over():
    after = Pace(50, 10, -1)
    after.resume({"steps_per_epoch": 100, "ahead": 0}, 250, None, 0)
    assert after.ahead + 250 == 125
