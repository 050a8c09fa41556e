"""One catalogue of scores: names, units, directions, scopes, and that every metric is in it."""

import subprocess
import sys

import pytest
import torch
from torchmetrics import Metric

from rgbx.metrics import (
    Evaluator,
    OverlapScores,
    PromptScores,
    SaliencyScores,
    SegmentationScores,
    ShadowScores,
)
from rgbx.metrics.catalogue import CATALOGUE, family_metrics, is_metric, metric_info


@pytest.mark.parametrize(
    "metric",
    [
        SegmentationScores(3),
        SaliencyScores(),
        SaliencyScores(wf_beta2=0.3),
        ShadowScores(),
        OverlapScores(),
        PromptScores(("box", "noisy_box")),
    ],
    ids=lambda metric: type(metric).__name__,
)
def test_every_score_of_a_metric_is_known_with_its_sentence(metric):
    target = torch.zeros(8, 8, dtype=torch.int64)
    target[2:6, 2:6] = 1
    prediction = target if isinstance(metric, SegmentationScores) else target.float()
    if isinstance(metric, PromptScores):
        masks = target.bool().expand(2, 8, 8)
        metric.update({"box": masks[:1], "noisy_box": masks}, target.bool())
    else:
        metric.update(prediction, target)
    names = [n for n, value in metric.compute().items() if not getattr(value, "ndim", 0)]
    sentences = metric.protocol()
    assert names and all(map(is_metric, names))
    for name in names:
        sentence = sentences[name.rpartition("/")[2]]
        assert sentence and "{" not in sentence


@pytest.mark.parametrize(
    ("name", "family", "unit", "higher", "scope"),
    [
        ("miou", "classes", "percent", True, "set"),
        ("miou_image", "classes", "percent", True, "image"),
        ("S", "saliency", "fraction", True, "image"),
        ("MAE@input", "saliency", "fraction", False, "image"),
        ("wF_0.3@input", "saliency", "fraction", True, "image"),
        ("maxF", "saliency", "fraction", True, "set"),
        ("BER", "shadow", "percent", False, "set"),
        ("mIoU", "polyp", "fraction", True, "image"),
        ("maxDice", "polyp", "fraction", True, "set"),
        ("noisy_box/mIoU", "prompts", "percent", True, "image"),
        ("noisy_box_0.5-0.6/AP", "instances", "percent", True, "set"),
        ("rmse", "other", "percent", True, "image"),
    ],
)
def test_names_of_results_are_understood(name, family, unit, higher, scope):
    info = metric_info(name)
    found = (info.family, info.unit, info.higher_is_better, info.scope)
    assert found == (family, unit, higher, scope)
    assert is_metric(name) is (family != "other")


def test_no_name_stands_for_two_scores_of_a_family():
    keys = [(info.family, info.name) for info in CATALOGUE]
    assert len(set(keys)) == len(keys) == 40
    assert family_metrics("saliency", rank=2) == ("S", "maxF", "maxE", "MAE")
    assert family_metrics("saliency", rank=1) == ("S", "MAE")


def test_the_catalogue_needs_no_torch():
    code = "import sys, rgbx.metrics.catalogue, rgbx.results; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


class Median(Metric):
    """A score whose state is a list, as of torchmetrics' own curves."""

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("errors", default=[], dist_reduce_fx="cat")

    def update(self, prediction, target) -> None:
        self.errors.append((prediction - target).abs().flatten())

    def compute(self):
        return {"median": torch.cat([part.reshape(-1) for part in self.errors]).median()}


def test_a_metric_with_a_list_state_has_scores_of_every_image():
    evaluator = Evaluator(Median(), ("test",))
    evaluator.watch()
    for error in (1.0, 2.0, 9.0):
        evaluator.update("test", "", torch.full((2, 2), error), torch.zeros(2, 2))
    assert [float(scores["median"]) for scores in evaluator.watched()] == [1, 2, 9]
    assert float(evaluator.results()["test"]["all"]["median"]) == 2
