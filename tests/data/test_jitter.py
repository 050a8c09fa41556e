import numpy as np
import pytest

from rgbx.data.transforms.augment import Raw, Statistics
from rgbx.data.transforms.jitter import LargeScaleJitter

STATISTICS = Statistics((0.5,) * 3, (0.25,) * 3, 0, 1)


def image(height=60, width=90, box=(10, 40, 20, 70)):
    """A bright object on black; red runs with y, green with x, so that places can be told."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([2 * y, 2 * x, np.zeros_like(x)], axis=2).astype(np.uint8)
    mask = np.zeros((height, width), np.float32)
    mask[box[0] : box[1], box[2] : box[3]] = 1
    rgb[mask > 0, 2] = 255
    return Raw(rgb, None, mask)


def jitter(size=(64, 64), **options):
    return LargeScaleJitter(size, STATISTICS, **{"flip": 0.0, **options})


def test_scale_one_shows_the_whole_image_in_its_proportions():
    framed = jitter(size=(120, 180), scale=(1, 1)).frame(image(), 3)
    assert framed.rgb.shape == (120, 180, 3) and framed.mask.shape == (120, 180)
    assert framed.mask[22:78, 42:138].min() == 1 and framed.mask.sum() == pytest.approx(
        60 * 100, 0.01
    )
    square = jitter(size=(90, 90), scale=(1, 1)).frame(image(), 3)
    assert np.array_equal(square.rgb[:60], image().rgb)
    assert (square.rgb[60:] == 128).all() and (square.mask[60:] == 0).all()
    assert np.array_equal(square.mask[:60], image().mask)


def test_small_scales_pad_right_and_below():
    framed = jitter(size=(128, 128), scale=(0.5, 0.5)).frame(image(), 0)
    assert (framed.rgb[43:] == 128).all() and (framed.rgb[:, 64:] == 128).all()
    assert not (framed.rgb[:43, :64] == 128).all(axis=2).any()
    assert framed.mask.sum() == pytest.approx(30 * 50 * (64 / 90) ** 2, rel=0.03)


def test_large_scales_crop_a_window_at_random():
    view = jitter(size=(90, 90), scale=(2, 2))
    corners = set()
    for seed in range(20):
        framed = view.frame(image(box=(0, 60, 0, 90)), seed)
        assert framed.mask.min() == 1  # 120 x 180 after scaling: a window without padding
        assert framed.rgb.shape == (90, 90, 3)
        corners.add((int(framed.rgb[0, 0, 0]), int(framed.rgb[0, 0, 1])))
        span = framed.rgb[-1, -1].astype(int) - framed.rgb[0, 0]
        assert abs(span[0] - 89) <= 3 and abs(span[1] - 89) <= 3  # half of the image's scale
    assert len(corners) > 10


def test_image_and_mask_move_together():
    view = jitter(size=(96, 96), flip=0.5, scale=(0.3, 2.0))
    for seed in range(40):
        framed = view.frame(image(), seed)
        blue = framed.rgb[..., 2] > 140  # padding is 128
        inside = framed.mask > 0.5
        assert inside.sum() >= 10
        assert (blue != inside).sum() <= 0.08 * inside.sum() + 12, seed


def test_flips_half_of_the_time():
    view = jitter(size=(64, 64), flip=0.5, scale=(0.5, 0.5))
    mirrored = [
        int(f.rgb[0, 0, 1]) > int(f.rgb[0, 31, 1])
        for f in (view.frame(image(), seed) for seed in range(200))
    ]
    assert 70 < sum(mirrored) < 130
    assert not any(
        f.rgb[0, 0, 1] > f.rgb[0, 31, 1]
        for f in (jitter(scale=(0.5, 0.5)).frame(image(), s) for s in range(20))
    )


def test_views_without_the_object_are_drawn_again():
    view = jitter(size=(64, 64), scale=(0.1, 2.0))
    corner = image(box=(52, 58, 80, 86))
    for seed in range(100):
        assert (view.frame(corner, seed).mask > 128 / 255).sum() >= 10
    # no view at a tenth of the frame leaves ten pixels of so small an object: it is squashed whole
    tiny = jitter(size=(64, 64), scale=(0.1, 0.1)).frame(corner, 0)
    assert not (tiny.rgb == 128).all(axis=2).any()
    rows, columns = np.nonzero(tiny.mask > 0.5)
    assert abs(rows.mean() - 54.5 * 64 / 60) < 1 and abs(columns.mean() - 82.5 * 64 / 90) < 1


def test_one_pixel_and_empty_masks_pass_through():
    single = image(box=(30, 31, 40, 41))
    assert (jitter(size=(64, 96)).frame(single, 0).mask > 0).any()
    empty = image(box=(0, 0, 0, 0))
    assert not jitter().frame(empty, 0).mask.any()


def test_masks_stay_grey_and_small_images_grow():
    framed = jitter(size=(256, 256), scale=(1, 1)).frame(image(20, 30, (5, 15, 5, 25)), 0)
    grey = (framed.mask > 0.05) & (framed.mask < 0.95)
    assert grey.any() and framed.mask.dtype == np.float32


def test_a_pure_function_of_the_seed():
    view = jitter(flip=0.5, jitter=0.4)
    a, b, other = (view(image(), seed) for seed in (5, 5, 6))
    assert np.array_equal(a.rgb, b.rgb) and np.array_equal(a.mask, b.mask)
    assert not np.array_equal(a.mask, other.mask)
    plain = jitter(scale=(1, 1)).frame(image(), 5).rgb
    assert not np.array_equal(jitter(scale=(1, 1), jitter=0.4).frame(image(), 5).rgb, plain)


def test_normalisation():
    view = jitter(size=(90, 90), scale=(1, 1))
    moved = view(image(), 0)
    assert moved.rgb.dtype == np.float32
    np.testing.assert_allclose(moved.rgb[:60], (image().rgb / 255 - 0.5) / 0.25, atol=1e-5)
