"""The numbers of SaliencyScores by hand and by definition."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from rgbx.metrics import SaliencyScores
from rgbx.metrics.saliency_maps import grey_levels
from rgbx.metrics.saliency_weighted import weighted_f

ALL = ("S", "adpE", "meanE", "maxE", "adpF", "meanF", "maxF", "wF", "MAE", "IoU", "Dice")


def _images(count: int, size: tuple[int, int] = (24, 31), seed: int = 0) -> tuple[Tensor, Tensor]:
    """Maps that agree with their masks in part; one mask is empty."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.zeros(count, *size, dtype=torch.int64)
    for index in range(count):
        target[index, index : index + 9, 5 : 10 + index] = 1
    target[-1] = 0
    noise = torch.rand(count, *size, generator=generator)
    return 0.2 + 0.6 * (0.6 * target + 0.4 * noise), target


def _score(pred: Tensor, target: Tensor, **options) -> dict[str, float]:
    scores = SaliencyScores(**options)
    scores.update(pred, target)
    return scores.compute()


def test_golden_values_by_hand():
    # Levels 0, 51, 153, 255 are whole, so nothing is stretched; the object is the right column.
    pred = torch.tensor([[0.0, 0.6], [0.2, 1.0]])
    target = torch.tensor([[0, 1], [0, 1]])
    got = _score(pred, target)
    assert tuple(got) == ALL
    assert got["MAE"] == pytest.approx((0 + 0.4 + 0.2 + 0) / 4)
    # The threshold is 2 * 0.45 = 0.9: one of two object pixels, nothing else.
    assert got["adpF"] == pytest.approx(1.3 * 1 * 0.5 / (0.3 * 1 + 0.5))
    # Thresholds 0 | 1..51 | 52..153 | 154..255 of 255 choose 4 | 3 | 2 | 1 pixels, 2 2 2 1 right.
    f = [1.3 * 2 / (0.6 + 4), 1.3 * 2 / (0.6 + 3), 1.0, 1.3 / (0.6 + 1)]
    assert got["maxF"] == 1.0
    assert got["meanF"] == pytest.approx((f[0] + 51 * f[1] + 102 * (f[2] + f[3])) / 256)
    assert (got["IoU"], got["Dice"]) == (1.0, 1.0)
    # Alignment of a perfect map is 1 at every pixel, and the sum is divided by 4 - 1.
    assert got["maxE"] == pytest.approx(4 / 3)
    # p = 1/4, g = 1/2: one pixel (3/4, 1/2), one (-1/4, 1/2), two (-1/4, -1/2).
    aligned = [2 * a * b / (a * a + b * b) for a, b in ((0.75, 0.5), (-0.25, 0.5), (0.25, 0.5))]
    kinds = [(value + 1) ** 2 / 4 for value in aligned]
    assert got["adpE"] == pytest.approx((kinds[0] + kinds[1] + 2 * kinds[2]) / 3)


def test_the_maximum_is_that_of_the_mean_curve_not_the_mean_of_maxima():
    # Each map is perfect at some threshold, but not at the same.
    target = torch.tensor([[[0, 1, 1, 0]], [[0, 1, 1, 0]]])
    pred = torch.tensor([[[0.0, 1.0, 0.2, 0.1]], [[0.0, 1.0, 0.8, 0.7]]])
    singles = [_score(p, t)["maxF"] for p, t in zip(pred, target, strict=True)]
    assert singles == [1.0, 1.0]
    both = SaliencyScores()
    both.update(pred, target)
    curve = both.curves()["F"]
    # From 52 of 255 on the first map has lost a pixel, up to 178 the second has one too many.
    assert both.compute()["maxF"] == curve.max() == pytest.approx((1 + 1.3 / (0.6 + 1)) / 2)
    assert both.compute()["meanF"] == pytest.approx(curve.mean().item())


def test_curves_run_from_threshold_0_to_255():
    pred, target = _images(3)
    pred[0, 0, 0], pred[0, 0, 1] = 0.0, 1.0
    scores = SaliencyScores(stretch=False)
    scores.update(pred[0], target[0])
    curves = scores.curves()
    assert set(curves) == {"precision", "recall", "F", "E"}
    assert {tuple(curve.shape) for curve in curves.values()} == {(256,)}
    levels, inside = (pred[0] * 255).round(), target[0] > 0
    for threshold in (0, 1, 100, 101, 255):
        chosen = levels >= threshold
        hit = (chosen & inside).sum() / chosen.sum()
        assert curves["precision"][threshold].item() == pytest.approx(hit.item(), abs=1e-6)
        found = (chosen & inside).sum() / inside.sum()
        assert curves["recall"][threshold].item() == pytest.approx(found.item(), abs=1e-6)
    assert set(SaliencyScores(("E",)).curves()) == {"E"}
    assert SaliencyScores(("MAE",)).curves() == {}


def test_grey_levels_stretch_before_they_round_halves_to_even():
    map_ = torch.tensor([[[0.25, 0.5, 0.75, 0.26]]])
    assert grey_levels(map_)[0, 0].tolist() == [0, 128, 255, 5]
    assert grey_levels(map_, stretch=False)[0, 0].tolist() == [64, 128, 191, 66]
    halves = (torch.tensor([[[0.5, 1.5, 2.5, 253.5]]]).double()) / 255
    assert grey_levels(halves, stretch=False)[0, 0].tolist() == [0, 2, 2, 254]
    assert grey_levels(torch.full((1, 2, 2), 0.5))[0].tolist() == [[128, 128], [128, 128]]
    assert grey_levels(torch.full((1, 2, 2), 0.3))[0].tolist() == [[76, 76], [76, 76]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_maps_read_from_a_image_keep_their_levels(dtype):
    levels = torch.arange(10, 201, dtype=torch.uint8).reshape(1, 1, -1)
    map_ = levels.to(dtype) / 255
    assert torch.equal(grey_levels(map_), levels)
    # Beyond the first thousand pixels one odd value makes it a float map, which is stretched.
    wide = map_.repeat(1, 10, 1)
    assert torch.equal(grey_levels(wide), levels.repeat(1, 10, 1))
    wide[0, -1, -2] += 0.3 / 255
    assert grey_levels(wide).aminmax() == (0, 255)


def test_rounding_and_stretch_are_switches():
    pred, target = torch.tensor([[0.25, 0.5, 0.7499]]), torch.tensor([[0, 0, 1]])
    assert _score(pred, target)["MAE"] == pytest.approx(128 / 255 / 3)
    unrounded = _score(pred, target, quantise=False)
    assert unrounded["MAE"] == pytest.approx(0.25 / 0.4999 / 3, abs=1e-6)
    unstretched = _score(pred, target, stretch=False)
    assert unstretched["MAE"] == pytest.approx((64 + 128 + 64) / 255 / 3)
    plain = _score(pred, target, quantise=False, stretch=False)
    assert plain["MAE"] == pytest.approx((0.25 + 0.5 + 0.2501) / 3)


def test_stretching_changes_no_score_of_a_map_that_was_stretched():
    pred, target = _images(3)
    pred = pred - pred.amin(dim=(1, 2), keepdim=True)
    assert _score(0.5 * pred + 0.1, target) == pytest.approx(_score(pred, target), abs=2e-3)
    flat = torch.full((4, 5), 0.25)
    target = torch.eye(4, 5).long()
    assert _score(flat, target, quantise=False)["MAE"] == pytest.approx((4 * 0.75 + 16 * 0.25) / 20)


@pytest.mark.parametrize("column", [False, True])
def test_an_empty_quadrant_counts_nothing(column):
    # The object fills the end of a row: the two lower quadrants and one next to it are empty.
    pred, target = torch.tensor([[0.0, 0.2, 0.4, 1.0]]), torch.tensor([[0, 0, 0, 1]])
    if column:
        pred, target = pred.T, target.T
    x, y = 0.4, 0.25
    left = torch.tensor([0.0, 0.2, 0.4, 1.0]).double()
    variance = (left - x).square().sum().item() / 3
    covariance = (1 - x) * (1 - y) / 3 + (0 - y) * (-0.4 - 0.2 + 0) / 3
    region = 4 * x * y * covariance / ((x * x + y * y) * (variance + 0.75 * 0.25 * 4 / 3))
    deviation = torch.tensor([1.0, 0.8, 0.6]).double().std().item()
    objects = 0.25 * 2 / 2 + 0.75 * 2 * 0.8 / (0.64 + 1 + deviation)
    assert _score(pred, target)["S"] == pytest.approx((objects + region) / 2, abs=1e-7)


def test_degenerate_masks():
    pred, empty = torch.tensor([[0.0, 1.0], [1.0, 0.2]]), torch.zeros(2, 2, dtype=torch.bool)
    got = _score(pred, empty)
    assert got["S"] == pytest.approx(1 - 2.2 / 4)
    assert [got[name] for name in ("adpF", "maxF", "wF", "IoU", "Dice")] == [0.0] * 5
    assert got["maxE"] == pytest.approx(2 / 3)
    full = _score(pred, ~empty)
    assert full["S"] == pytest.approx(2.2 / 4)
    assert full["maxE"] == pytest.approx(4 / 3)
    black = _score(torch.zeros(2, 2), empty)
    assert (black["S"], black["MAE"], black["IoU"]) == (1.0, 0.0, 0.0)
    assert _score(torch.ones(2, 2), ~empty)["wF"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("value", "mask", "s", "mean_e"),
    [(1.0, 1, 1.0, 1.0), (0.0, 1, 0.0, 1 / 256), (0.0, 0, 1.0, 255 / 256), (1.0, 0, 0.0, 0.0)],
)
def test_a_image_of_one_pixel(value, mask, s, mean_e):
    got = _score(torch.tensor([[value]]), torch.tensor([[mask]]))
    assert got["S"] == s
    assert got["meanE"] == pytest.approx(mean_e)


def test_weighted_f_takes_the_leftmost_then_topmost_of_nearest_pixels():
    """A background pixel has the error of one of several nearest object pixels; which one shows."""

    def score(errors: list[list[float]]) -> float:
        error = torch.tensor(errors).double()
        return weighted_f(1 - error.nan_to_num(1.0), ~error.isnan()).item()

    gap = math.nan
    # Mirror images differ: the middle pixel takes its error from the left, from the top.
    assert score([[0.1, gap, 0.9]]) > score([[0.9, gap, 0.1]]) + 0.001
    assert score([[0.1], [gap], [0.9]]) > score([[0.9], [gap], [0.1]]) + 0.001
    # Left goes before top.
    corner = [[gap, 0.1, gap], [0.9, gap, gap], [gap, gap, gap]]
    swapped = [[gap, 0.9, gap], [0.1, gap, gap], [gap, gap, gap]]
    assert score(swapped) > score(corner) + 0.001


def test_weighted_f_equals_the_definition_pixel_by_pixel():
    generator = torch.Generator().manual_seed(3)
    target = torch.rand(9, 12, generator=generator) < 0.08
    value = torch.rand(9, 12, generator=generator).double()
    places = [(y, x) for x in range(12) for y in range(9) if target[y, x]]  # left, then top first
    error, filled = (value - target.double()).abs(), torch.zeros(9, 12).double()
    distance = torch.zeros(9, 12).double()
    for y in range(9):
        for x in range(12):
            squared = [(y - b) ** 2 + (x - a) ** 2 for b, a in places]
            distance[y, x] = math.sqrt(min(squared))
            filled[y, x] = error[places[squared.index(min(squared))]]
    steps = torch.arange(-3, 4).double()
    kernel = torch.exp(-(steps[:, None] ** 2 + steps**2) / 50)
    blurred = torch.nn.functional.conv2d(
        filled[None, None], (kernel / kernel.sum())[None, None], padding=3
    )[0, 0]
    miss = torch.minimum(blurred, error)[target]
    false = (error * (2 - 0.5 ** (distance / 5)))[~target].sum()
    recall, hit = 1 - miss.mean(), target.sum() - miss.sum()
    precision = hit / (hit + false)
    expected = 2 * recall * precision / (recall + precision)
    assert weighted_f(value, target).item() == pytest.approx(expected.item(), abs=1e-7)


def test_large_images_do_not_overflow_the_centroid():
    # The moment of 3000 * 3000 pixels exceeds 2^31.
    target = torch.ones(3000, 3000, dtype=torch.bool)
    target[:, 0] = False
    scores = SaliencyScores(("S",))
    scores.update(target.float(), target)
    assert scores.compute()["S"] == pytest.approx(1.0)


def test_a_transposed_scene_has_the_same_scores():
    random = np.random.default_rng(0)
    map_ = torch.from_numpy(random.random((13, 20)))
    mask = torch.zeros(13, 20, dtype=torch.bool)
    mask[2:9, 3:8] = True
    expected = _score(map_, mask)
    for name, value in _score(map_.T, mask.T).items():
        if name != "wF":  # its ties go by columns first
            assert value == pytest.approx(expected[name], abs=1e-9), name
