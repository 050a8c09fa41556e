import numpy as np
import pytest

from rgbx.data.transforms.augment import (
    EvalTransform,
    Raw,
    Statistics,
    TrainTransform,
    resize_image,
    resize_mask,
)

PLAIN = Statistics((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0.0, 1.0)
SIZE = (64, 96)


def marked(height: int = 64, width: int = 96) -> Raw:
    """An image whose rgb, x and mask all say where each pixel came from."""
    rows, columns = np.mgrid[:height, :width]
    right = (columns >= width // 2).astype(np.uint8)
    lower = (rows >= height // 2).astype(np.uint8)
    mask = (1 + right + 2 * lower).astype(np.uint8)  # ids 1 to 4, one for each quarter
    rgb = np.repeat((mask * 50)[..., None], 3, axis=2)
    return Raw(rgb, (mask * 50 / np.float32(255)).astype(np.float32), mask)


@pytest.mark.parametrize("seed", range(12))
def test_rgb_x_and_mask_move_exactly_together(seed):
    transform = TrainTransform(SIZE, PLAIN, flip=0.5, scale=(0.5, 2.0), jitter=0.0)
    rgb, x, mask = transform(marked(), seed)
    assert rgb.shape == (*SIZE, 3) and x.shape == SIZE and mask.shape == SIZE
    np.testing.assert_array_equal(rgb[..., 0], x)
    inside = mask != 255
    assert inside.any()
    assert set(np.unique(mask)) <= {1, 2, 3, 4, 255}
    # away from the borders between quarters the value must be the id's own
    exact = np.isclose(x * 255, mask * 50.0, atol=1e-2)
    assert exact[inside].mean() > 0.9
    np.testing.assert_array_equal(x[~inside], 0)


def test_all_augmentations_occur():
    transform = TrainTransform(SIZE, PLAIN)
    results = [transform(marked(), seed) for seed in range(30)]
    assert 5 < sum((r.mask == 255).any() for r in results) < 25
    flipped = sum(r.mask[32][r.mask[32] != 255][0] in (2, 4) for r in results)
    assert 3 < flipped < 27


@pytest.mark.parametrize("seed", range(6))
def test_colour_jitter_changes_rgb_and_never_x(seed):
    raw = marked()
    rng = np.random.default_rng(0)
    raw = raw._replace(rgb=rng.integers(60, 200, raw.rgb.shape, np.uint8))
    still = TrainTransform(SIZE, PLAIN, jitter=0.0)
    shaken = TrainTransform(SIZE, PLAIN, jitter=0.5)
    a, b = still(raw, seed), shaken(raw, seed)
    np.testing.assert_array_equal(a.x, b.x)
    np.testing.assert_array_equal(a.mask, b.mask)


def test_jitter_does_something_on_most_seeds():
    raw = marked()._replace(rgb=np.full((64, 96, 3), (180, 90, 60), np.uint8))
    still, shaken = TrainTransform(SIZE, PLAIN, jitter=0.0), TrainTransform(SIZE, PLAIN, jitter=0.5)
    changed = [np.abs(still(raw, s).rgb - shaken(raw, s).rgb).max() > 0.02 for s in range(20)]
    assert sum(changed) >= 12


def test_one_marked_thermal_pixel_survives_flip():
    x = np.zeros(SIZE, np.float32)
    x[10, 20] = 1
    raw = Raw(np.zeros((*SIZE, 3), np.uint8), x, (x > 0).astype(np.uint8))
    flipped = TrainTransform(SIZE, PLAIN, flip=1.0, scale=(1.0, 1.0), jitter=0.0)(raw, 0)
    assert np.argwhere(flipped.x == 1).tolist() == [[10, 75]]
    assert np.argwhere(flipped.mask == 1).tolist() == [[10, 75]]


def test_result_is_a_pure_function_of_the_seed():
    transform = TrainTransform(SIZE, PLAIN)
    first = [transform(marked(), seed) for seed in (7, 8)]
    second = [transform(marked(), seed) for seed in (8, 7)][::-1]
    for a, b in zip(first, second, strict=True):
        for left, right in zip(a, b, strict=True):
            np.testing.assert_array_equal(left, right)
    assert not np.array_equal(first[0].rgb, first[1].rgb)


def test_padding_is_the_mean_and_ignored():
    statistics = Statistics((0.4, 0.5, 0.6), (0.2, 0.2, 0.2), 0.3, 0.1)
    small = TrainTransform(SIZE, statistics, flip=0, scale=(0.5, 0.5), jitter=0.0)(marked(), 3)
    assert (small.mask != 255).sum() == 32 * 48
    outside = small.mask == 255
    assert np.abs(small.rgb[outside]).max() == 0 and np.abs(small.x[outside]).max() == 0


def test_eval_resizes_images_and_leaves_the_test_mask_alone():
    raw = marked(128, 200)
    rgb, x, mask = EvalTransform(SIZE, PLAIN, resize_mask=False)(raw)
    assert rgb.shape == (*SIZE, 3) and x.shape == SIZE
    np.testing.assert_array_equal(mask, raw.mask)
    val = EvalTransform(SIZE, PLAIN)(raw).mask
    assert val.shape == SIZE and set(np.unique(val)) == {1, 2, 3, 4}
    np.testing.assert_array_equal(rgb[..., 0], x)


def test_without_x_there_is_no_x():
    assert EvalTransform(SIZE, PLAIN)(marked()._replace(x=None)).x is None
    assert TrainTransform(SIZE, PLAIN)(marked()._replace(x=None), 0).x is None


def test_normalisation_values():
    statistics = Statistics((0.5, 0.25, 0.0), (0.5, 0.25, 1.0), 0.2, 0.4)
    raw = Raw(np.full((16, 16, 3), 255, np.uint8), np.full((16, 16), 0.6, np.float32), None)
    rgb, x, _ = EvalTransform((16, 16), statistics)(raw)
    np.testing.assert_allclose(rgb[0, 0], [1.0, 3.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(x, 1.0, rtol=1e-6)


def test_shrinking_averages_and_ids_never_mix():
    stripes = np.tile(np.array([0, 1], np.float32), (8, 4))
    np.testing.assert_allclose(resize_image(stripes, (4, 4)), 0.5)
    ids = np.tile(np.array([0, 0, 7, 7], np.uint8), (8, 2))
    assert set(np.unique(resize_mask(ids, (5, 13)))) == {0, 7}


def test_mask_and_image_grow_around_the_same_centres():
    ids = np.zeros((9, 9), np.uint8)
    ids[4, 4] = 1
    grown = resize_mask(ids, (45, 45))
    assert np.argwhere(grown == 1).mean(axis=0).tolist() == [22.0, 22.0]
    image = resize_image(ids.astype(np.float32), (45, 45))
    assert np.unravel_index(image.argmax(), image.shape) == (22, 22)
