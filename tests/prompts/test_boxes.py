import numpy as np
import pytest
import torch

from rgbx.errors import DataError
from rgbx.prompts import box_iou, move_boxes, noisy_box, tight_box

FAR = (10_000, 10_000)
BOX = torch.tensor([4000.0, 4000.0, 4300.0, 4120.0])


def overlaps(count, **conditions):
    rng = np.random.default_rng(0)
    boxes = torch.stack([noisy_box(BOX, rng, FAR, **conditions) for _ in range(count)])
    return box_iou(boxes.numpy().astype(np.float64), BOX.numpy().astype(np.float64))


def test_statistics_of_the_noise():
    draws = np.random.default_rng(0).uniform(-1, 1, (500_000, 4))
    box = BOX.numpy().astype(np.float64)
    iou = box_iou(move_boxes(box, draws, 0.4), box)
    assert iou.mean() == pytest.approx(0.601, abs=0.005)
    assert np.median(iou) == pytest.approx(0.594, abs=0.005)
    assert iou.min() == pytest.approx(0.361, abs=0.005)
    assert (iou >= 0.5).mean() == pytest.approx(0.906, abs=0.005)
    assert ((iou >= 0.5) & (iou < 0.6)).mean() == pytest.approx(0.436, abs=0.005)
    assert ((iou >= 0.6) & (iou < 0.7)).mean() == pytest.approx(0.346, abs=0.005)


def test_extreme_draws_by_hand():
    box = np.array([0.0, 0.0, 100.0, 50.0])
    moved = move_boxes(box, np.array([[0, 0, 0, 0], [1, 0, 0, 0], [0, -1, 1, -1]]), 0.4)
    assert moved.tolist() == [[0, 0, 100, 50], [20, 0, 120, 50], [-20, 0, 120, 30]]
    assert box_iou(moved, box) == pytest.approx([1, 80 / 120, 3000 / (5000 + 4200 - 3000)])


def test_drawn_boxes_have_the_statistics_of_the_rule():
    iou = overlaps(4000)
    assert iou.mean() == pytest.approx(0.601, abs=0.01) and iou.min() < 0.45


def test_training_boxes_reach_their_least_overlap():
    iou = overlaps(2000, min_iou=0.5)
    assert iou.min() >= 0.5 and (iou < 0.6).mean() > 0.4


@pytest.mark.parametrize("limits", [(0.5, 0.6), (0.6, 0.7)])
def test_overlap_ranges_of_coco(limits):
    iou = overlaps(2000, iou_range=limits)
    assert iou.min() >= limits[0] and iou.max() < limits[1]
    assert np.ptp(iou) > 0.09


def test_hopeless_conditions():
    rng = np.random.default_rng(0)
    assert torch.equal(noisy_box(BOX, rng, FAR, min_iou=0.9999), BOX)
    # 200 draws cannot reach [0.1, 0.2): the one nearest to 0.15 is the one of least overlap
    assert overlaps(20, iou_range=(0.1, 0.2)).max() < 0.5
    assert overlaps(20, iou_range=(0.1, 0.2), tries=1).max() > 0.6


def test_boxes_end_at_the_frame_and_conditions_look_at_what_is_returned():
    rng = np.random.default_rng(0)
    box = torch.tensor([0.0, 0.0, 64.0, 48.0])
    drawn = torch.stack([noisy_box(box, rng, (48, 64), min_iou=0.5) for _ in range(300)])
    assert drawn.min() == 0 and drawn[:, 2].max() == 64 and drawn[:, 3].max() == 48
    assert (drawn[:, 2:] > drawn[:, :2]).all() and drawn.dtype == torch.float32
    assert box_iou(drawn.double().numpy(), box.double().numpy()).min() >= 0.5


def test_tight_box_ends_on_the_last_pixel():
    mask = np.zeros((40, 30), np.uint8)
    mask[5:9, 7:20] = 255
    mask[30, 29] = 128  # not foreground: only more than 128 is
    assert tight_box(mask).tolist() == [7, 5, 19, 8]
    mask[30, 29] = 129
    assert tight_box(mask).tolist() == [7, 5, 29, 30]


def test_every_scale_of_masks_gives_the_same_box():
    mask = np.random.default_rng(0).integers(0, 256, (20, 20), np.uint8)
    mask[:3] = 128
    soft = (mask / 255).astype(np.float32)
    expected = tight_box(mask)
    for same in (soft, torch.from_numpy(soft), mask > 128, (mask > 128).astype(np.int64)):
        assert torch.equal(tight_box(same), expected)


def test_full_one_pixel_and_empty_masks():
    assert tight_box(np.ones((8, 6), bool)).tolist() == [0, 0, 5, 7]
    single = np.zeros((8, 6), bool)
    single[3, 2] = True
    box = tight_box(single)
    assert box.tolist() == [2, 3, 2, 3]
    rng = np.random.default_rng(0)
    for conditions in ({}, {"min_iou": 0.5}, {"iou_range": (0.5, 0.6)}):
        assert torch.equal(noisy_box(box, rng, (8, 6), **conditions), box)
    with pytest.raises(DataError, match=r"The mask \(8 x 6\) is empty: no pixel exceeds 128 of"):
        tight_box(np.zeros((8, 6)))
