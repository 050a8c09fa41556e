import itertools
import math

import pytest
import torch

from rgbx.errors import RGBXError
from rgbx.optim import Constant, Cosine, Poly, Schedule, Step

ALL = [
    Constant(),
    Constant(warmup_epochs=2),
    Poly(),
    Poly(power=2.5, warmup_epochs=0),
    Poly(warmup_epochs=0.3),
    Poly(warmup_epochs=0.5, final=0.01),
    Cosine(),
    Cosine(warmup_epochs=0, final=0.1),
]


def _factors(schedule: Schedule, total: int, per_epoch: int) -> list[float]:
    return [schedule.factor(step, total, per_epoch) for step in range(total + 3)]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Constant(), [1, 1, 1, 1, 1, 1, 1, 1, 1]),
        (Constant(warmup_epochs=1), [1 / 4, 2 / 4, 3 / 4, 1, 1, 1, 1, 1, 1]),
        (Poly(power=1, warmup_epochs=0), [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0, 0, 0]),
        (Poly(power=2, warmup_epochs=1), [0.25, 0.5, 0.75, 1, 4 / 9, 1 / 9, 0, 0, 0]),
        (
            Poly(),
            [0.25, 0.5, 0.75, 1, 0.69425316, 0.37204106, 0, 0, 0],  # (2/3)**0.9, (1/3)**0.9
        ),
        (
            Poly(power=2, warmup_epochs=1, final=0.1),
            [0.25, 0.5, 0.75, 1, 0.1 + 0.9 * 4 / 9, 0.1 + 0.9 / 9, 0.1, 0.1, 0.1],
        ),
        (Cosine(warmup_epochs=1), [0.25, 0.5, 0.75, 1, 0.75, 0.25, 0, 0, 0]),
        (Cosine(warmup_epochs=1, final=0.2), [0.25, 0.5, 0.75, 1, 0.8, 0.4, 0.2, 0.2, 0.2]),
    ],
)
def test_golden_values_of_six_steps_in_two_epochs(schedule, expected):
    assert _factors(schedule, total=6, per_epoch=3) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("schedule", ALL)
@pytest.mark.parametrize(("total", "per_epoch"), [(1, 1), (2, 5), (40, 10), (1000, 37)])
def test_never_zero_at_the_start_never_negative_never_above_one(schedule, total, per_epoch):
    factors = _factors(schedule, total, per_epoch)
    assert factors[0] > 0
    assert all(0 <= factor <= 1 for factor in factors)
    assert factors[total] == factors[total + 1] == factors[total + 2] == schedule.curve(1.0)


@pytest.mark.parametrize("schedule", [Poly(), Cosine()])
def test_rises_in_even_steps_then_falls(schedule):
    factors = _factors(schedule, total=60, per_epoch=20)
    steps = [b - a for a, b in itertools.pairwise(factors)]
    assert steps[:20] == pytest.approx([1 / 21] * 20)
    assert factors[20] == 1.0
    assert all(step < 0 for step in steps[20:60])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Step(), [1] * 9),
        (Step((1,)), [1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]),
        (Step((1, 5 / 3), gamma=0.5), [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25]),
        (Step((1,), warmup_epochs=2 / 3), [1 / 3, 2 / 3, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]),
    ],
)
def test_steps_fall_at_epochs_that_have_passed(schedule, expected):
    assert _factors(schedule, total=6, per_epoch=3) == pytest.approx(expected, abs=1e-12)


def test_the_paper_trains_ten_epochs_of_twelve_at_the_full_rate():
    factors = _factors(Step((10,), gamma=0.1), total=12 * 1385, per_epoch=1385)
    assert factors[: 10 * 1385] == [1.0] * 13850
    assert factors[10 * 1385 :] == pytest.approx([0.1] * (2 * 1385 + 3))


def test_poly_with_a_floor_is_the_rate_of_unirgb_ir():
    schedule = Poly(power=0.9, warmup_epochs=0, final=0.01)
    for step in (0, 1, 20_000, 79_999, 80_000):
        wanted = (0.01 - 1e-4) * (1 - step / 80_000) ** 0.9 + 1e-4
        assert 0.01 * schedule.factor(step, 80_000, 196) == pytest.approx(wanted, rel=1e-12)


def test_a_run_shorter_than_its_warm_up_still_ends_at_the_end_value():
    assert _factors(Poly(warmup_epochs=10), total=3, per_epoch=1) == pytest.approx(
        [1 / 11, 2 / 11, 3 / 11, 0, 0, 0]
    )


def test_drives_an_optimiser():
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = Cosine(warmup_epochs=1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: schedule.factor(s, 4, 2))
    rates = []
    for _ in range(5):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    assert rates == pytest.approx([0.5 / 3, 1 / 3, 0.5, 0.25, 0.0])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Constant(warmup_epochs=-1), "warmup_epochs is -1"),
        (lambda: Poly(warmup_epochs=math.inf), "warmup_epochs is inf"),
        (lambda: Poly(power=0), "power is 0"),
        (lambda: Poly(power=math.nan), "power is nan"),
        (lambda: Poly(final=-0.1), "final is -0.1: the Poly schedule ends at a factor between"),
        (lambda: Cosine(final=1.5), "final is 1.5"),
        (lambda: Step(milestones=(3, 2)), r"milestones is \[3, 2\]"),
        (lambda: Step(milestones=(0,)), r"milestones is \[0\]"),
        (lambda: Step(gamma=0), "gamma is 0"),
        (lambda: Step(gamma=1.5), "gamma is 1.5"),
    ],
)
def test_impossible_settings_are_named(build, message):
    with pytest.raises(RGBXError, match=message):
        build()


def test_chosen_by_class_path():
    jsonargparse = pytest.importorskip("jsonargparse")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--schedule", type=Schedule)
    config = parser.parse_object(
        {"schedule": {"class_path": "rgbx.optim.Poly", "init_args": {"power": 1}}}
    )
    schedule = parser.instantiate_classes(config).schedule
    assert (type(schedule), schedule.power, schedule.warmup_epochs) == (Poly, 1.0, 1.0)
