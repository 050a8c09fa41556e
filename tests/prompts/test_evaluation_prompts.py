import numpy as np
import pytest
import torch

from rgbx.errors import DataError, RGBXError
from rgbx.prompts import COUNTS, KINDS, box_iou, evaluation_prompts, tight_box

MASK = np.zeros((128, 160), np.float32)
MASK[20:90, 30:130] = 1
GOLDEN_BOXES = [[40.7438, 3.7688, 124.0781, 88.0587], [30.2231, 26.1137, 90.5548, 75.3115]]
GOLDEN_POINTS = [[107, 81], [65, 63], [89, 51]]


def equal(a, b):
    return a.keys() == b.keys() and all(
        torch.equal(a[k], b[k]) if isinstance(a[k], torch.Tensor) else a[k] == b[k] for k in a
    )


def test_settings_of_the_tables():
    assert KINDS == ("box", "noisy_box", "point_1", "point_3", "point_5", "point_10")
    assert list(COUNTS.values()) == [1, 20, 20, 20, 20, 20]


def test_same_key_same_prompts_whatever_was_drawn_before():
    for kind in (*KINDS, "coarse_mask"):
        first = evaluation_prompts(MASK, kind, 20, "DIS/a")
        np.random.default_rng(3).random(5)
        torch.manual_seed(1)
        again = evaluation_prompts(MASK, kind, 5, "DIS/a")
        assert len(first) == 20 and all(map(equal, first, again)), kind
        assert all(prompt["kind"] == kind for prompt in first)
        if kind != "box":
            other = evaluation_prompts(MASK, kind, 5, "COIFT/a")
            assert not any(map(equal, again, other)), kind
            assert not equal(first[0], first[1]), kind


def test_golden_values():
    # written down once: another release must not draw other prompts
    drawn = evaluation_prompts(MASK, "noisy_box", 2, "DIS/a")
    expected = torch.tensor(GOLDEN_BOXES)
    torch.testing.assert_close(torch.stack([p["box"] for p in drawn]), expected, atol=1e-4, rtol=0)
    assert evaluation_prompts(MASK, "point_3", 1, "DIS/a")[0]["points"].tolist() == GOLDEN_POINTS


def test_forms_and_overlap():
    assert torch.equal(evaluation_prompts(MASK, "box", 1, "k")[0]["box"], tight_box(MASK))
    points = evaluation_prompts(MASK, "point_7", 2, "k")
    assert all(p["points"].shape == (7, 2) and p["labels"].tolist() == [1] * 7 for p in points)
    boxes = evaluation_prompts(MASK, "noisy_box", 300, "k")
    tight = tight_box(MASK).double().numpy()
    iou = box_iou(torch.stack([p["box"] for p in boxes]).double().numpy(), tight)
    assert iou.min() < 0.48  # no floor in evaluation
    ranged = evaluation_prompts(MASK, "noisy_box", 50, "k", iou_range=(0.6, 0.7))
    iou = box_iou(torch.stack([p["box"] for p in ranged]).double().numpy(), tight)
    assert iou.min() >= 0.6 and iou.max() < 0.7


def test_errors():
    for kind in ("boxes", "point_0", "point_", "points"):
        with pytest.raises(RGBXError, match=f"'{kind}' is no kind of prompt"):
            evaluation_prompts(MASK, kind, 1, "k")
    with pytest.raises(DataError, match=r"The mask of DIS/a \(4 x 5\) is empty"):
        evaluation_prompts(np.zeros((4, 5)), "box", 1, "DIS/a")
