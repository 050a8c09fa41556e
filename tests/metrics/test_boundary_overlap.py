import cv2
import numpy as np
import pytest
import torch

from rgbx.metrics import boundary, boundary_iou, boundary_width
from rgbx.metrics.boundary_overlap import erode

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def blobs(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Random shapes: some touch the edge, some have holes, some are specks."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        coarse = rng.standard_normal((3 + index % 7, 4 + index % 5)).astype(np.float32)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        found.append(
            torch.from_numpy(smooth > np.quantile(smooth, (0.1, 0.5, 0.8, 0.97)[index % 4]))
        )
    return torch.stack(found)


def opencv_boundary(mask: torch.Tensor, width: int) -> np.ndarray:
    """The definition, step by step: a frame of zeros, ``width`` erosions with a 3 x 3 square."""
    framed = cv2.copyMakeBorder(mask.numpy().astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    eroded = cv2.erode(framed, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
    return (mask.numpy() - eroded).astype(bool)


def opencv_iou(mask: torch.Tensor, target: torch.Tensor, width: int) -> float:
    a, b = opencv_boundary(mask, width), opencv_boundary(target, width)
    union = (a | b).sum()
    return (a & b).sum() / union if union else 0.0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [(60, 83), (128, 64), (31, 200)])
@pytest.mark.parametrize("width", [1, 2, 3, 7, 12])
def test_boundary_equals_opencv_erosion(size, width, device):
    masks = blobs(12, *size, seed=width)
    touching = masks[:, 0].any(1) | masks[:, -1].any(1) | masks[:, :, 0].any(1)
    assert touching.sum() > 3
    got = boundary(masks.to(device), width).cpu().numpy()
    for mask, edge in zip(masks, got, strict=True):
        assert np.array_equal(edge, opencv_boundary(mask, width))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("share", [0.02, 0.1])
def test_boundary_iou_equals_opencv(share, device):
    masks = blobs(16, 90, 140)
    target = blobs(5, 90, 140, seed=3)[4]
    width = boundary_width((90, 140), share)
    expected = [opencv_iou(mask, target, width) for mask in masks]
    assert len(set(expected)) > 10
    got = boundary_iou(masks.to(device), target.to(device), share)
    assert got.tolist() == expected
    assert (got.dtype, got.device.type) == (torch.float64, "cpu")


def test_random_noise_equals_opencv():
    masks = torch.rand(6, 40, 40, generator=torch.Generator().manual_seed(1)) < 0.9
    for mask in masks:
        assert np.array_equal(boundary(mask, 1).numpy(), opencv_boundary(mask, 1))


def test_full_mask_has_its_boundary_at_the_border():
    edge = boundary(torch.ones(1, 20, 30, dtype=torch.bool), 4)[0]
    assert int(edge.sum()) == 20 * 30 - 12 * 22
    assert not edge[4:16, 4:26].any()


@pytest.mark.parametrize("size", [(7, 30), (30, 7), (3, 3), (1, 1)])
def test_images_no_larger_than_the_square_are_all_boundary(size):
    masks = torch.ones(2, *size, dtype=torch.bool)
    assert torch.equal(boundary(masks, 4), masks)
    assert erode(masks, 4).numel() == 0


@pytest.mark.parametrize(
    ("size", "share", "width"),
    # diagonals: 1802.78, 50, 5, 500
    [((1000, 1500), 0.02, 36), ((30, 40), 0.02, 1), ((3, 4), 0.02, 1), ((300, 400), 0.05, 25)],
)
def test_width_is_a_share_of_the_diagonal(size, share, width):
    assert boundary_width(size, share) == width


def test_empty_masks():
    masks = torch.zeros(2, 40, 40, dtype=torch.bool)
    masks[1, 5:9, 5:9] = True
    assert boundary_iou(masks, masks[0]).tolist() == [0, 0]  # 0 / 0, and 0 / 16
    assert boundary_iou(masks, masks[1]).tolist() == [0, 1]
    assert boundary_iou(masks[:0], masks[1]).shape == (0,)


def test_known_overlap_of_two_squares():
    masks = torch.zeros(2, 100, 100, dtype=torch.bool)
    masks[0, 20:60, 20:60] = True
    masks[1, 20:60, 23:63] = True  # 3 px to the right; d = round(0.02 * 141.4) = 3
    # Outlines are frames of width 3: 1600 - 34^2 = 444 px. The left bars (columns 20-22 and
    # 23-25) do not meet, nor do the right ones (57-59, 60-62): common are the top and bottom
    # bars, 2 * 3 rows * 37 columns.
    common = 2 * 3 * 37
    assert boundary_iou(masks[:1], masks[1]).item() == common / (2 * 444 - common)


def test_input_is_left_alone():
    masks = blobs(3, 50, 60)
    before = masks.clone()
    boundary_iou(masks, masks[0])
    boundary(masks, 2)
    assert torch.equal(masks, before)
