import math
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor

from rgbx.metrics import Evaluator, SaliencyScores
from rgbx.metrics.saliency_maps import grey_levels
from rgbx.metrics.saliency_weighted import weighted_f

ALL = ("S", "adpE", "meanE", "maxE", "adpF", "meanF", "maxF", "wF", "MAE", "IoU", "Dice")
STATES = {"score_sums", "curve_sums", "images"}


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


@pytest.mark.parametrize("options", [{}, {"quantise": False}, {"stretch": False}], ids=str)
def test_batches_shards_and_orders_do_not_change_a_bit(options):
    pred, target = _images(7)
    whole = SaliencyScores(**options)
    whole.update(pred, target)
    shards = [SaliencyScores(**options) for _ in range(2)]
    for index in (4, 0, 6, 2, 5, 1, 3):
        shards[index % 2].update(pred[index], target[index])
    joined = SaliencyScores(**options)
    for name in STATES:
        setattr(joined, name, sum(getattr(shard, name) for shard in shards))
    joined._update_count = 1
    assert joined.compute() == whole.compute()
    for name, curve in joined.curves().items():
        assert torch.equal(curve, whole.curves()[name])


def test_scores_and_curves_are_summed_over_processes():
    pred, target = _images(5)
    mine, other = SaliencyScores(), SaliencyScores()
    mine.update(pred[:2], target[:2])
    other.update(pred[2:], target[2:])
    states = {getattr(other, name).shape: getattr(other, name) for name in STATES}
    mine.distributed_available_fn = lambda: True
    mine.dist_sync_fn = lambda state, group: [state, states[state.shape]]
    whole = SaliencyScores()
    whole.update(pred, target)
    for name, curve in whole.curves().items():
        assert torch.equal(mine.curves()[name], curve)
    assert mine.compute() == whole.compute()
    assert mine.images == 2


def test_all_states_are_integer_sums():
    scores = SaliencyScores()
    assert set(scores._defaults) == STATES
    assert {default.dtype for default in scores._defaults.values()} == {torch.int64}
    assert {reduce.__name__ for reduce in scores._reductions.values()} == {"dim_zero_sum"}


def test_grey_levels_stretch_before_they_round_halves_to_even():
    map_ = torch.tensor([[[0.25, 0.5, 0.75, 0.26]]])
    assert grey_levels(map_)[0, 0].tolist() == [0, 128, 255, 5]
    assert grey_levels(map_, stretch=False)[0, 0].tolist() == [64, 128, 191, 66]
    halves = (torch.tensor([[[0.5, 1.5, 2.5, 253.5]]]).double()) / 255
    assert grey_levels(halves, stretch=False)[0, 0].tolist() == [0, 2, 2, 254]
    assert grey_levels(torch.full((1, 2, 2), 0.5))[0].tolist() == [[128, 128], [128, 128]]
    assert grey_levels(torch.full((1, 2, 2), 0.3))[0].tolist() == [[76, 76], [76, 76]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_maps_read_from_a_picture_keep_their_levels(dtype):
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
    # The object fills the end of a row: the two lower quadrants and one beside it are empty.
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
def test_a_picture_of_one_pixel(value, mask, s, mean_e):
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


@pytest.mark.parametrize("coding", [torch.bool, torch.uint8, torch.int64, torch.int16])
def test_mask_codings_and_map_types_are_equal(coding):
    pred, target = _images(3)
    pred = (pred * 255).round() / 255
    expected = _score(pred, target)
    assert _score(pred, (target * 255).to(torch.uint8)) == expected
    assert _score(pred, target.to(coding)) == expected
    assert _score(pred.double(), target) == expected
    assert _score(pred.transpose(1, 2), target.transpose(1, 2))["MAE"] == expected["MAE"]
    half = torch.tensor([[0.0, 0.5], [0.25, 1.0]])
    mask = torch.tensor([[0, 1], [0, 1]])
    assert _score(half.bfloat16(), mask) == _score(half.half(), mask) == _score(half, mask)


def test_only_the_chosen_measures_are_computed_under_the_same_numbers():
    pred, target = _images(3)
    whole = _score(pred, target)
    parts = {"S": 1, "E": 3, "F": 3, "wF": 1, "MAE": 1, "overlap": 2}
    merged: dict[str, float] = {}
    for measure, count in parts.items():
        part = _score(pred, target, measures=[measure])
        assert len(part) == count
        assert tuple(SaliencyScores((measure,)).protocol()) == tuple(part)
        merged |= part
    assert merged == whole
    assert tuple(_score(pred, target, measures=("MAE", "S"))) == ("S", "MAE")


def test_nothing_seen_gives_nan_and_reset_forgets():
    scores = SaliencyScores()
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert all(math.isnan(value) for value in scores.compute().values())
    assert scores.curves()["F"].isnan().all()
    pred, target = _images(2)
    scores.update(1 - pred, target)
    scores.reset()
    scores.update(pred, target)
    assert scores.compute() == _score(pred, target)
    scores.update(pred[:0], target[:0])
    assert scores.images == 2


def test_gradients_and_threads_stay_outside():
    pred, target = _images(2)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        scores = SaliencyScores()
        scores.update(pred.requires_grad_(), target)
        with pytest.raises(ValueError, match="NaN"):
            scores.update(pred * math.nan, target)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert scores.compute() == _score(pred.detach(), target)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_casts_pickles_and_clones_keep_the_sums(dtype):
    pred, target = _images(4)
    scores = SaliencyScores()
    scores.update(pred[:2], target[:2])
    for copy in (scores.clone(), pickle.loads(pickle.dumps(scores)), scores.to(dtype)):
        copy.update(pred[2:], target[2:])
        assert copy.compute() == _score(pred, target)
    assert torch.nn.ModuleList([scores]).to("cpu", dtype)[0].compute() == _score(pred, target)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("options", [{}, {"quantise": False}, {"stretch": False}], ids=str)
def test_a_gpu_gives_the_same(options):
    pred, target = _images(4)
    scores = SaliencyScores(**options).cuda()
    scores.update(pred.cuda(), target.cuda())
    assert scores.compute() == pytest.approx(_score(pred, target, **options), abs=1e-6)
    assert scores.curves()["F"].device.type == "cpu"


def test_the_evaluator_keeps_one_per_split_and_subset():
    pred, target = _images(4)
    evaluator = Evaluator(SaliencyScores(), splits=("VT5000", "VT821"), subsets=("day",))
    evaluator.update("VT5000", "day", pred[0], target[0])
    evaluator.update("VT5000", "", pred[1], target[1])
    results = evaluator.results()
    assert results["VT5000"]["day"] == _score(pred[0], target[0])
    assert results["VT5000"]["all"] == _score(pred[:2], target[:2])
    assert all(math.isnan(value) for value in results["VT821"]["all"].values())


PIXEL, MASK = [[0.5, 1.0]], [[0, 1]]


@pytest.mark.parametrize(
    ("pred", "target", "message"),
    [
        ([[0.5, 1.0, 0.0]], MASK, r"same size, got shapes \(1, 3\) and \(1, 2\)"),
        ([0.5, 1.0], [0, 1], r"got shapes \(2,\) and \(2,\)"),
        ([[]], [[]], r"got shapes \(1, 0\) and \(1, 0\)"),
        ([[3, 255]], MASK, "got torch.int64 and torch.int64; divide a grey picture by 255"),
        (PIXEL, [[0.0, 1.0]], "got torch.float32 and torch.float32"),
        ([[0.5, math.nan]], MASK, "Prediction holds NaN"),
        ([[-3.5, 7.0]], MASK, r"ranges from -3.5 to 7, outside \[0, 1\]; take the sigmoid"),
        ([[0.5, math.inf]], MASK, "ranges from 0.5 to inf"),
    ],
)
def test_wrong_input_is_refused_and_counts_nothing(pred, target, message):
    scores = SaliencyScores()
    with pytest.raises(ValueError, match=message):
        scores.update(torch.tensor(pred), torch.tensor(target))
    assert scores.images == 0 and not scores.score_sums.any() and not scores.curve_sums.any()


@pytest.mark.parametrize("measures", [("S", "Fmax"), (), "wF"])
def test_unknown_measures_are_refused(measures):
    with pytest.raises(ValueError, match=r"choose some of .'S', 'E', 'F', 'wF', 'MAE', 'overlap'"):
        SaliencyScores(measures)


def test_every_score_has_a_protocol_sentence_that_follows_the_switches():
    texts = SaliencyScores().protocol()
    assert tuple(texts) == ALL
    assert all("stretched again" in text for text in texts.values())
    assert "averaged over the images" in texts["maxF"] and "> 0.5" in texts["IoU"]
    rounded = SaliencyScores(stretch=False).protocol()["S"]
    assert "rounded to 8 bits, not stretched" in rounded and "stretched again" not in rounded
    assert "not rounded" in SaliencyScores(quantise=False).protocol()["S"]


def test_large_pictures_do_not_overflow_the_centroid():
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
