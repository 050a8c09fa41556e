"""Stored values that mean nothing, and files of one modality that would not be scaled alike."""

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from rgbx.data import FolderRGBX, MFNet
from rgbx.data.checks.check import check
from rgbx.data.decoding.files import SampleError, look, read_grey, read_raw, read_rgb, to_unit
from rgbx.data.splits.records import Record

DEPTH = np.linspace(2000, 4000, 96 * 128).reshape(96, 128).astype(np.uint16)


HOLE = 95 * 128  # in a row that is not compared, and that holds neither end of the values


def with_holes(values, *holes):
    values = values.copy()
    for place, hole in enumerate(holes):
        values.flat[HOLE + place] = hole
    return values


@pytest.mark.parametrize("dtype", [np.uint16, ">u2", np.int32, np.uint32, np.int16])
def test_missing_values_do_not_set_the_scale(dtype):
    whole = DEPTH.astype(dtype)
    ends = np.iinfo(whole.dtype.newbyteorder("="))
    scaled = to_unit(with_holes(whole, 0, ends.max))
    np.testing.assert_array_equal(scaled[:90], to_unit(whole)[:90])
    assert scaled.flat[HOLE] == 0 and scaled.flat[HOLE + 1] == 1


def test_missing_values_of_signed_integers_and_floats():
    celsius = (DEPTH.astype(np.int16) - 3000).astype(np.int16)  # 0 is a temperature
    np.testing.assert_array_equal(
        to_unit(with_holes(celsius, -32768, 32767))[:90], to_unit(celsius)[:90]
    )
    assert to_unit(celsius)[celsius == 0][0] == pytest.approx(0.5, abs=1e-3)
    metres = DEPTH.astype(np.float32) / 1000
    np.testing.assert_array_equal(
        to_unit(with_holes(metres, np.nan, np.inf, -np.inf))[:90], to_unit(metres)[:90]
    )
    marked = with_holes(metres, 0, -1)
    assert np.ptp(to_unit(marked)[:90]) < 0.7
    np.testing.assert_allclose(to_unit(marked, invalid=(0, -1))[:90], to_unit(metres)[:90])


def test_what_is_valid_can_be_said():
    zeros = with_holes(DEPTH, 0)
    assert np.ptp(to_unit(zeros, invalid=())[:90]) < 0.55
    assert to_unit(zeros, invalid=()).flat[HOLE] == 0
    np.testing.assert_array_equal(
        to_unit(with_holes(DEPTH, 1), invalid=(1,))[:90], to_unit(DEPTH)[:90]
    )


def test_pure_colours_are_no_missing_values():
    red = np.zeros((2, 2, 3), np.uint16)
    red[..., 0] = [[100, 200], [300, 400]]
    assert to_unit(red)[..., 0].tolist() == [[0.25, 0.5], [0.75, 1]]
    red[0, 0] = 65535
    assert to_unit(red)[1, 1].tolist() == [1, 0, 0]


def test_a_fixed_range_is_a_fixed_range():
    scaled = to_unit(with_holes(DEPTH, 0, 65535), (1000, 5000))
    np.testing.assert_allclose(scaled[:90], (DEPTH[:90] - 1000.0) / 4000, atol=1e-6)


def test_what_holds_nothing_else_keeps_its_two_values():
    two = np.array([[0, 700], [700, 0]], np.uint16)
    assert to_unit(two).tolist() == [[0, 1], [1, 0]]
    assert not to_unit(np.full((2, 2), 65535, np.uint16)).any()


def test_the_option_reaches_the_files(tmp_path, pairs, put):
    root = pairs(tmp_path, "ab", x="")
    small = DEPTH[:32, :48].copy()
    small[31, 10:12] = 7, 0
    for stem in "ab":
        put(root / "x" / f"{stem}.png", small)
    for given, low in ((None, False), ([7], False), ([0, 7], True)):
        data = FolderRGBX(str(root), class_names=["a", "b", "c"], x_invalid=given)
        x = data.read_images(data.find_records("predict")[0])[1]
        assert (x[:30].min() == 0) == low


def write(path, kind):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = DEPTH[:32, :48]
    if kind == "8-bit":
        Image.fromarray((values // 16).astype(np.uint8)).save(path.with_suffix(".png"))
    elif kind == "1-bit":
        Image.fromarray(values > 2100).save(path.with_suffix(".png"))
    elif kind == "16-bit":
        Image.fromarray(values).save(path.with_suffix(".png"))
    else:
        scale = 65535 if kind == "float in [0, 1]" else 1
        tifffile.imwrite(path.with_suffix(".tif"), values.astype(np.float32) / scale)


@pytest.mark.parametrize("first", ["8-bit", "16-bit", "float", "1-bit"])
def test_headers_tell_the_type(tmp_path, first):
    write(tmp_path / "a", first)
    (path,) = tmp_path.iterdir()
    assert look(path).stored == first


@pytest.mark.parametrize(
    ("kinds", "named"),
    [
        (("8-bit", "16-bit"), True),
        (("8-bit", "float"), True),
        (("1-bit", "8-bit"), False),
        (("8-bit", "float in [0, 1]"), False),
        (("16-bit", "float"), False),
        (("16-bit", "16-bit"), False),
    ],
)
def test_types_of_x_that_are_not_scaled_alike_are_named(tmp_path, pairs, kinds, named):
    root = pairs(tmp_path, "abcd", x="")
    for stem, kind in zip("abcd", kinds * 2, strict=True):
        write(root / "x" / stem, kind)
    data = FolderRGBX(str(root), class_names=["a", "b", "c"], val_share=0.0)
    breaking = check(data, progress=False).breaking
    breaking = [line for line in breaking if "no usable sample" not in line]
    assert len(breaking) == named
    if named:
        with pytest.warns(UserWarning, match="not scaled alike") as caught:
            data.find_records("train")
        for text in (breaking[0], str(caught[0].message)):
            assert all(f"2 are {kind}" in text for kind in kinds) and "x_range" in text
        fixed = FolderRGBX(str(root), class_names=["a", "b", "c"], x_range=(0, 4000))
        assert len(fixed.find_records("predict")) == 4
    else:
        assert len(data.find_records("train")) == 4


def test_folders_of_several_types_are_a_warning(tmp_path, pairs):
    for split, kind in (("train", "8-bit"), ("val", "8-bit"), ("test", "16-bit")):
        pairs(tmp_path / split, "ab", x="")
        for stem in "ab":
            write(tmp_path / split / "x" / stem, kind)
    report = check(FolderRGBX(str(tmp_path), class_names=["a", "b", "c"]), progress=False)
    assert not any("scaled" in line for line in report.breaking)
    (said,) = [line for line in report.warnings if "not scaled alike" in line]
    assert "4 are 8-bit" in said and "2 are 16-bit" in said


def test_visible_images_that_hardly_use_their_bits_are_noted(tmp_path, pairs):
    root = pairs(tmp_path, "ab")
    for path in (root / "rgb").glob("*.png"):
        path.unlink()
        grey = np.random.default_rng(0).integers(0, 4096, (32, 48, 3), np.uint16)
        tifffile.imwrite(path.with_suffix(".tif"), grey, photometric="rgb")
    data = FolderRGBX(str(root), class_names=["a", "b", "c"], val_share=0.0)
    assert check(data, progress=False).splits["train"].note_kinds["dark"] == 2


def test_byte_order_and_wide_integers(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", DEPTH.astype(">u2"), byteorder=">")
    assert read_raw(tmp_path / "a.tif").dtype == np.uint16
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.tif")[..., 0], np.rint(DEPTH / 257))
    wide = DEPTH.astype(np.uint32) + np.uint32(2**31)
    tifffile.imwrite(tmp_path / "b.tif", wide)
    np.testing.assert_array_equal(read_raw(tmp_path / "b.tif"), wide)
    np.testing.assert_allclose(read_grey(tmp_path / "b.tif"), to_unit(DEPTH), atol=1e-6)


def test_the_first_of_several_images_is_read_and_noted(tmp_path, pairs):
    root = pairs(tmp_path, "ab", x="")
    for stem, dtype in (("a", np.uint16), ("b", np.float64)):
        pages = np.stack([DEPTH[:32, :48], DEPTH[32:64, :48], DEPTH[64:, :48]]).astype(dtype)
        (root / "x").mkdir(exist_ok=True)
        tifffile.imwrite(root / "x" / f"{stem}.tif", pages, photometric="minisblack")
        np.testing.assert_array_equal(read_raw(root / "x" / f"{stem}.tif"), pages[0])
    data = FolderRGBX(str(root), class_names=["a", "b", "c"], val_share=0.0)
    report = check(data, progress=False)
    assert report.splits["train"].note_kinds["several"] == 2


def test_advice_fits_the_reason(tmp_path, monkeypatch):
    (tmp_path / "lfs.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    Image.fromarray(DEPTH).save(tmp_path / "big.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for name, said in (
        ("lfs.png", "git lfs pull"),
        ("big.png", "200 pixels"),
        ("no.png", "No such file"),
    ):
        with pytest.raises(SampleError) as caught:
            read_raw(tmp_path / name)
        assert name in str(caught.value) and said in str(caught.value)
        assert "replace or remove" not in str(caught.value)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    values = np.zeros((4, 6), np.float64)
    tifffile.imwrite(tmp_path / "a.tif", values)

    def refuse(*args, **kwargs):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", refuse)
    with pytest.raises(SampleError, match=r"a\.tif.*install the package imagecodecs"):
        read_raw(tmp_path / "a.tif")


def test_grey_maps_of_netpbm(tmp_path):
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 128 96 65535\n" + with_holes(DEPTH, 0, 65535).astype(">u2").tobytes())
    assert look(path).stored == "16-bit" and read_raw(path).dtype == np.uint16
    np.testing.assert_array_equal(read_grey(path)[:90], to_unit(DEPTH)[:90])


def test_sixteen_bits_in_the_four_channel_layout_are_refused(tmp_path):
    path = tmp_path / "00001D.png"
    cv2.imwrite(str(path), np.full((4, 6, 4), 300, np.uint16))
    with pytest.raises(SampleError, match=r"00001D\.png.*uint16"):
        MFNet(str(tmp_path)).read_images(Record("00001D", path, path))


def test_one_pixel_is_an_image(tmp_path, put):
    assert read_rgb(put(tmp_path / "a.png", np.full((1, 1, 3), 9, np.uint8))).tolist() == [
        [[9] * 3]
    ]
