"""Dice and IoU of polyps: by hand, against PySODMetrics, in any order and over processes."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from rgbx.metrics import OverlapScores

NAMES = (
    "mDice",
    "mIoU",
    "mDice_soft",
    "mIoU_soft",
    "meanDice",
    "maxDice",
    "meanIoU",
    "maxIoU",
)
STATES = ("score_sums", "curve_sums", "images")


def _score(pred, target, **options) -> dict[str, float]:
    scores = OverlapScores(**options)
    scores.update(torch.as_tensor(pred), torch.as_tensor(target))
    return scores.compute()


def _images(count: int, size: tuple[int, int] = (24, 31), seed: int = 0) -> tuple[Tensor, Tensor]:
    """Maps that agree with their masks in part; one mask is empty."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.zeros(count, *size, dtype=torch.int64)
    for index in range(count):
        target[index, index : index + 9, 5 : 10 + index] = 1
    target[-1] = 0
    return 0.2 + 0.4 * target + 0.35 * torch.rand(target.shape, generator=generator), target


def test_golden_values_by_hand():
    # Levels 0, 51, 153, 255; the object is the right column.
    got = _score([[0.0, 0.6], [0.2, 1.0]], [[0, 1], [0, 1]])
    assert tuple(got) == NAMES
    assert (got["mDice"], got["mIoU"]) == (1.0, 1.0)
    assert got["mDice_soft"] == pytest.approx(2 * 1.6 / (1.8 + 2))
    assert got["mIoU_soft"] == pytest.approx(1.6 / (1.8 + 2 - 1.6))
    # Thresholds 0 | 1..51 | 52..153 | 154..255 choose 4 | 3 | 2 | 1 pixels, 2 2 2 1 of them right.
    dice, iou = [4 / 6, 4 / 5, 1, 2 / 3], [2 / 4, 2 / 3, 1, 1 / 2]
    for name, (a, b, c, d) in (("Dice", dice), ("IoU", iou)):
        assert got[f"mean{name}"] == pytest.approx((a + 51 * b + 102 * (c + d)) / 256)
        assert got[f"max{name}"] == 1


def test_the_mean_is_over_images_and_the_hard_map_is_neither_stretched_nor_rounded():
    pred = torch.tensor([[[0.6, 0.5, 0.0, 0.0]], [[0.5001, 0.4, 0.3, 0.3]]])
    target = torch.tensor([[[1, 1, 0, 0]], [[1, 0, 0, 0]]])
    got = _score(pred, target)
    assert got["mDice"] == pytest.approx((2 / 3 + 1) / 2)  # 0.5 itself is no polyp
    assert got["mIoU"] == pytest.approx((1 / 2 + 1) / 2)
    pooled = 2 * 2 / (2 + 3)
    assert abs(got["mDice"] - pooled) > 0.02
    low = _score(pred / 2, target)
    assert (low["mDice"], low["mIoU"]) == (0, 0)
    assert low["maxDice"] == pytest.approx(got["maxDice"]) == 1  # stretched, so nothing changes


def test_the_maximum_is_that_of_the_mean_curve():
    target = torch.tensor([[[0, 1, 1, 0]], [[0, 1, 1, 0]]])
    pred = torch.tensor([[[0.0, 1.0, 0.2, 0.1]], [[0.0, 1.0, 0.8, 0.7]]])
    singles = [_score(p, t)["maxIoU"] for p, t in zip(pred, target, strict=True)]
    assert singles == [1.0, 1.0]
    scores = OverlapScores()
    scores.update(pred, target)
    curve = scores.curves()["IoU"]
    # From 52 of 255 on the first map has lost a pixel, up to 178 the second has one too many.
    assert scores.compute()["maxIoU"] == curve.max() == pytest.approx((1 + 2 / 3) / 2)
    assert scores.compute()["meanIoU"] == pytest.approx(curve.mean().item())


@pytest.mark.parametrize(
    ("value", "target", "hard", "soft_iou"),
    [
        (0.0, 0, 0.0, 0.0),
        (0.9, 0, 0.0, 0.0),
        (0.0, 1, 0.0, 0.0),
        (0.9, 1, 1.0, 230 / 255),  # in 8 bits
        (1.0, 1, 1.0, 1.0),
    ],
)
def test_empty_and_full_masks(value, target, hard, soft_iou):
    got = _score(torch.full((1, 4, 5), value), torch.full((1, 4, 5), target))
    assert (got["mDice"], got["mIoU"]) == (hard, hard)
    assert got["mIoU_soft"] == pytest.approx(soft_iou)
    assert got["mDice_soft"] == pytest.approx(2 * soft_iou / (1 + soft_iou))
    assert all(0 <= number <= 1 for number in got.values())


class Reference:
    """PySODMetrics under our names: hard on the map as it is, swept on the 8-bit image."""

    def __init__(self) -> None:
        sod = pytest.importorskip("py_sod_metrics")
        handlers = {"Dice": sod.DICEHandler, "IoU": sod.IOUHandler}
        hard = {n: h(False, False, with_binary=True) for n, h in handlers.items()}
        swept = {n: h(True, False) for n, h in handlers.items()}
        self.hard, self.swept = sod.FmeasureV2(hard), sod.FmeasureV2(swept)

    def step(self, level: np.ndarray, mask: np.ndarray) -> None:
        self.hard.step(level.astype(np.float64) / 255, mask, normalize=False)
        self.swept.step(level, mask.astype(np.uint8) * 255)

    def compute(self) -> dict[str, float]:
        found = {f"m{n}": float(v["binary"]) for n, v in self.hard.get_results().items()}
        for name, values in self.swept.get_results().items():
            curve = values["dynamic"]
            found |= {f"mean{name}": float(curve.mean()), f"max{name}": float(curve.max())}
        return found


def _assert_equals_reference(levels, masks) -> dict[str, float]:
    scores, reference = OverlapScores(), Reference()
    for level, mask in zip(levels, masks, strict=True):
        scores.update(torch.from_numpy(level) / 255, torch.from_numpy(mask))
        reference.step(level, mask)
    got, expected = scores.compute(), reference.compute()
    assert set(got) - set(expected) == {"mDice_soft", "mIoU_soft"}
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, abs=1e-6), name
    return got


def test_random_maps_equal_pysodmetrics():
    random = np.random.default_rng(0)
    levels = [random.integers(0, 256, (9 + n, 14), np.uint8) for n in range(20)]
    levels += [np.full((5, 6), 77, np.uint8), np.zeros((5, 6), np.uint8)]
    shares = [0.0, 0.05, 0.5, 1.0] * 5 + [0.5, 0.5]
    masks = [random.random(a.shape) < share for a, share in zip(levels, shares, strict=True)]
    _assert_equals_reference(levels, masks)


@pytest.mark.parametrize("name", ["lfsd", "cod10k_sinet", "pysodmetrics"])
def test_real_maps_equal_pysodmetrics(samples, name):
    folder = samples / "metric_pairs" / name
    paths = sorted((folder / "gt").iterdir())
    levels = [np.array(Image.open(folder / "pred" / path.name).convert("L")) for path in paths]
    masks = [np.array(Image.open(path).convert("L")) > 128 for path in paths]
    got = _assert_equals_reference(levels, masks)
    assert 0.2 < got["mIoU"] < got["mDice"] < 1
    soft = []
    for level, mask in zip(levels, masks, strict=True):
        value = level.astype(np.float64) / 255
        soft.append(2 * value[mask].sum() / (value.sum() + mask.sum()))
    assert got["mDice_soft"] == pytest.approx(np.mean(soft), abs=1e-6)


def test_batches_shards_and_orders_do_not_change_a_bit():
    pred, target = _images(7)
    shards = [OverlapScores() for _ in range(3)]
    for index in (4, 0, 6, 2, 5, 1, 3):
        shards[index % 3].update(pred[index], target[index])
    joined = OverlapScores()
    for name in STATES:
        setattr(joined, name, sum(getattr(shard, name) for shard in shards))
    joined._update_count = 1
    assert joined.compute() == _score(pred, target)


def test_scores_and_curves_are_summed_over_processes():
    pred, target = _images(5)
    mine, other, whole = OverlapScores(), OverlapScores(), OverlapScores()
    mine.update(pred[:2], target[:2])
    other.update(pred[2:], target[2:])
    whole.update(pred, target)
    states = {getattr(other, name).shape: getattr(other, name) for name in STATES}
    mine.distributed_available_fn = lambda: True
    mine.dist_sync_fn = lambda state, group: [state, states[state.shape]]
    for name, curve in whole.curves().items():
        assert torch.equal(mine.curves()[name], curve)
    assert mine.compute() == whole.compute()
    assert mine.images == 2
    assert {default.dtype for default in mine._defaults.values()} == {torch.int64}


def test_only_the_chosen_measures_are_computed():
    pred, target = _images(3)
    merged: dict[str, float] = {}
    for measure in ("hard", "soft", "swept"):
        part = _score(pred, target, measures=[measure])
        assert tuple(OverlapScores((measure,)).protocol()) == tuple(part)
        merged |= part
    assert merged == _score(pred, target) and tuple(merged) == NAMES
    assert OverlapScores(("hard",)).curves() == {}
    for measures in ((), ("dice",), "hard"):
        with pytest.raises(ValueError, match=r"choose some of .'hard', 'soft', 'swept'"):
            OverlapScores(measures)


def test_each_name_says_its_protocol():
    texts = OverlapScores().protocol()
    assert tuple(texts) == NAMES
    assert "map > 0.5" in texts["mDice"] and "not thresholded" in texts["mIoU_soft"]
    assert texts["meanDice"].startswith("mean of the curve over 256 thresholds")
    assert "rounded to 8 bits" in texts["maxIoU"] and "0 for images without" in texts["mIoU"]


def test_nothing_seen_gives_nan_and_wrong_input_counts_nothing():
    scores = OverlapScores()
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert all(math.isnan(value) for value in scores.compute().values())
    with pytest.raises(ValueError, match="take the sigmoid first"):
        scores.update(torch.tensor([[-1.0, 2.0]]), torch.tensor([[0, 1]]))
    assert scores.images == 0 and not scores.score_sums.any()
    pred, target = _images(2)
    scores.update(pred[:0], target[:0])
    assert scores.images == 0
