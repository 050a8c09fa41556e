"""The small images: what they show, and what happens to files that cannot be shown."""

import io

import numpy as np
import pytest
from PIL import Image

from rgbx.report.panels import ERRORS, encode, error_map, palette, photo, second, shown
from tests.report.made import PALETTE, panel


def test_photos_and_x_are_upright(tmp_path):
    """Raw TIFFs too, of which PIL mixes up the rows when it opens them by their path."""
    upright = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90)
    grey = np.rint((upright / upright.max()) * 255)
    for suffix in ("png", "tif"):
        path = tmp_path / f"a.{suffix}"
        stored.save(path, exif=exif.tobytes())
        np.testing.assert_array_equal(np.asarray(photo(path, 100).convert("L")), upright)
        np.testing.assert_array_equal(np.asarray(second(path, None, 100)), grey)
    Image.fromarray(upright).save(tmp_path / "b.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert photo(tmp_path / "b.jpg", 100).size == (6, 4)


def errors(tmp_path, found, truth, colours=()):
    one = panel(tmp_path / "p.png", np.array(found, np.uint8), colours)
    other = panel(tmp_path / "t.png", np.array(truth, np.uint8), colours)
    return np.asarray(error_map(one, other, 100))


def test_errors_of_classes(tmp_path):
    names = ("right background", "right object", "missed", "false alarm", "wrong class")
    found, truth = [[0, 1, 0, 1, 2, 1]], [[0, 1, 1, 0, 1, 255]]
    painted = errors(tmp_path, found, truth, PALETTE)
    assert [tuple(p) for p in painted[0]] == [ERRORS[name] for name in (*names, "not scored")]


def test_errors_of_maps_are_as_strong_as_the_map_is_off(tmp_path):
    painted = errors(tmp_path, [[0, 255, 255, 0, 51]], [[0, 255, 0, 255, 255]]).astype(int)
    names = ("right background", "right object", "false alarm", "missed")
    assert [tuple(p) for p in painted[0, :4]] == [ERRORS[name] for name in names]
    right, missed = (np.array(ERRORS[name]) for name in ("right object", "missed"))
    assert np.abs(painted[0, 4] - (0.2 * right + 0.8 * missed)).max() <= 0.5


def test_a_thin_error_stays_visible_when_made_small(tmp_path):
    truth = np.zeros((400, 400), np.uint8)
    found = truth.copy()
    found[:, 201] = 1
    one = panel(tmp_path / "p.png", found, PALETTE)
    other = panel(tmp_path / "t.png", truth, PALETTE)
    small = np.asarray(error_map(one, other, 100)).astype(int)
    background = np.array(ERRORS["right background"])
    assert small.shape == (100, 100, 3)
    assert (np.abs(small[:, 50] - background).sum(1) > 60).all()
    assert (small[:, 10] == background).all()


def test_predictions_of_another_size_are_brought_to_the_truth(tmp_path):
    one = panel(tmp_path / "p.png", np.ones((4, 4), np.uint8), PALETTE)
    other = panel(tmp_path / "t.png", np.ones((8, 6), np.uint8), PALETTE)
    painted = np.asarray(error_map(one, other, 100))
    assert painted.shape == (8, 6, 3) and (painted == ERRORS["right object"]).all()


def test_class_ids_have_the_colours_of_their_file(tmp_path):
    path = panel(tmp_path / "m.png", np.array([[0, 1, 2, 255]], np.uint8), PALETTE)
    pixels = np.asarray(shown(path, 100))[0].tolist()
    assert pixels == [[0, 0, 0], [64, 0, 128], [64, 64, 0], [211, 211, 211]]
    assert palette(path, 3) == ["#000000", "#400080", "#404000"]
    assert palette(panel(tmp_path / "g.png", np.zeros((2, 2), np.uint8)), 3) == []


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32])
def test_x_is_stretched_whatever_its_type(tmp_path, kind):
    path = tmp_path / "x.tif"
    Image.fromarray(np.array([[50, 100, 150]], kind)).save(path)
    assert np.asarray(second(path, None, 100)).tolist() == [[0, 128, 255]]


def test_x_of_packed_grey_and_coloured_files(tmp_path):
    four = np.zeros((2, 2, 4), np.uint8)
    four[0, 0, 3] = 200
    path = panel(tmp_path / "four.png", four)
    assert np.asarray(second(path, path, 100)).tolist() == [[255, 0], [0, 0]]
    grey = np.repeat(np.array([[[0], [10]]], np.uint8), 3, axis=2)
    assert second(panel(tmp_path / "grey.png", grey), None, 100).mode == "L"
    grey[0, 0, 1] = 5
    assert second(panel(tmp_path / "colour.png", grey), None, 100).mode == "RGB"


def test_a_constant_x_is_black(tmp_path):
    path = panel(tmp_path / "x.png", np.full((3, 3), 77, np.uint8))
    assert not np.asarray(second(path, None, 100)).any()


@pytest.mark.parametrize("content", [None, b"", b"no image", "cut"])
def test_files_that_cannot_be_shown(tmp_path, content):
    good = panel(tmp_path / "good.png", np.random.default_rng(0).integers(0, 3, (60, 60), np.uint8))
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(good.read_bytes()[:200] if content == "cut" else content)
    assert photo(path, 50) is None and second(path, None, 50) is None and shown(path, 50) is None
    assert error_map(path, good, 50) is None and error_map(good, path, 50) is None
    assert palette(path, 2) == []


def test_panels_fit_and_are_never_enlarged(tmp_path):
    path = panel(tmp_path / "a.png", np.zeros((300, 600, 3), np.uint8))
    assert photo(path, 100).size == (100, 50)
    assert photo(path, 1000).size == (600, 300)


def test_few_colours_are_coded_without_loss():
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[10:20] = ERRORS["missed"]
    read = Image.open(io.BytesIO(encode(Image.fromarray(pixels), 10)))
    assert (np.asarray(read.convert("RGB")) == pixels).all()
