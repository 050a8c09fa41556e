"""The balanced error rate: by hand, against PySODMetrics, in any order and over processes."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from rgbx.metrics import ShadowScores

STATES = ("pixels", "image_errors", "images")


def _score(pred, target, **options) -> dict[str, float]:
    scores = ShadowScores(**options)
    scores.update(torch.as_tensor(pred), torch.as_tensor(target))
    return scores.compute()


def _images(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = (
        torch.rand(count, 13, 17, generator=generator)
        < torch.linspace(0.1, 0.7, count)[:, None, None]
    )
    return (0.6 * torch.rand(target.shape, generator=generator) + 0.3 * target), target


def _joined(parts: list[ShadowScores]) -> dict[str, float]:
    whole = ShadowScores()
    for name in STATES:
        setattr(whole, name, sum(getattr(part, name) for part in parts))
    whole._update_count = 1
    return whole.compute()


HALF = [[0, 0, 1, 1], [0, 1, 1, 1]]


@pytest.mark.parametrize(
    ("pred", "rate"),
    [
        (torch.tensor(HALF).float(), 0.0),
        (torch.zeros(2, 4), 0.5),
        (torch.ones(2, 4), 0.5),
        (1 - torch.tensor(HALF).float(), 1.0),
    ],
    ids=["perfect", "all background", "all shadow", "inverted"],
)
def test_0_50_and_100_percent(pred, rate):
    assert _score(pred, HALF) == {"BER": rate, "BER_image": rate}


def test_the_set_and_the_image_mode_differ():
    # 8 pixels: 1 of 1 shadow, 7 of 7 light; then 1 of 4 shadow, 2 of 4 light.
    pred = torch.tensor([[[1.0] + [0.0] * 7], [[1.0, 0, 0, 0, 1.0, 1.0, 0, 0]]])
    target = torch.tensor([[[1] + [0] * 7], [[1, 1, 1, 1, 0, 0, 0, 0]]])
    scores = _score(pred, target)
    assert scores["BER"] == pytest.approx(1 - (2 / 5 + 9 / 11) / 2)
    assert scores["BER_image"] == pytest.approx((0 + (1 - (1 / 4 + 2 / 4) / 2)) / 2)
    assert scores["BER"] - scores["BER_image"] > 0.07


@pytest.mark.parametrize(
    ("pred", "target", "rate"),
    [
        ([0.9, 0.1, 0.1, 0.1], [0, 0, 0, 0], 0.25),  # one of four light pixels is wrong
        ([0.9, 0.9, 0.1, 0.9], [1, 1, 1, 1], 0.25),
        ([0.1, 0.1], [0, 0], 0.0),
        ([0.1, 0.1], [1, 1], 1.0),
    ],
)
def test_a_class_that_an_image_lacks_has_no_term(pred, target, rate):
    scores = ShadowScores()
    scores.update(torch.tensor([pred]), torch.tensor([target]))
    assert scores.compute() == {"BER": rate, "BER_image": rate}
    scores.update(torch.tensor([[1.0, 0.0]]), torch.tensor([[1, 0]]))
    assert scores.compute()["BER_image"] == rate / 2


def test_the_threshold_decides_and_is_said():
    grey = torch.tensor([[125, 126, 127, 128]])
    level = grey / 255
    target = torch.tensor([[1, 1, 1, 1]])
    assert _score(level, target)["BER"] == 0.75
    assert _score(level, target, threshold=125 / 255)["BER"] == 0.25
    assert _score(grey.double() / 255, target, threshold=125 / 255)["BER"] == 0.25
    assert all("map > 0.5 is shadow" in text for text in ShadowScores().protocol().values())
    texts = ShadowScores(125 / 255).protocol()
    assert all("map > 125/255 is shadow" in text for text in texts.values())
    assert "over the whole set" in texts["BER"] and "each image" in texts["BER_image"]
    with pytest.raises(ValueError, match="threshold=1: give a number from 0 to below 1"):
        ShadowScores(1)


def _reference(levels: list[np.ndarray], masks: list[np.ndarray], sample_based: bool) -> float:
    sod = pytest.importorskip("py_sod_metrics")
    handler = sod.BERHandler(False, False, with_binary=True, sample_based=sample_based)
    scores = sod.FmeasureV2({"BER": handler})
    for level, mask in zip(levels, masks, strict=True):
        scores.step(level.astype(np.float64) / 255, mask, normalize=False)
    return float(scores.get_results()["BER"]["binary"])


def test_random_maps_equal_pysodmetrics_in_both_modes():
    random = np.random.default_rng(0)
    levels = [random.integers(0, 256, (9 + n, 14), np.uint8) for n in range(20)]
    masks = [random.random(level.shape) < (0.1, 0.6)[n % 2] for n, level in enumerate(levels)]
    scores = ShadowScores()
    for level, mask in zip(levels, masks, strict=True):
        scores.update(torch.from_numpy(level) / 255, torch.from_numpy(mask))
    got = scores.compute()
    assert got["BER"] == pytest.approx(_reference(levels, masks, False), abs=1e-6)
    assert got["BER_image"] == pytest.approx(_reference(levels, masks, True), abs=1e-6)


def test_pysodmetrics_counts_a_missing_class_as_wrong():
    levels, masks = [np.array([[255, 0]], np.uint8)], [np.array([[False, False]])]
    assert _reference(levels, masks, True) == pytest.approx(0.75)  # ours: one of two, 0.5
    assert _score(torch.from_numpy(levels[0]) / 255, masks[0])["BER_image"] == 0.5


@pytest.mark.parametrize("name", ["lfsd", "cod10k_sinet"])
def test_real_maps_equal_pysodmetrics(samples, name):
    folder = samples / "metric_pairs" / name
    scores, levels, masks = ShadowScores(), [], []
    for path in sorted((folder / "gt").iterdir()):
        levels.append(np.array(Image.open(folder / "pred" / path.name).convert("L")))
        masks.append(np.array(Image.open(path).convert("L")) > 128)
        scores.update(torch.from_numpy(levels[-1]) / 255, torch.from_numpy(masks[-1]))
    got = scores.compute()
    assert 0.01 < got["BER"] < 0.5
    assert got["BER"] == pytest.approx(_reference(levels, masks, False), abs=1e-6)
    assert got["BER_image"] == pytest.approx(_reference(levels, masks, True), abs=1e-6)


def test_batches_shards_and_orders_do_not_change_a_bit():
    pred, target = _images(7)
    shards = [ShadowScores() for _ in range(3)]
    for index in (4, 0, 6, 2, 5, 1, 3):
        shards[index % 3].update(pred[index], target[index])
    assert _joined(shards) == _score(pred, target)
    assert 0 < _score(pred, target)["BER"] < 0.5


def test_scores_are_summed_over_processes():
    pred, target = _images(5)
    mine, other = ShadowScores(), ShadowScores()
    mine.update(pred[:2], target[:2])
    other.update(pred[2:], target[2:])
    theirs = iter([getattr(other, name) for name in STATES])
    mine.distributed_available_fn = lambda: True
    mine.dist_sync_fn = lambda state, group: [state, next(theirs)]
    assert mine.compute() == _score(pred, target)
    assert mine.images == 2
    assert {default.dtype for default in mine._defaults.values()} == {torch.int64}


def test_nothing_seen_gives_nan_and_reset_forgets():
    scores = ShadowScores()
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert all(math.isnan(value) for value in scores.compute().values())
    pred, target = _images(3)
    scores.update(1 - pred, target)
    scores.reset()
    scores.update(pred, target)
    scores.update(pred[:0], target[:0])
    assert scores.compute() == _score(pred, target)


@pytest.mark.parametrize("coding", [torch.bool, torch.uint8, torch.int64])
def test_mask_codings_are_equal(coding):
    pred, target = _images(3)
    assert _score(pred, target.to(coding)) == _score(pred, target.to(torch.uint8) * 255)


@pytest.mark.parametrize(
    ("pred", "target", "message"),
    [
        ([[0.5, 1.0, 0.0]], [[0, 1]], r"same size, got shapes \(1, 3\) and \(1, 2\)"),
        ([[-3.5, 7.0]], [[0, 1]], r"outside \[0, 1\]; take the sigmoid first"),
        ([[0.5, math.nan]], [[0, 1]], "Prediction holds NaN"),
        ([[0.5, 1.0]], [[0.0, 1.0]], "threshold a grey mask"),
    ],
)
def test_wrong_input_is_refused_and_counts_nothing(pred, target, message):
    scores = ShadowScores()
    with pytest.raises(ValueError, match=message):
        scores.update(torch.tensor(pred), torch.tensor(target))
    assert scores.images == 0 and not scores.pixels.any()
