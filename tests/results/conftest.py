import dataclasses

import pytest
import torch

from rgbx.metrics import Evaluator, SegmentationScores
from rgbx.results import CheckpointRecord, DataRecord, ModelRecord, TestResult, make_result

CLASSES = ("unlabelled", "car", "person")
# Day: 0 0 0 1 predicted as 0 0 1 1; night: 0 0 0 0 predicted perfectly. Class 2 is absent.
DAY = torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 0, 0, 1]])
NIGHT = torch.zeros(1, 4, dtype=torch.int64), torch.zeros(1, 4, dtype=torch.int64)


@pytest.fixture
def result() -> TestResult:
    scores = SegmentationScores(len(CLASSES))
    evaluator = Evaluator(scores, ("test",), ("day", "night"))
    evaluator.update("test", "day", *DAY)
    evaluator.update("test", "night", *NIGHT)
    return make_result(
        paper="taseg",
        model=ModelRecord("rgbx.models.taseg.module.TASeg", {"encoder": "tiny", "rank": 16}),
        data=DataRecord("rgbx.data.datasets.mfnet.MFNet", "ir_seg_dataset", {"test": 393}, CLASSES),
        checkpoint=CheckpointRecord("best.ckpt", "ab" * 32, epoch=4, step=120),
        scores=evaluator.results(),
        protocol=scores.protocol(),
        seed=7,
    )


@pytest.fixture
def without_nan(result: TestResult) -> TestResult:
    """A result that can be compared with ==, as NaN is unequal to itself."""
    numbers = {"test": {"all": {"miou": 0.5}}}
    return dataclasses.replace(result, numbers=numbers, classes={})
