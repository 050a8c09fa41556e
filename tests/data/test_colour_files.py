"""Reading X as three channels: what each kind of file gives."""

import warnings

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from rgbx.data.decoding.colour import read_colour
from rgbx.data.decoding.files import SampleError, probe, read_grey, read_raw, read_rgb

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (24, 36, 3), np.uint8)
GREY = COLOUR[..., 0]
UNIT = COLOUR.astype(np.float32) / np.float32(255)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "tif", "webp"])
def test_three_channels_are_read_as_they_are(tmp_path, put, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    x = read_colour(put(tmp_path / f"a.{suffix}", COLOUR, **options))
    assert x.dtype == np.float32 and x.flags.c_contiguous
    np.testing.assert_array_equal(x, UNIT)


def test_jpeg_keeps_the_order_of_the_channels(tmp_path, put):
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 250
    np.testing.assert_allclose(
        read_colour(put(tmp_path / "a.jpg", red))[8, 8], [250 / 255, 0, 0], atol=3 / 255
    )


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff"])
def test_one_channel_is_repeated(tmp_path, put, suffix):
    x = read_colour(put(tmp_path / f"a.{suffix}", GREY))
    for channel in np.moveaxis(x, 2, 0):
        np.testing.assert_array_equal(channel, GREY.astype(np.float32) / np.float32(255))


def test_alpha_is_dropped_and_a_palette_gives_its_colours(tmp_path, put):
    four = np.dstack([COLOUR, RNG.integers(0, 256, GREY.shape, np.uint8)])
    np.testing.assert_array_equal(read_colour(put(tmp_path / "a.png", four)), UNIT)
    two = Image.fromarray(GREY).convert("LA")
    two.save(tmp_path / "two.png")
    np.testing.assert_array_equal(read_colour(tmp_path / "two.png")[..., 2] * 255, GREY)
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode="P")
    image.putpalette([0, 0, 0, 200, 10, 10, 10, 200, 10])
    image.save(tmp_path / "p.png")
    assert (read_colour(tmp_path / "p.png")[1, 0] * 255).round().tolist() == [10, 200, 10]


def test_sixteen_bits_and_floats_are_stretched_together_so_that_hues_stay(tmp_path):
    deep = (COLOUR.astype(np.uint16) + 21000).astype(np.uint16)
    expected = (COLOUR - COLOUR.min()) / np.float32(np.ptp(COLOUR))
    cv2.imwrite(str(tmp_path / "a.png"), deep[..., ::-1])
    tifffile.imwrite(tmp_path / "b.tiff", deep)
    tifffile.imwrite(tmp_path / "c.tif", deep, photometric="rgb")
    tifffile.imwrite(tmp_path / "d.tif", deep.astype(np.float32) - 300.5)
    planes = np.ascontiguousarray(deep.transpose(2, 0, 1))
    tifffile.imwrite(tmp_path / "e.tif", planes, photometric="rgb", planarconfig="separate")
    for name in ("a.png", "b.tiff", "c.tif", "d.tif", "e.tif"):
        path = tmp_path / name
        assert probe(path) == (24, 36, 3), name
        np.testing.assert_allclose(read_colour(path), expected, atol=1e-4, err_msg=name)
    fixed = read_colour(tmp_path / "b.tiff", (20000, 22000))
    np.testing.assert_allclose(fixed, (deep - 20000.0) / 2000, atol=1e-5)


def test_sixteen_bit_colour_tiffs_keep_their_bits(tmp_path):
    deep = (np.arange(72, dtype=np.uint16).reshape(4, 6, 3) + 21000).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tiff", deep, photometric="rgb")
    stored = read_raw(tmp_path / "a.tiff")
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored, deep)
    visible = read_rgb(tmp_path / "a.tiff")
    np.testing.assert_allclose(visible, np.rint(deep / 65535 * 255))


def test_nan_and_infinity_become_zero(tmp_path):
    values = UNIT.copy()
    values[0, 0], values[1, 1, 2] = np.nan, np.inf
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    x = read_colour(tmp_path / "a.tif")
    assert x[0, 0].tolist() == [0, 0, 0] and x[1, 1, 2] == 0 and np.isfinite(x).all()
    np.testing.assert_allclose(x[5:], UNIT[5:], atol=0.01)


def test_grey_reading_points_to_the_option(tmp_path, put):
    path = put(tmp_path / "a.png", COLOUR)
    with pytest.warns(UserWarning, match=r"their mean is used \(x_channels: 3 reads them"):
        grey = read_grey(path)
    np.testing.assert_allclose(grey, UNIT.mean(axis=2), atol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_colour(path)


def test_constant_and_broken_files(tmp_path, put):
    with pytest.warns(UserWarning, match="some X images are constant"):
        read_colour(put(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8)))
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(SampleError, match=r"b\.png: the image cannot be read"):
        read_colour(tmp_path / "b.png")
