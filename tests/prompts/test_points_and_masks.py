import cv2
import numpy as np
import pytest
import torch

from rgbx.errors import DataError
from rgbx.prompts import coarse_mask, foreground, random_points


def disc(size=128, radius=40):
    y, x = np.mgrid[:size, :size]
    distance = np.hypot(y - size / 2, x - size / 2)
    return np.clip(radius - distance + 0.5, 0, 1).astype(np.float32)


def test_points_are_different_pixels_of_the_object():
    mask = disc(32, 6)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(200):
        points = random_points(mask, 10, rng)
        assert points.shape == (10, 2) and points.dtype == torch.float32
        places = {tuple(p) for p in points.int().tolist()}
        assert len(places) == 10
        assert all(foreground(mask)[y, x] for x, y in places)
        seen |= places
    assert len(seen) == foreground(mask).sum()  # all of them can be drawn


def test_few_pixels_repeat():
    mask = np.zeros((9, 7), np.uint8)
    mask[4, 5] = 255
    points = random_points(mask, 3, np.random.default_rng(0))
    assert points.tolist() == [[5, 4]] * 3
    mask[8, 0] = 255
    drawn = random_points(mask, 50, np.random.default_rng(0)).tolist()
    assert {tuple(p) for p in drawn} == {(5, 4), (0, 8)}
    with pytest.raises(DataError, match="is empty"):
        random_points(np.zeros((4, 4)), 1, np.random.default_rng(0))


def test_threshold_is_above_128_of_255_for_every_type():
    values = np.array([[0, 127, 128, 129, 255]], np.uint8)
    expected = [[False, False, False, True, True]]
    assert foreground(values).tolist() == expected
    assert foreground(values.astype(np.float32) / np.float32(255)).tolist() == expected
    assert foreground(torch.tensor(values.tolist()) / 255).tolist() == expected
    assert foreground(np.array([[0, 1, 2]])).tolist() == [[False, True, True]]


def test_coarse_mask_is_noise_on_the_border_only():
    mask = disc()
    drawn = coarse_mask(mask, np.random.default_rng(0))
    assert drawn.shape == (1, 32, 32) and drawn.dtype == torch.float32
    assert set(drawn.unique().tolist()) == {0, 255}
    small = cv2.resize(mask, (32, 32), interpolation=cv2.INTER_LINEAR)
    detour = cv2.resize(cv2.resize(small, (4, 4)), (32, 32))
    border = np.abs(detour - small) >= 0.01
    assert 0.2 < border.mean() < 0.8
    wrong = drawn[0].numpy() != 255 * (small > 0.5)
    assert not wrong[~border].any()
    assert 0.2 < wrong[border].mean() < 0.45  # P(|N(0, 1)| > 0.5 on one side) = 0.31


def test_coarse_mask_values_sizes_and_seed():
    mask = disc()
    rng = np.random.default_rng
    low, high = coarse_mask(mask, rng(1), scale="logits").unique().tolist()
    assert (low, high) == (-10, 10)
    assert coarse_mask(mask, rng(1), size=(20, 24)).shape == (1, 20, 24)
    assert torch.equal(coarse_mask(mask, rng(1)), coarse_mask(mask, rng(1)))
    assert not torch.equal(coarse_mask(mask, rng(1)), coarse_mask(mask, rng(2)))
    assert (coarse_mask(np.ones((64, 64)), rng(0)) == 255).all()  # a full mask has no border
    assert (coarse_mask(np.zeros((64, 64)), rng(0)) == 0).all()
