import numpy as np
import pytest
from PIL import Image, ImageEnhance

from rgbx.data import VT5000, MFNet
from rgbx.data.transforms.augment import Raw, Statistics, TrainTransform
from rgbx.data.transforms.enhance import RANGES, draw_factors, enhance_grey, enhance_rgb

PLAIN = Statistics((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0.0, 1.0)
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (24, 32, 3), np.uint8)
GREY = np.repeat(IMAGE[..., :1], 3, axis=2)


def test_factors_fill_the_ranges_of_the_paper_evenly():
    drawn = np.array([draw_factors(seed, 0) for seed in range(2000)])
    assert RANGES == ((0.5, 1.5), (0.5, 1.5), (0.0, 2.0), (0.0, 3.0))
    for column, (low, high) in zip(drawn.T, RANGES, strict=True):
        assert low <= column.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < column.max() <= high
        assert column.mean() == pytest.approx((low + high) / 2, abs=0.03 * (high - low))
        assert column.std() == pytest.approx((high - low) / 12**0.5, abs=0.03 * (high - low))


def test_rgb_and_x_draw_independently_and_repeatably():
    rgb = np.array([draw_factors(seed, 0) for seed in range(2000)])
    x = np.array([draw_factors(seed, 1) for seed in range(2000)])
    correlation = np.corrcoef(rgb.T, x.T)[:4, 4:]
    assert np.abs(correlation).max() < 0.08
    assert draw_factors(5, 0) == tuple(rgb[5]) and draw_factors(5, 1) == tuple(x[5])
    assert not np.isclose(rgb, x).all(axis=1).any()


@pytest.mark.parametrize("seed", range(5))
def test_rgb_is_changed_as_pil_does(seed):
    factors = draw_factors(seed, 0)
    image = Image.fromarray(IMAGE)
    for kind, factor in zip(("Brightness", "Contrast", "Color", "Sharpness"), factors, strict=True):
        image = getattr(ImageEnhance, kind)(image).enhance(factor)
    np.testing.assert_array_equal(enhance_rgb(IMAGE, factors), np.asarray(image))
    np.testing.assert_array_equal(enhance_rgb(IMAGE, (1, 1, 1, 1)), IMAGE)


@pytest.mark.parametrize("seed", range(5))
def test_one_channel_agrees_with_pil_up_to_its_rounding(seed):
    brightness, contrast, _, sharpness = draw_factors(seed, 1)
    expected = enhance_rgb(GREY, (brightness, contrast, 1, sharpness))[..., 0] / 255
    x = enhance_grey((GREY[..., 0] / 255).astype(np.float32), (brightness, contrast, 0, sharpness))
    assert x.dtype == np.float32 and x.min() >= 0 and x.max() <= 1
    # PIL rounds to 8 bits after every step; sharpening enlarges what it rounded
    np.testing.assert_allclose(x, expected, atol=6 / 255)


def test_fine_steps_of_sixteen_bit_depth_survive():
    x = np.tile(np.linspace(0.4, 0.402, 32, dtype=np.float32), (24, 1))
    assert len(np.unique(enhance_grey(x, (1.2, 1.1, 1, 1)))) > 20


def test_constant_x_does_not_crash():
    assert np.isfinite(enhance_grey(np.zeros((8, 8), np.float32), (1.5, 0.5, 1, 3))).all()


def test_geometry_and_mask_are_untouched_and_both_images_change():
    mask = (IMAGE[..., 0] > 127).astype(np.uint8)
    raw = Raw(IMAGE, (IMAGE[..., 1] / 255).astype(np.float32), mask)
    still = TrainTransform((24, 32), PLAIN, 0, (1, 1), 0)
    shaken = TrainTransform((24, 32), PLAIN, 0, (1, 1), 0, enhance=True)
    for seed in range(5):
        a, b, again = still(raw, seed), shaken(raw, seed), shaken(raw, seed)
        np.testing.assert_array_equal(b.rgb, again.rgb)
        np.testing.assert_array_equal(b.x, again.x)
        np.testing.assert_array_equal(a.mask, b.mask)
        assert np.abs(a.rgb - b.rgb).max() > 0.02 and np.abs(a.x - b.x).max() > 0.02
        np.testing.assert_array_equal(b.x, enhance_grey(raw.x, draw_factors(seed, 1)))


def test_saliency_data_enhances_training_only(vt5000_root):
    data = VT5000(str(vt5000_root), size=(64, 96), num_workers=0, choose_on_test=True)
    assert (data.flip, data.scale, data.jitter, data.enhance) == (0.0, (1.0, 1.0), 0.0, True)
    data.setup("fit")
    plain = VT5000(
        str(vt5000_root), size=(64, 96), num_workers=0, choose_on_test=True, enhance=False
    )
    plain.setup("fit")
    a, b = data._sets["train"][0, 7], plain._sets["train"][0, 7]
    assert not np.allclose(a["rgb"], b["rgb"]) and not np.allclose(a["x"], b["x"])
    np.testing.assert_array_equal(a["mask"], b["mask"])
    np.testing.assert_array_equal(data._sets["val"][0]["x"], plain._sets["val"][0]["x"])
    other = data._sets["train"][0, 8]
    assert not np.allclose(a["rgb"], other["rgb"]) and not np.allclose(a["x"], other["x"])


def test_other_data_sets_can_ask_for_it(mfnet_root):
    options = {"size": (32, 48), "num_workers": 0, "flip": 0, "scale": (1, 1), "jitter": 0}
    samples = []
    for enhance in (False, True):
        data = MFNet(str(mfnet_root), enhance=enhance, **options)
        data.setup("fit")
        samples.append(data._sets["train"][0, 3])
    assert not np.allclose(samples[0]["x"], samples[1]["x"])
    np.testing.assert_array_equal(samples[0]["mask"], samples[1]["mask"])
