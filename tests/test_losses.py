import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rgbx.losses import (
    balanced_bce,
    binary_cross_entropy,
    cross_entropy,
    dice,
    iou,
    partial_cross_entropy,
    ssim,
    structure,
    weighted_cross_entropy,
)
from rgbx.losses.segmentation import _gaussian

IGNORE = 255


def _batch(batch: int, classes: int, size: int, seed: int, ignored: float = 0.2):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, classes, size, size + 1, generator=generator)
    target = torch.randint(0, classes, (batch, size, size + 1), generator=generator)
    target[torch.rand(target.shape, generator=generator) < ignored] = IGNORE
    return logits.double(), target


def _slow_cross_entropy(logits: Tensor, target: Tensor) -> float:
    images = []
    for image_logits, image_target in zip(logits, target, strict=True):
        terms = []
        for row in range(image_target.shape[0]):
            for column in range(image_target.shape[1]):
                true = int(image_target[row, column])
                if true != IGNORE:
                    scores = [math.exp(v) for v in image_logits[:, row, column].tolist()]
                    terms.append(-math.log(scores[true] / sum(scores)))
        images.append(sum(terms) / len(terms) if terms else 0.0)
    return sum(images) / len(images)


def _slow_dice(logits: Tensor, target: Tensor, smooth: float, classes: str) -> float:
    images = []
    for image_logits, image_target in zip(logits, target, strict=True):
        pixels = [
            (image_logits[:, r, c].softmax(0).tolist(), int(image_target[r, c]))
            for r in range(image_target.shape[0])
            for c in range(image_target.shape[1])
            if int(image_target[r, c]) != IGNORE
        ]
        terms = []
        for k in range(image_logits.shape[0]):
            inside = [p[k] for p, true in pixels if true == k]
            if pixels and (classes == "all" or inside):
                total = sum(p[k] for p, _ in pixels) + len(inside)
                terms.append(1 - (2 * sum(inside) + smooth) / (total + smooth))
        images.append(sum(terms) / len(terms) if terms else 0.0)
    return sum(images) / len(images)


def test_cross_entropy_equals_slow_reference():
    logits, target = _batch(3, 5, 6, seed=0)
    target[1] = IGNORE
    assert cross_entropy(logits, target).item() == pytest.approx(
        _slow_cross_entropy(logits, target), abs=1e-12
    )


@pytest.mark.parametrize("smooth", [0.0, 1.0, 7.5])
@pytest.mark.parametrize("classes", ["present", "all"])
def test_dice_equals_slow_reference(smooth, classes):
    logits, target = _batch(3, 5, 6, seed=1)
    target[0][target[0] == 2] = 3
    target[1] = IGNORE
    assert dice(logits, target, smooth=smooth, classes=classes).item() == pytest.approx(
        _slow_dice(logits, target, smooth, classes), abs=1e-12
    )


def test_golden_values():
    # Two pixels, two classes, softmax (0.8, 0.2) at both; the first pixel is class 0.
    logits = torch.tensor([0.8, 0.2], dtype=torch.float64).log().view(1, 2, 1, 1).expand(1, 2, 1, 2)
    both = torch.tensor([[[0, 1]]])
    one = torch.tensor([[[0, IGNORE]]])
    assert cross_entropy(logits, both).item() == pytest.approx(-math.log(0.16) / 2)
    assert cross_entropy(logits, one).item() == pytest.approx(-math.log(0.8))
    # Class 0: 1 - 1.6 / 2.6, class 1: 1 - 0.4 / 1.4.
    assert dice(logits, both, smooth=0.0).item() == pytest.approx((1 / 2.6 + 1 / 1.4) / 2)
    assert dice(logits, one, smooth=0.0).item() == pytest.approx(1 - 1.6 / 1.8)
    assert dice(logits, one, smooth=0.0, classes="all").item() == pytest.approx((0.2 / 1.8 + 1) / 2)


@pytest.mark.parametrize("loss", [cross_entropy, dice])
def test_other_ignore_index(loss):
    logits, target = _batch(2, 4, 5, seed=2)
    renamed = target.clone()
    renamed[target == IGNORE] = 19
    assert torch.equal(loss(logits, target), loss(logits, renamed, ignore_index=19))


def weighted(logits, target):
    return weighted_cross_entropy(logits, target, torch.tensor([0.5, 1.0, 2.0, 3.0]))


@pytest.mark.parametrize("loss", [cross_entropy, dice, weighted])
def test_two_processes_of_four_equal_one_of_eight(loss):
    logits, target = _batch(8, 4, 6, seed=3)
    target[0] = IGNORE  # ignored pixels spread as unevenly as possible over the halves
    target[1, 1:] = IGNORE
    target[2] = IGNORE

    def gradient(images: slice) -> Tensor:
        weight = torch.ones(4, 1, 1, dtype=torch.float64, requires_grad=True)
        loss(logits[images] * weight, target[images]).backward()
        return weight.grad

    joined = gradient(slice(0, 8))
    averaged = (gradient(slice(0, 4)) + gradient(slice(4, 8))) / 2
    assert joined.abs().min() > 1e-4
    torch.testing.assert_close(averaged, joined, rtol=0, atol=1e-14)


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_fully_ignored_image_adds_zero_and_counts_in_the_mean(smooth):
    logits, target = _batch(2, 4, 5, seed=4)
    target[1] = IGNORE
    losses = {
        "ce": cross_entropy,
        "dice": lambda a, b: dice(a, b, smooth=smooth),
        "dice all": lambda a, b: dice(a, b, smooth=smooth, classes="all"),
    }
    for name, loss in losses.items():
        leaf = logits.clone().requires_grad_()
        value = loss(leaf, target)
        value.backward()
        assert value.item() == pytest.approx(loss(logits[:1], target[:1]).item() / 2), name
        assert torch.equal(leaf.grad[1], torch.zeros_like(leaf.grad[1])), name
        assert leaf.grad[0].isfinite().all(), name
        assert loss(logits[1:], target[1:]).item() == 0.0, name


@pytest.mark.parametrize("loss", [cross_entropy, dice])
def test_ignored_pixels_have_no_influence(loss):
    logits, target = _batch(2, 4, 5, seed=5)
    moved = torch.where((target == IGNORE).unsqueeze(1), logits - 9 * logits.flip(1), logits)
    assert not torch.equal(moved, logits)
    assert torch.equal(loss(moved, target), loss(logits, target))


@pytest.mark.parametrize("classes", ["present", "all"])
def test_gradients_are_those_of_finite_differences(classes):
    logits, target = _batch(2, 3, 3, seed=6)
    target[1] = IGNORE
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: cross_entropy(z, target), logits)
    assert torch.autograd.gradcheck(lambda z: dice(z, target, classes=classes), logits)


def test_perfect_and_worst_predictions():
    _, target = _batch(2, 3, 6, seed=7)
    clean = torch.where(target == IGNORE, 0, target)
    right = 50.0 * torch.nn.functional.one_hot(clean, 3).movedim(3, 1)
    assert cross_entropy(right, target).item() < 1e-6
    assert dice(right, target).item() < 1e-6
    assert dice(right.roll(1, dims=1), target, smooth=0.0).item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("loss", [cross_entropy, dice])
def test_half_precision_inputs_are_summed_in_float32(loss):
    logits, target = _batch(1, 3, 300, seed=8, ignored=0.0)
    half = logits.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(half, target)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(half.double(), target).item(), rel=1e-5)


def structure_by_hand(logits, target):
    """F3Net's loss, one pixel and one window at a time."""
    total = 0.0
    for z, m in zip(logits[:, 0].double(), target[:, 0].double(), strict=True):
        height, width = m.shape
        weight = torch.empty_like(m)
        for i in range(height):
            for j in range(width):
                window = m[max(0, i - 15) : i + 16, max(0, j - 15) : j + 16]
                weight[i, j] = 1 + 5 * abs(window.sum() / 31**2 - m[i, j])
        p = torch.sigmoid(z)
        bce = -(m * torch.log(p) + (1 - m) * torch.log(1 - p))
        inter, union = (p * m * weight).sum(), ((p + m) * weight).sum()
        iou = 1 - (inter + 1) / (union - inter + 1)
        total += float((weight * bce).sum() / weight.sum() + iou)
    return total / len(logits)


@pytest.mark.parametrize("soft", [False, True])
def test_structure_loss_equals_its_definition(soft):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 1, 20, 37, generator=generator)
    target = torch.rand(2, 1, 20, 37, generator=generator)
    target = target if soft else (target > 0.7).float()
    assert float(structure(logits, target)) == pytest.approx(
        structure_by_hand(logits, target), 1e-5
    )


def test_structure_loss_of_a_perfect_and_of_an_empty_answer():
    target = torch.zeros(1, 1, 40, 40)
    target[..., 10:30, 10:30] = 1
    sure = (target * 2 - 1) * 30
    assert float(structure(sure, target)) < 1e-6
    assert float(structure(-sure, target)) > 15
    black = torch.zeros(1, 1, 40, 40)
    assert float(structure(torch.full_like(black, -30.0), black)) < 1e-6


def test_structure_loss_is_a_mean_over_images_in_any_type():
    logits, target = torch.randn(3, 1, 16, 16), torch.rand(3, 1, 16, 16)
    each = torch.stack([structure(logits[i : i + 1], target[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(structure(logits, target), each.mean())
    assert structure(logits.double(), target).dtype == torch.float64
    assert structure(logits.bfloat16(), target).dtype == torch.float32


def test_partial_cross_entropy_counts_labelled_pixels_of_each_image():
    logits = torch.randn(2, 1, 4, 4)
    target = torch.full((2, 4, 4), 255)
    target[0, 0, 0], target[0, 1, 1], target[1, 2, 2] = 1, 0, 1
    softplus = torch.nn.functional.softplus
    first = (softplus(-logits[0, 0, 0, 0]) + softplus(logits[0, 0, 1, 1])) / 2
    wanted = (first + softplus(-logits[1, 0, 2, 2])) / 2
    torch.testing.assert_close(partial_cross_entropy(logits, target), wanted)
    empty = partial_cross_entropy(logits.requires_grad_(), torch.full((2, 4, 4), 255))
    assert float(empty) == 0
    (gradient,) = torch.autograd.grad(empty, logits)
    assert not gradient.any()


def _wave(shape, shift, scale=1.0):
    """Element i (row-major) is scale * sin(0.7 i + shift)."""
    index = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(0.7 * index + shift)).float().view(shape)


def test_losses_of_unirgb_ir_have_the_values_of_its_code():
    labels = (torch.arange(40) % 3).view(2, 4, 5)
    labels[0, 0, 0] = labels[1, 3, 4] = IGNORE
    loss = weighted_cross_entropy(
        _wave((2, 3, 4, 5), 0.3, 2.0), labels, torch.tensor([1.5, 2.0, 3.0])
    )
    assert loss.item() == pytest.approx(3.531729, abs=1e-6)
    logits = _wave((2, 1, 16, 16), 0.3, 3.0)
    target = (_wave((2, 1, 16, 16), 1.0) > 0).float()
    assert binary_cross_entropy(logits, target).item() == pytest.approx(0.421060, abs=1e-6)
    assert iou(logits, target).item() == pytest.approx(0.419119, abs=1e-6)
    assert ssim(logits, target).item() == pytest.approx(0.328668, abs=1e-6)
    window = _gaussian(logits)
    assert (window[5] ** 2).item() == pytest.approx(0.070762, abs=1e-6)
    assert window.shape == (11,) and window.sum().item() == pytest.approx(1)


def test_weighted_cross_entropy_divides_by_all_pixels():
    logits, target = _batch(2, 4, 5, seed=9)
    weights = torch.tensor([1.0, 0.0, 2.5, 40.0])
    known = target != IGNORE
    nll = -logits.log_softmax(1).gather(1, target.where(known, 0)[:, None])[:, 0]
    wanted = (nll * weights.double()[target.where(known, 0)] * known).sum() / target.numel()
    torch.testing.assert_close(weighted_cross_entropy(logits, target, weights), wanted)
    ones = torch.ones(4)
    share = known.double().mean()
    assert share < 1
    plain = torch.nn.functional.cross_entropy(logits, target, ignore_index=IGNORE) * share
    torch.testing.assert_close(weighted_cross_entropy(logits, target, ones), plain)
    nothing = torch.full_like(target, IGNORE)
    assert weighted_cross_entropy(logits, nothing, weights) == 0


def ssim_by_hand(logits, target):
    """One window at a time."""
    p, g = (F.pad(m.double(), (5, 5, 5, 5)) for m in (logits.sigmoid(), target))
    one = torch.exp(-((torch.arange(11.0).double() - 5) ** 2) / 4.5)
    window = torch.outer(one, one) / one.sum() ** 2
    total = 0.0
    for image in range(len(p)):
        for i in range(target.shape[2]):
            for j in range(target.shape[3]):
                a, b = (m[image, 0, i : i + 11, j : j + 11] for m in (p, g))
                mu, nu = (window * a).sum(), (window * b).sum()
                var, sec = (window * a * a).sum() - mu**2, (window * b * b).sum() - nu**2
                cov = (window * a * b).sum() - mu * nu
                top = (2 * mu * nu + 1e-4) * (2 * cov + 9e-4)
                total += 1 - float(top / ((mu**2 + nu**2 + 1e-4) * (var + sec + 9e-4)))
    return total / target.numel()


def test_ssim_loss_equals_its_definition_and_is_zero_for_a_perfect_answer():
    generator = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(2, 1, 9, 13, generator=generator)
    target = torch.rand(2, 1, 9, 13, generator=generator)
    assert float(ssim(logits, target)) == pytest.approx(ssim_by_hand(logits, target), 1e-5)
    assert float(ssim(logits, logits.sigmoid())) == pytest.approx(0, abs=1e-6)


def test_iou_loss_is_a_mean_over_images():
    target = torch.zeros(2, 1, 4, 4)
    target[0, 0, :2] = 1
    logits = torch.full((2, 1, 4, 4), -40.0)
    logits[0] = 40.0
    # half of the first image is right; the second is empty and costs 1 by definition
    assert float(iou(logits, target)) == pytest.approx((0.5 + 1) / 2, abs=1e-6)


@pytest.mark.parametrize("loss", [binary_cross_entropy, iou, ssim])
def test_saliency_losses_by_process_type_and_gradient(loss):
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(4, 1, 12, 12, generator=generator)
    target = torch.rand(4, 1, 12, 12, generator=generator)
    halves = (loss(logits[:2], target[:2]) + loss(logits[2:], target[2:])) / 2
    torch.testing.assert_close(loss(logits, target), halves)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = loss(logits.bfloat16(), target)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, loss(logits.bfloat16().float(), target), rtol=1e-5, atol=1e-6)
    small = logits[:1, :, :4, :5].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, target[:1, :, :4, :5]), small)


def test_balanced_bce_equals_hand_values():
    logits = torch.tensor([[[[0.0, 2.0]]], [[[-1.0, 3.0]]]]).double()
    target = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 0.0]]]]).double()
    positive, negative = 1, 3

    def cost(z, y):
        p = 1 / (1 + math.exp(-z))
        return -math.log(p if y else 1 - p)

    # w * BCE(pos_weight): w = n+ / n, pos_weight = n- / n+
    w, pos_weight = positive / 4, negative / positive
    terms = [pos_weight * cost(0, 1), cost(2, 0), cost(-1, 0), cost(3, 0)]
    expected = w * sum(terms) / 4
    assert float(balanced_bce(logits, target)) == pytest.approx(expected, abs=1e-12)
    package = F.binary_cross_entropy_with_logits(
        logits, target, pos_weight=torch.tensor(pos_weight).double()
    )
    assert float(balanced_bce(logits, target)) == pytest.approx(float(w * package), abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_mask_of_one_class_spoils_no_loss_and_no_gradient(value):
    logits = (100 * torch.randn(2, 1, 5, 6)).requires_grad_()
    target = torch.full((2, 1, 5, 6), value)
    assert float(balanced_bce(logits, target).detach()) == 0.0
    total = balanced_bce(logits, target) + binary_cross_entropy(logits, target)
    (total + iou(logits, target)).backward()
    assert torch.isfinite(logits.grad).all()


def test_balanced_bce_of_parts_averages_to_that_of_the_whole():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 1, 6, 5, generator=generator).double()
    target = (torch.rand(4, 1, 6, 5, generator=generator) < 0.2).double()
    target[:2] = 0
    share = target.mean()
    parts = [balanced_bce(logits[i : i + 2], target[i : i + 2], share) for i in (0, 2)]
    assert torch.allclose(torch.stack(parts).mean(), balanced_bce(logits, target), atol=1e-12)


def test_iou_loss_equals_hand_values():
    logits = torch.tensor([[[[0.0, 0.0]]], [[[0.0, 0.0]]]]).double()
    target = torch.tensor([[[[1.0, 0.0]]], [[[1.0, 1.0]]]]).double()
    # p = .5 everywhere: I / U = .5 / (1 + 1 - .5), and 1 / (1 + 2 - 1)
    assert float(iou(logits, target)) == pytest.approx(1 - (1 / 3 + 1 / 2) / 2, abs=1e-6)
