import json
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from rgbx.cli.check_data import main
from rgbx.data import NEURSDDS, VT5000
from rgbx.data.checks.check import check


@pytest.fixture
def run(tmp_path, capsys):
    """Run ``rgbx check-data``; gives the exit status, what was printed, and the report."""

    def call(name, root, *options):
        out = tmp_path / "out"
        status = main(["--data", name, "--data.root", str(root), "-o", str(out), *options])
        return status, capsys.readouterr().out, json.loads((out / "report.json").read_text())

    return call


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fixture", "pairs"),
    [
        ("VT5000", "vt5000_root", {"train": 7, "val": 1, "VT5000": 4, "VT1000": 2, "VT821": 2}),
        ("RGBDSaliency", "rgbd_root", {"train": 7, "val": 1, "NLPR": 2, "NJU2K": 4, "STERE": 2}),
        ("NEURSDDS", "neu_rsdds_root", {"train": 4, "val": 4, "test": 4}),
    ],
)
def test_generated_sets_are_clean(run, request, tmp_path, name, fixture, pairs):
    status, text, report = run(name, request.getfixturevalue(fixture))
    assert status == 0 and report["ok"] and "no problem found" in text
    assert {split: found["pairs"] for split, found in report["splits"].items()} == pairs
    for found in report["splits"].values():
        assert 0.01 < found["class_share"]["salient"] < 0.4
        assert found["class_images"]["salient"] == found["pairs"]
        assert found["notes"] == {} and found["grey_masks"] == {}
        assert found["x_range"][0] >= 0 and found["x_range"][1] <= 1
    assert "checkpoints are chosen on a seeded 10 % of train (seed 0)" in text.replace("\n", " ")
    with Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
        assert sheet.width > 3 * 90 and sheet.height > 5 * 64


@pytest.mark.slow
def test_scribbles_are_counted_as_labels(run, scribble_root):
    options = ["--data.scribbles", str(scribble_root / "scribbles")]
    status, _, report = run("VT5000", scribble_root, *options)
    train, test = report["splits"]["train"], report["splits"]["VT5000"]
    assert status == 0 and test["ignored_pixels"] == 0
    assert train["ignored_pixels"] > 0.7 * train["pairs"] * 64 * 96
    assert train["class_images"]["salient"] == train["pairs"] == 7


@pytest.mark.slow
def test_empty_scribble_breaks_training(run, scribble_root, tmp_path, put):
    root = shutil.copytree(scribble_root, tmp_path / "copy")
    put(root / "scribbles_012" / "1.png", np.zeros((64, 96), np.uint8))
    options = ["--data.scribbles", str(root / "scribbles_012"), "--data.choose_on_test", "true"]
    status, text, report = run("VT5000", root, *options)
    assert status == 1 and report["splits"]["train"]["problems"] == {"empty": 1}
    assert "1.png: the scribble is empty: no pixel carries a label" in text
    assert "checkpoints are chosen on THE TEST SET" in text


def test_black_and_grey_masks_are_named(run, vt5000_root, tmp_path, put):
    root = shutil.copytree(vt5000_root, tmp_path / "copy")
    black = put(root / "VT1000" / "GT" / "13.jpg", np.zeros((64, 96), np.uint8))
    soft = np.tile(np.linspace(0, 255, 96, dtype=np.uint8), (64, 1))
    grey = put(root / "VT821" / "GT" / "15.jpg", soft)
    status, text, report = run("VT5000", root)
    assert status == 0
    assert report["splits"]["VT1000"]["notes"] == {"black": 1}
    assert report["splits"]["VT1000"]["noted"] == [str(black)]
    assert report["splits"]["VT1000"]["class_images"]["salient"] == 1
    assert f"VT1000: 1 masks are all black: {black}" in text
    share = report["splits"]["VT821"]["grey_masks"][str(grey)]
    stored = np.asarray(Image.open(grey))
    assert share == pytest.approx(((stored > 8) & (stored < 247)).mean(), abs=1e-3)
    assert share > 0.9


def test_constant_and_nan_depth_have_kinds_of_their_own(run, neu_rsdds_root, tmp_path):
    root = shutil.copytree(neu_rsdds_root, tmp_path / "copy")
    depth = sorted((root / "Depth_test").iterdir())
    values = np.full((64, 96), 3.0, np.float32)
    tifffile.imwrite(depth[0], values)
    tifffile.imwrite(depth[1], values * np.nan)
    values[:32] = 5
    values[0, 0] = np.inf
    tifffile.imwrite(depth[2], values)
    status, text, report = run("NEURSDDS", root)
    assert status == 0 and report["splits"]["test"]["notes"] == {"constant": 2, "nan": 1}
    assert report["splits"]["test"]["noted"] == [str(path) for path in depth[:3]]
    assert "2 x images are constant or hold no finite value" in text
    assert "1 x images hold NaN or infinity" in text


def test_many_notes_are_one_line(vt5000_root, tmp_path, put):
    root = shutil.copytree(vt5000_root, tmp_path / "copy")
    folder = root / "VT5000" / "VT5000_clear" / "Test"
    for path in (folder / "T").iterdir():
        put(path, np.full((64, 96, 3), 90, np.uint8))
    report = check(VT5000(str(root)), progress=False)
    lines = [line for line in report.warnings if "constant" in line]
    assert len(lines) == 1 and lines[0].startswith("VT5000: 4 x images are constant")
    assert "and 1 more (named in report.json)" in lines[0]


def test_known_faults_break_with_one_line_each(run, vt5000_root, tmp_path, put):
    root = shutil.copytree(vt5000_root, tmp_path / "copy")
    put(root / "VT1000" / "GT" / "13.jpg", np.zeros((96, 64), np.uint8))
    put(root / "VT1000" / "T" / "14.bmp", np.zeros((60, 96), np.uint8))
    (root / "VT821" / "thermal" / "15.jpg").unlink()
    status, text, report = run("VT5000", root)
    assert status == 1 and len(report["breaking"]) == 3
    assert report["splits"]["VT1000"]["problems"] == {"swapped": 1, "size": 1}
    assert report["splits"]["VT821"]["problems"] == {"missing": 1}
    said = " ".join(text.split())
    assert "but" in said and "turn it" in said and "early copies" not in said  # another file


def test_resized_pack_is_a_warning(run, tmp_path, put):
    image = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    for split, stem in (("train", "a"), ("train", "b"), ("test/SIP", "c")):
        for part in ("RGB", "depth", "GT"):  # no image twice, which would be a problem
            put(tmp_path / "pack" / split / part / f"{stem}.png", np.roll(image, ord(stem)))
    status, _, report = run("RGBDSaliency", tmp_path / "pack")
    assert status == 0
    assert sum("all training images have 256 x 256 pixels" in w for w in report["warnings"]) == 1


def test_copy_without_test_masks_can_be_checked(neu_rsdds_root, tmp_path):
    root = shutil.copytree(neu_rsdds_root, tmp_path / "copy")
    shutil.rmtree(root / "GT_test")
    report = check(NEURSDDS(str(root)), progress=False)
    assert report.breaking == [] and list(report.splits) == ["train", "val"]
