"""SaliencyScores as a metric: states, switches, casts, bad input."""

import math
import pickle

import pytest
import torch
from torch import Tensor

from rgbx.metrics import Evaluator, SaliencyScores

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
        ([[3, 255]], MASK, "got torch.int64 and torch.int64; divide a grey image by 255"),
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


def test_beta_of_the_weighted_f_stands_in_its_name_and_sentence():
    pred, target = _images(2)
    usual, other = _score(pred, target), _score(pred, target, wf_beta2=0.3)
    assert [name for name in other if name not in usual] == ["wF_0.3"]
    assert list(other).index("wF_0.3") == list(usual).index("wF")
    assert all(other[name] == usual[name] for name in set(usual) - {"wF"})
    assert abs(other["wF_0.3"] - usual["wF"]) > 1e-3
    assert SaliencyScores().protocol()["wF"].startswith("beta 1, ")
    assert SaliencyScores(wf_beta2=0.3).protocol()["wF_0.3"].startswith("beta^2 0.3, ")
    for beta2 in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"wf_beta2=.*: give a finite number above 0"):
            SaliencyScores(wf_beta2=beta2)
