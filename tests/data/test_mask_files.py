"""Two-class masks are read as viewers show them; what has several readings is refused by name."""

import json

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from rgbx.cli.check_data import main
from rgbx.data import VT5000, FolderRGBX
from rgbx.data.checks.check import check
from rgbx.data.decoding.files import SampleError, read_binary, read_ids, read_soft
from rgbx.metrics import SaliencyScores
from rgbx.prompts import foreground

OBJECT = np.zeros((20, 30), bool)
OBJECT[4:12, 5:20] = True
WHITE = np.uint8(255) * OBJECT
NONE = np.zeros_like(WHITE)


def painted(background, colour) -> np.ndarray:
    return np.where(OBJECT[..., None], np.array(colour), np.array(background)).astype(np.uint8)


def palette(indices, colours) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette([value for colour in colours for value in colour])
    return image


SHOWN = {
    "bits": Image.fromarray(OBJECT),
    "grey": Image.fromarray(WHITE),
    "ids": Image.fromarray(OBJECT.astype(np.uint8)),
    "254": Image.fromarray(WHITE - np.uint8(1) * OBJECT),
    "quantised": Image.fromarray(WHITE).quantize(2),
    "white is index 0": palette(~OBJECT, [(255,) * 3, (0,) * 3]),
    "white is index 7": palette(OBJECT * 7, [(0,) * 3] * 7 + [(255,) * 3]),
    "dark red of VOC": palette(OBJECT, [(0,) * 3, (128, 0, 0)]),
    "red": Image.fromarray(painted((0, 0, 0), (255, 0, 0))),
    "green": Image.fromarray(painted((0, 0, 0), (0, 255, 0))),
    "blue": Image.fromarray(painted((0, 0, 0), (0, 0, 255))),
    "white on cyan": Image.fromarray(painted((0, 255, 255), (255, 255, 255))),
    "green and alpha": Image.fromarray(painted((0, 0, 0, 255), (0, 255, 0, 255))),
    "white, object in alpha": Image.fromarray(painted((255, 255, 255, 0), (255, 255, 255, 255))),
    "black, object in alpha": Image.fromarray(painted((0, 0, 0, 0), (0, 0, 0, 255))),
    "grey and alpha": Image.fromarray(np.dstack([np.full_like(WHITE, 255), WHITE]), "LA"),
    "cut out": Image.fromarray(painted((0, 0, 0, 0), (255, 255, 255, 255))),
    "alpha that tells nothing": Image.fromarray(painted((0, 0, 0, 0), (255, 255, 255, 0))),
    "16 bits": Image.fromarray(WHITE.astype(np.uint16) * 257),
    "8 of 16 bits": Image.fromarray(WHITE.astype(np.uint16)),
}


@pytest.mark.parametrize("name", SHOWN)
def test_the_object_is_what_viewers_show(tmp_path, name):
    path = tmp_path / "a.png"
    SHOWN[name].save(path)
    np.testing.assert_array_equal(read_binary(path), OBJECT)
    np.testing.assert_array_equal(foreground(read_soft(path)), OBJECT)


def test_the_object_in_other_formats(tmp_path):
    full = np.full_like(WHITE, 1)
    SHOWN["white is index 0"].save(tmp_path / "p.tif")
    transparent = palette(OBJECT, [(255,) * 3, (255,) * 3])
    transparent.save(tmp_path / "t.png", transparency=0)
    tifffile.imwrite(tmp_path / "be.tif", WHITE.astype(">u2") * 257, byteorder=">")
    tifffile.imwrite(tmp_path / "f.tif", OBJECT.astype(np.float32))
    tifffile.imwrite(tmp_path / "f255.tif", WHITE.astype(np.float64))
    Image.fromarray(painted((0, 0, 0), (0, 0, 255))).save(tmp_path / "b.jpg", quality=95)
    for name in ("p.tif", "t.png", "be.tif", "f.tif", "f255.tif", "b.jpg"):
        wrong = (read_binary(tmp_path / name) != OBJECT).mean()
        assert wrong <= (0.02 if name == "b.jpg" else 0), name
    tifffile.imwrite(tmp_path / "all.tif", full.astype(np.float32) * 255)
    assert read_binary(tmp_path / "all.tif").all()


def test_grey_borders_stay_soft_in_every_coding(tmp_path):
    soft = np.array([[0, 60, 127, 128, 129, 255]], np.uint8)
    codings = {
        "grey": soft,
        "16 bits": soft.astype(np.uint16) * 257,
        "alpha": np.dstack([np.full_like(soft, 255)] * 3 + [soft]),
        "green": np.dstack([soft * 0, soft, soft * 0]),
    }
    for name, array in codings.items():
        Image.fromarray(array).save(tmp_path / "a.png")
        np.testing.assert_allclose(read_soft(tmp_path / "a.png"), soft / 255, atol=1e-6)
        assert read_binary(tmp_path / "a.png").tolist() == [[0, 0, 0, 0, 1, 1]], name


TWO = OBJECT & (np.arange(30) > 12)
REFUSED = {
    "ids": (OBJECT.astype(np.uint8) + TWO, "0 to 2"),
    "ids from 1 with void": (np.where(TWO, 0, OBJECT + np.uint8(1)), "0 to 2"),
    "ids and 255": (np.where(TWO, np.uint8(255), OBJECT.astype(np.uint8)), "0, 1, 255"),
    "grey": (OBJECT * np.uint8(100), "0 to 100"),
    "128": (OBJECT * np.uint8(128), "0 to 128"),
    "12 of 16 bits": (OBJECT * np.uint16(4095), "0 to 4095"),
    "two colours": (painted((255, 0, 0), (0, 255, 0)), "several colours"),
    "red on white": (painted((255, 255, 255), (255, 0, 0)), "several colours"),
    "three colours": (
        np.where(TWO[..., None], np.uint8([0, 0, 255]), painted((0, 0, 0), (255, 0, 0))),
        "several colours",
    ),
    "photo cut out": (
        np.dstack([np.random.default_rng(0).integers(0, 255, (20, 30, 1), np.uint8)] * 3 + [WHITE]),
        "alpha",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_several_readings_is_refused(tmp_path, put, name):
    array, fact = REFUSED[name]
    path = put(tmp_path / "a.png", array)
    for read in (read_binary, read_soft):
        with pytest.raises(SampleError) as caught:
            read(path)
        assert caught.value.kind == "values"
        assert str(path) in str(caught.value) and fact in str(caught.value)


@pytest.mark.parametrize(("value", "fact"), [(np.nan, "NaN"), (-1.0, "-1"), (1e6, "1e+06")])
def test_floats_that_are_no_mask(tmp_path, value, fact):
    values = OBJECT.astype(np.float32)
    values[0, 0] = value
    tifffile.imwrite(tmp_path / "a.tif", values)
    with pytest.raises(SampleError, match=r"a\.tif") as caught:
        read_binary(tmp_path / "a.tif")
    assert fact in str(caught.value)


def test_constant_masks_and_faint_noise_are_what_they_are(tmp_path, put):
    assert not read_binary(put(tmp_path / "black.png", NONE)).any()
    assert read_binary(put(tmp_path / "white.png", NONE + np.uint8(255))).all()
    opaque = np.dstack([NONE] * 3 + [np.where(OBJECT, 254, 255).astype(np.uint8)])
    assert not read_binary(put(tmp_path / "opaque.png", opaque)).any()
    noise = np.random.default_rng(0).integers(0, 9, (64, 64), np.uint8)
    path = put(tmp_path / "ringing.jpg", noise, quality=100)
    assert not read_binary(path).any()


def test_class_ids_stay_indices_whatever_their_colours(tmp_path):
    palette(~OBJECT, [(255,) * 3, (0,) * 3]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_ids(tmp_path / "a.png"), ~OBJECT)


def test_masks_are_cut_as_pysodmetrics_cuts_them(tmp_path, put):
    """A mask of 127, 128 and 129, scored here, and by PySODMetrics from the file."""
    sod = pytest.importorskip("py_sod_metrics")
    rng = np.random.default_rng(0)
    mask = rng.choice(np.array([0, 127, 128, 129, 255], np.uint8), (24, 32))
    guess = rng.integers(0, 256, mask.shape, np.uint8)
    path = put(tmp_path / "Test" / "GT" / "1.png", mask)
    data = VT5000(str(tmp_path))
    measured, scores = sod.MAE(), SaliencyScores(("MAE",))
    measured.step(guess, np.asarray(Image.open(path)))
    objects = data.read_mask(path)
    scores.update(torch.from_numpy(guess / 255), torch.from_numpy(objects.astype(np.int64)))
    np.testing.assert_array_equal(objects, mask > 128)
    assert scores.compute()["MAE"] == pytest.approx(measured.get_results()["mae"], abs=1e-9)


def two_class(root, pairs, put, mask):
    pairs(root, "abcdefgh", mask="")
    for stem in "abcdefgh":
        put(root / "mask" / f"{stem}.png", mask)
    return root


@pytest.mark.parametrize(
    ("value", "kind"), [(255, "white"), (0, "black")], ids=["all white", "all black"]
)
def test_constant_masks_are_counted(tmp_path, pairs, put, value, kind):
    root = two_class(tmp_path, pairs, put, np.full((32, 48), value, np.uint8))
    report = check(FolderRGBX(str(root), binary=True, val_share=0.25), progress=False)
    assert report.splits["train"].note_kinds[kind] == 4
    assert any("all 4 masks are of one colour" in line for line in report.warnings)
    put(root / "mask" / "a.png", np.eye(32, 48, dtype=np.uint8) * 255)
    report = check(FolderRGBX(str(root), binary=True, val_share=0.0), progress=False)
    assert report.splits["train"].note_kinds[kind] == 7
    assert not any("of one colour" in line for line in report.warnings)


def test_inverted_masks_are_hinted_at(tmp_path, pairs, put):
    dark = np.full((32, 48), 255, np.uint8)
    dark[8:20, 10:30] = 0
    for mask, said in ((dark, 1), (255 - dark, 0)):
        root = two_class(tmp_path / str(said), pairs, put, mask)
        report = check(FolderRGBX(str(root), binary=True, val_share=0.0), progress=False)
        assert sum("8 of 8 masks are bright along" in line for line in report.warnings) == said


def test_palettes_that_ids_turn_round_are_noted(tmp_path, pairs, put):
    root = two_class(tmp_path, pairs, put, NONE)
    indices = np.zeros((32, 48), bool)
    indices[8:20, 10:30] = True
    for path in (root / "mask").glob("*.png"):
        palette(~indices, [(255,) * 3, (0,) * 3]).save(path)
    shares = {}
    for binary in (False, True):
        names = None if binary else ["background", "object"]
        data = FolderRGBX(str(root), class_names=names, binary=binary, val_share=0.0)
        report = check(data, progress=False)
        shares[binary] = report.splits["train"].shares()[1]
        assert report.splits["train"].note_kinds["inverted"] == (0 if binary else 8)
    assert shares[True] == indices.mean() and shares[False] == 1 - indices.mean()


@pytest.mark.parametrize(
    ("values", "hint", "not_hint"),
    [
        ((0, 1, 2), "need 3 class_names", "binary"),  # black-and-white reading has nothing to show
        ((0, 255, 254), "binary: true", "class_names"),
        ((1, 2, 40), "need 41 class_names", "binary"),
        ((0, 90, 100), "outside 0 to 1", "binary"),
    ],
)
def test_hints_are_tried_on_the_data(tmp_path, pairs, put, values, hint, not_hint):
    mask = np.array([values[0]] * 20 + [values[1]] * 20 + [values[2]] * 8, np.uint8)
    root = two_class(tmp_path, pairs, put, np.tile(mask, (32, 1)))
    data = FolderRGBX(str(root), class_names=["background", "object"])
    with pytest.raises(SampleError) as caught:
        data.read_mask(root / "mask" / "a.png")
    assert hint in str(caught.value) and not_hint not in str(caught.value)


def test_only_usable_pairs_are_counted(tmp_path, pairs, put, capsys):
    root = pairs(tmp_path / "d", "abcd", mask="")
    for stem in "abcd":
        put(root / "mask" / f"{stem}.png", np.ones((32, 48), np.uint8))
        put(root / "x" / f"{stem}.png", np.full((32, 48), 51, np.uint8))
    put(root / "mask" / "a.png", np.zeros((40, 48), np.uint8))  # of another size
    put(root / "x" / "b.png", np.full((8, 8), 255, np.uint8))
    (root / "rgb" / "c.png").write_bytes(b"")
    options = ["--data", "FolderRGBX", "--data.root", str(root), "--data.val_share", "0"]
    options += ["--data.class_names", "[a, b]", "-o", str(tmp_path / "o")]
    assert main([*options, "--statistics", "true"]) == 1
    found = json.loads((tmp_path / "o" / "report.json").read_text())["splits"]["train"]
    assert found["pairs"] == 1
    assert found["class_images"] == {"a": 0, "b": 1} and found["class_share"]["b"] == 1
    assert found["x_mean"] == pytest.approx(0.2) and found["x_range"][1] == pytest.approx(0.2)
    assert found["notes"] == {"constant": 1}
    assert found["statistics"]["samples"] == 1
