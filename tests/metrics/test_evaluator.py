import math
import os
import warnings
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torchmetrics.classification import BinaryJaccardIndex

from rgbx.metrics import Evaluator, SegmentationScores
from tests.processes import two_ranks

CLASSES = 4


def _samples(count: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    for index in range(count):
        target = torch.randint(0, CLASSES, (8, 9), generator=generator)
        noise = torch.randint(0, CLASSES, (8, 9), generator=generator)
        keep = torch.rand(8, 9, generator=generator) < 0.3 + 0.1 * (index % 5)
        yield ("day", "night", "")[index % 3], torch.where(keep, target, noise), target


def _evaluator() -> Evaluator:
    return Evaluator(SegmentationScores(CLASSES), ("val", "test"), ("day", "night"))


def test_day_and_night_matrices_sum_to_all():
    evaluator = _evaluator()
    for subset, pred, target in _samples(8):
        if subset:
            evaluator.update("test", subset, pred, target)
    day, night, whole = (evaluator.metric("test", name) for name in ("day", "night", "all"))
    assert torch.equal(day.confusion + night.confusion, whole.confusion)
    assert (day.images + night.images, whole.images) == (6, 6)
    assert whole.confusion.sum() == 6 * 72


def test_each_subset_scores_its_own_images():
    evaluator = _evaluator()
    alone = {name: SegmentationScores(CLASSES) for name in ("day", "night", "all")}
    for subset, pred, target in _samples(9):
        evaluator.update("test", subset, pred, target)
        for name in {subset, "all"} - {""}:
            alone[name].update(pred, target)
    results = evaluator.results()["test"]
    assert list(results) == ["all", "day", "night"]
    for name, metric in alone.items():
        assert results[name]["miou"] == metric.compute()["miou"]
        assert results[name]["miou_image"] == metric.compute()["miou_image"]
    assert results["all"]["support"].sum() == 9 * 72


def test_splits_are_separate_and_empty_ones_are_nan_without_a_warning():
    evaluator = _evaluator()
    mask = torch.zeros(2, 2).long()
    evaluator.update("val", "day", mask, mask)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = evaluator.results()
    assert results["val"]["day"]["miou"] == 1.0
    assert math.isnan(results["val"]["night"]["miou"])
    assert math.isnan(results["test"]["all"]["miou"])


def test_reset_of_one_split_leaves_the_other():
    evaluator = _evaluator()
    mask = torch.zeros(2, 2).long()
    evaluator.update("val", "day", mask, mask)
    evaluator.update("test", "day", mask, mask)
    evaluator.reset("val")
    assert evaluator.metric("val", "day").confusion.sum() == 0
    assert evaluator.metric("val").confusion.sum() == 0
    assert evaluator.metric("test").confusion.sum() == 4
    evaluator.reset()
    assert evaluator.metric("test").confusion.sum() == 0


def test_prototype_is_copied():
    prototype = SegmentationScores(CLASSES)
    evaluator = Evaluator(prototype, ("test",))
    evaluator.update("test", "", torch.zeros(2, 2).long(), torch.zeros(2, 2).long())
    assert prototype.confusion.sum() == 0
    assert evaluator.metric("test").confusion.sum() == 4


def test_moves_with_its_module_and_leaves_no_trace_in_checkpoints():
    module = nn.Module()
    module.evaluator = _evaluator()
    module.to("meta")
    assert {m.confusion.device.type for m in module.evaluator._metrics} == {"meta"}
    assert module.state_dict() == {}
    assert list(module.parameters()) == []


def test_half_precision_modules_keep_whole_counts():
    module = nn.Module()
    module.evaluator = _evaluator()
    module.half()
    assert module.evaluator.metric("val").confusion.dtype == torch.int64


def test_any_metric_with_prediction_and_target():
    evaluator = Evaluator(BinaryJaccardIndex(), ("train",), ("a.b",))
    evaluator.update("train", "a.b", torch.tensor([0.9, 0.1, 0.8]), torch.tensor([1, 0, 0]))
    assert evaluator.compute("train")["a.b"]["BinaryJaccardIndex"].item() == 0.5


def test_unknown_names_are_refused():
    evaluator = _evaluator()
    mask = torch.zeros(2, 2).long()
    with pytest.raises(ValueError, match=r"split 'train', subset 'day'; the splits are \('val'"):
        evaluator.update("train", "day", mask, mask)
    with pytest.raises(ValueError, match=r"subset 'dusk'; .*\('all', 'day', 'night'\)"):
        evaluator.update("test", "dusk", mask, mask)
    assert evaluator.metric("test").confusion.sum() == 0  # nothing counted in "all" either


@pytest.mark.parametrize(
    ("splits", "subsets"), [(("a", "a"), ()), (("a",), ("all",)), (("a",), ("",))]
)
def test_ambiguous_names_are_refused(splits, subsets):
    with pytest.raises(ValueError, match="needs its own name"):
        Evaluator(SegmentationScores(CLASSES), splits, subsets)


def _rank(folder: Path) -> None:
    rank, meeting = int(os.environ["LOCAL_RANK"]), f"file://{folder}/rendezvous"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    evaluator = _evaluator()
    for index, (subset, pred, target) in enumerate(_samples(7)):
        if index % 2 == rank:
            evaluator.update("test", subset, pred, target)
    torch.save(evaluator.compute("test"), folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    two_ranks(_rank, tmp_path, cwd=tmp_path)
    alone = _evaluator()
    for subset, pred, target in _samples(7):
        alone.update("test", subset, pred, target)
    expected = alone.compute("test")
    for rank in range(2):
        got = torch.load(tmp_path / f"{rank}.pt")
        for subset, scores in expected.items():
            assert {k: v for k, v in got[subset].items() if isinstance(v, float)} == {
                k: v for k, v in scores.items() if isinstance(v, float)
            }


def test_what_is_watched_are_the_scores_of_each_update_by_itself():
    evaluator, expected = _evaluator(), []
    subset, pred, target = next(_samples(1))
    evaluator.update("val", subset, pred, target)  # not watched
    evaluator.watch()
    for subset, pred, target in _samples(5):
        evaluator.update("test", subset, pred, target)
        alone = SegmentationScores(CLASSES)
        alone.update(pred, target)
        expected.append(alone.compute())
    watched = evaluator.watched()
    assert [scores["miou_image"] for scores in watched] == [e["miou_image"] for e in expected]
    assert all(
        torch.equal(a["support"], b["support"]) for a, b in zip(watched, expected, strict=True)
    )
    assert evaluator.watched() == []
    whole = evaluator.compute("test")["all"]["miou_image"]
    assert whole == pytest.approx(sum(e["miou_image"] for e in expected) / 5, abs=1e-9)
