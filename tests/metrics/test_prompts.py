import math
import random

import pytest
import torch

from rgbx.metrics import Evaluator, PromptScores, boundary_iou, stability

KINDS = ("box", "noisy_box", "point_1")


def image(seed: int, prompts: int = 5, size: tuple[int, int] = (40, 50)):
    """A square and predictions of it, moved about."""
    rng = random.Random(seed)
    y, x, side = rng.randrange(5, 15), rng.randrange(5, 20), rng.randrange(8, 18)
    target = torch.zeros(size, dtype=torch.bool)
    target[y : y + side, x : x + side] = True

    def moved(count: int) -> torch.Tensor:
        steps = [(rng.randint(-4, 4), rng.randint(-4, 4)) for _ in range(count)]
        return torch.stack([target.roll(step, (0, 1)) for step in steps])

    return {"box": moved(1), "noisy_box": moved(prompts), "point_1": moved(prompts)}, target


def iou(mask: torch.Tensor, target: torch.Tensor) -> float:
    return float((mask & target).sum().double() / (mask | target).sum())


def test_prompts_are_averaged_first_then_images():
    scores = PromptScores(KINDS)
    expected = {f"{kind}/{name}": [] for kind in KINDS for name in ("mIoU", "mBIoU", "mSF")}
    for seed, prompts in enumerate((2, 5, 9)):  # unequal numbers: the order matters
        pred, target = image(seed, prompts)
        scores.update(pred, target)
        for kind, masks in pred.items():
            ious = [iou(mask, target) for mask in masks]
            expected[f"{kind}/mIoU"].append(sum(ious) / len(ious))
            expected[f"{kind}/mBIoU"].append(float(boundary_iou(masks, target).mean()))
            expected[f"{kind}/mSF"].append(stability(masks))
    got = scores.compute()
    del expected["box/mSF"]  # one prompt per image
    assert got == {
        name: pytest.approx(sum(values) / 3, abs=1e-11) for name, values in expected.items()
    }
    assert list(got)[:3] == ["box/mIoU", "box/mBIoU", "noisy_box/mIoU"]
    flat = [
        iou(m, image(s, n)[1]) for s, n in enumerate((2, 5, 9)) for m in image(s, n)[0]["point_1"]
    ]
    assert abs(sum(flat) / 16 - got["point_1/mIoU"]) > 1e-3


def test_known_numbers():
    target = torch.zeros(10, 10, dtype=torch.bool)
    target[2:6, 2:6] = True
    half = target.clone()
    half[:, 4:] = False
    empty = torch.zeros_like(target)
    scores = PromptScores(("point_1",))
    scores.update({"point_1": torch.stack([target, half, empty, target])}, target)
    got = scores.compute()
    assert got["point_1/mIoU"] == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    # outlines of width 1: 12 px around 4 x 4; all 8 px of the 4 x 2 half, of which 6 are common
    assert got["point_1/mBIoU"] == pytest.approx((1 + 6 / 14 + 0 + 1) / 4)
    assert got["point_1/mSF"] == pytest.approx((1 + 0.5 + 0 + 1) / 4)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_nothing_there_and_nothing_found(value):
    empty = torch.zeros(3, 6, 6, dtype=torch.bool)
    scores = PromptScores(("noisy_box",), empty_union=value)
    scores.update({"noisy_box": empty}, empty[0])
    assert scores.compute() == {
        "noisy_box/mIoU": 0.0,
        "noisy_box/mBIoU": 0.0,
        "noisy_box/mSF": value,
    }
    assert f"{value:g} where all masks of an image are empty" in scores.protocol()["mSF"]


def test_kinds_are_counted_over_their_own_images():
    scores = PromptScores(KINDS)
    target = image(0)[1]
    scores.update({"box": target[None]}, target)
    scores.update({"noisy_box": torch.stack([target, ~target])}, target)
    scores.update({"noisy_box": target[None]}, target)  # one prompt: no stability
    got = scores.compute()
    assert got["box/mIoU"] == 1.0
    assert got["noisy_box/mIoU"] == 0.75
    assert got["noisy_box/mSF"] == 0.5
    assert math.isnan(got["point_1/mIoU"]) and math.isnan(got["point_1/mBIoU"])
    assert "point_1/mSF" not in got


def test_order_of_images_changes_no_bit():
    images = [image(seed) for seed in range(12)]
    forwards, backwards = PromptScores(KINDS), PromptScores(KINDS)
    for pred, target in images:
        forwards.update(pred, target)
    for pred, target in reversed(images):
        backwards.update(pred, target)
    assert forwards.compute() == backwards.compute()
    assert forwards.sums.dtype == torch.int64


def test_states_of_two_processes_add_up():
    whole, first, second = (PromptScores(KINDS) for _ in range(3))
    for seed in range(7):
        pred, target = image(seed)
        whole.update(pred, target)
        (first if seed % 3 else second).update(pred, target)
    first.sums += second.sums
    first.images += second.images
    assert first.compute() == whole.compute()
    assert [reduce.__name__ for reduce in whole._reductions.values()] == ["dim_zero_sum"] * 2


def test_width_of_the_boundary_is_an_argument():
    pred, target = image(3)
    thin, thick = PromptScores(("box",)), PromptScores(("box",), boundary=0.2)
    for scores in (thin, thick):
        scores.update({"box": pred["box"]}, target)
    for scores, share in ((thin, 0.02), (thick, 0.2)):
        expected = float(boundary_iou(pred["box"], target, share)[0])
        assert scores.compute()["box/mBIoU"] == pytest.approx(expected, abs=1e-11)
    assert thin.compute() != thick.compute()
    assert "0.2 of the image's diagonal" in thick.protocol()["mBIoU"]


def test_works_with_the_evaluator():
    evaluator = Evaluator(PromptScores(KINDS), ("DIS", "COIFT"))
    pred, target = image(1)
    evaluator.update("DIS", "", pred, target)
    results = evaluator.results()
    alone = PromptScores(KINDS)
    alone.update(pred, target)
    assert results["DIS"]["all"] == alone.compute()
    assert math.isnan(results["COIFT"]["all"]["noisy_box/mIoU"])


@pytest.mark.parametrize(
    ("pred", "target", "text"),
    [
        ({"scribble": (2, 6, 6)}, (6, 6), "Unknown kind of prompt 'scribble'; known are"),
        ({"box": (6, 6)}, (6, 6), r"box: masks must be \(n, h, w\) .* got \(6, 6\) and \(6, 6\)"),
        ({"box": (1, 6, 7)}, (6, 6), r"got \(1, 6, 7\) and \(6, 6\)"),
        ({"box": (0, 6, 6)}, (6, 6), "with n >= 1"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_counted(pred, target, text):
    scores = PromptScores(KINDS)
    stacks = {kind: torch.zeros(shape, dtype=torch.bool) for kind, shape in pred.items()}
    good = torch.zeros(2, *target, dtype=torch.bool)
    with pytest.raises(ValueError, match=text):
        scores.update({"noisy_box": good, **stacks}, torch.zeros(target, dtype=torch.bool))
    assert scores.images.sum() == 0


def test_logits_are_refused():
    target = torch.zeros(6, 6, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"must be bool, got torch.float32 and torch.bool; thresh"):
        PromptScores(KINDS).update({"box": torch.zeros(1, 6, 6)}, target)


@pytest.mark.parametrize(
    "arguments",
    [
        {"kinds": ()},
        {"kinds": "box"},
        {"kinds": ("box", "box")},
        {"kinds": ("box",), "boundary": 0},
        {"kinds": ("box",), "empty_union": 2},
    ],
)
def test_impossible_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match=r"at least one kind is needed|must be above 0, empty_un"):
        PromptScores(**arguments)
