import warnings

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from rgbx.data.decoding.files import (
    SampleError,
    probe,
    read_binary,
    read_grey,
    read_ids,
    read_raw,
    read_rgb,
    to_unit,
)

RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def test_uint8_grey_is_divided_by_255(tmp_path, put):
    x = read_grey(put(tmp_path / "a.png", RAMP))
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, RAMP.astype(np.float32) / np.float32(255))


def test_uint16_keeps_its_precision(tmp_path, put):
    raw = (np.arange(12, dtype=np.uint16) * 3 + 21000).reshape(3, 4)
    path = put(tmp_path / "a.png", raw)
    assert read_raw(path).dtype == np.uint16
    np.testing.assert_allclose(read_grey(path), np.arange(12).reshape(3, 4) / 11, atol=1e-6)
    fixed = read_grey(path, (21000, 21066))
    np.testing.assert_allclose(fixed, np.arange(12).reshape(3, 4) * 3 / 66, atol=1e-6)


def test_sixteen_bit_colour_png_is_not_cut_to_eight_bits(tmp_path):
    grey = (np.arange(12, dtype=np.uint16) + 21000).reshape(3, 4)
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), np.dstack([grey, grey, grey]))
    np.testing.assert_allclose(read_grey(path), np.arange(12).reshape(3, 4) / 11, atol=1e-6)


def test_float_tiff_with_nan_and_constant(tmp_path):
    values = np.array([[0.0, 5.0], [np.nan, 10.0]], dtype=np.float32)
    tifffile.imwrite(tmp_path / "a.tiff", values)
    np.testing.assert_array_equal(read_grey(tmp_path / "a.tiff"), [[0, 0.5], [0, 1]])
    tifffile.imwrite(tmp_path / "zero.tiff", np.zeros((2, 2), np.float32))
    np.testing.assert_array_equal(read_grey(tmp_path / "zero.tiff"), np.zeros((2, 2)))
    np.testing.assert_array_equal(to_unit(np.full((2, 2), np.nan)), np.zeros((2, 2)))


def test_floats_in_unit_range_are_not_stretched():
    np.testing.assert_allclose(to_unit(np.array([0.2, 0.4])), [0.2, 0.4], rtol=1e-6)


def test_three_equal_channels_are_one_channel(tmp_path, put):
    path = put(tmp_path / "a.png", np.dstack([RAMP] * 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_grey(path), RAMP.astype(np.float32) / 255)


def test_three_different_channels_are_averaged_with_a_warning(tmp_path, put):
    path = put(tmp_path / "a.png", np.dstack([RAMP, RAMP, RAMP * 0]))
    with pytest.warns(UserWarning, match="three different channels"):
        x = read_grey(path)
    np.testing.assert_allclose(x, RAMP / 255 * 2 / 3, atol=1e-6)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1"])
def test_rgb_from_any_mode_is_three_bytes(tmp_path, mode):
    image = Image.fromarray(np.dstack([RAMP, RAMP, RAMP])).convert(mode)
    image.save(tmp_path / "a.png")
    rgb = read_rgb(tmp_path / "a.png")
    assert rgb.shape == (3, 4, 3) and rgb.dtype == np.uint8


def test_rgb_drops_alpha_without_blending(tmp_path, put):
    rgba = np.dstack([RAMP, RAMP + 1, RAMP + 2, np.zeros_like(RAMP)])
    np.testing.assert_array_equal(read_rgb(put(tmp_path / "a.png", rgba)), rgba[..., :3])


def test_palette_mask_gives_ids_not_brightness(tmp_path):
    ids = np.array([[0, 1], [2, 1]], dtype=np.uint8)
    image = Image.fromarray(ids, mode="P")
    image.putpalette([0, 0, 0, 200, 10, 10, 10, 200, 10])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_ids(tmp_path / "a.png"), ids)


def test_ids_from_equal_channels_and_refused_from_colours(tmp_path, put):
    ids = np.array([[0, 1], [2, 1]], dtype=np.uint8)
    np.testing.assert_array_equal(read_ids(put(tmp_path / "a.png", np.dstack([ids] * 3))), ids)
    path = put(tmp_path / "b.png", np.dstack([ids, ids, ids + 1]))
    with pytest.raises(SampleError, match=r"b\.png: the mask is a colour image") as caught:
        read_ids(path)
    assert caught.value.kind == "channels"


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.array([[0, 8, 127, 128, 129, 247, 255]], np.uint8), [[0, 0, 0, 0, 1, 1, 1]]),
        (np.array([[0, 1, 1]], np.uint8), [[0, 1, 1]]),
        (np.array([[0, 40000, 65535]], np.uint16), [[0, 1, 1]]),
        (np.array([[False, True]]), [[0, 1]]),
    ],
)
def test_binary_threshold_follows_the_type(tmp_path, put, stored, expected):
    np.testing.assert_array_equal(read_binary(put(tmp_path / "a.png", stored)), expected)


def test_jpeg_ringing_stays_background(tmp_path, put):
    mask = np.zeros((64, 64), np.uint8)
    mask[19:45, 21:43] = 255
    path = put(tmp_path / "a.jpg", mask, quality=60)
    assert ((read_raw(path) > 0) & (mask == 0)).any()
    np.testing.assert_array_equal(read_binary(path), mask // 255)


def test_truncated_empty_foreign_and_missing_files_are_named(tmp_path, put):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = put(tmp_path / "whole.png", noise)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:2000])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "bad.tiff").write_text("no image")
    for name in ("cut.png", "empty.png", "text.jpg", "bad.tiff", "missing.png"):
        for read in (read_rgb, read_grey, read_ids, read_binary):
            with pytest.raises(SampleError, match=rf"{name}: the image cannot be read"):
                read(tmp_path / name)
    for name in ("empty.png", "text.jpg", "bad.tiff", "missing.png"):
        with pytest.raises(SampleError, match=name):
            probe(tmp_path / name)


def test_probe_gives_height_width_channels(tmp_path, put):
    assert probe(put(tmp_path / "a.png", np.zeros((3, 5, 4), np.uint8))) == (3, 5, 4)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 5), np.float64))
    assert probe(tmp_path / "a.tif") == (3, 5, 1)


def test_error_from_a_worker_is_reduced_to_its_sentence():
    wrapped = "Caught SampleError in worker 0.\nOriginal Traceback:\n  x\nSampleError: a.png: bad\n"
    assert str(SampleError(wrapped)) == "a.png: bad"
