"""``rgbx check-data --statistics true``: class shares, ENet weights, means and stds."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from rgbx.cli.check_data import main
from rgbx.data import FolderRGBX, MFNet
from rgbx.data.checks.check import check
from rgbx.data.checks.split_statistics import Moments
from rgbx.errors import UsageError

# UniRGB-IR's configuration for MFNet: its weights, and the shares of which they are made
WEIGHTS = (
    1.51059098,
    15.81630837,
    30.08046375,
    41.70549916,
    38.33253736,
    39.78383054,
    46.98874852,
    46.46856094,
    44.23738209,
)
SHARES = (0.91866, 0.04527, 0.01380, 0.00427, 0.00643, 0.00545, 0.00151, 0.00175, 0.00286)


@pytest.fixture
def printed(tmp_path, capsys):
    """Run the command; returns what it printed and its report."""

    def run(*arguments: str) -> tuple[str, dict]:
        assert main([*arguments, "-o", str(tmp_path / "out")]) == 0
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        return capsys.readouterr().out, report

    return run


def test_moments_are_those_of_all_pixels_together():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((4, 7), (9, 3), (1, 1))]
    pixels = np.concatenate([p.reshape(-1, 3) for p in images]) / 255
    for change in (lambda p: p, lambda p: p.astype(np.float32) / np.float32(255)):
        moments = Moments()
        for image in images:
            moments.add(change(image))
        assert moments.count == 28 + 27 + 1
        np.testing.assert_allclose(moments.mean, pixels.mean(axis=0), atol=1e-7)
        np.testing.assert_allclose(moments.std, pixels.std(axis=0), atol=1e-7)


def test_one_channel_and_a_constant_one():
    moments = Moments()
    moments.add(np.full((1000, 1000), 0.1, np.float32))
    moments.add(np.full((1000, 1000), 0.1, np.float32))
    assert moments.mean.tolist() == pytest.approx([0.1]) and moments.std.tolist() == [0]
    assert Moments().mean.tolist() == [0]


def test_statistics_of_generated_scenes(mfnet_root, printed):
    data = ["--data", "MFNet", "--data.root", str(mfnet_root)]
    text, report = printed(*data, "--statistics", "true")
    for split in ("train", "val", "test"):
        stems = (mfnet_root / f"{split}.txt").read_text().split()
        pixels = np.concatenate(
            [
                np.asarray(Image.open(mfnet_root / "images" / f"{s}.png")).reshape(-1, 4)
                for s in stems
            ]
        )
        mean, std = pixels.mean(axis=0), pixels.std(axis=0)
        found = report["splits"][split]["statistics"]
        assert found["samples"] == len(stems)
        np.testing.assert_allclose([*found["rgb_mean"], *found["x_mean"]], mean / 255, atol=1e-6)
        np.testing.assert_allclose([*found["rgb_std"], *found["x_std"]], std / 255, atol=1e-6)
        red, green, blue = (f"{v:.5f}" for v in mean[:3])
        assert f"rgb of {split}, 0 to 255: mean [{red}, {green}, {blue}], std [" in text
        shares = MFNet(str(mfnet_root)).class_frequencies(split)
        assert tuple(found["class_frequencies"].values()) == pytest.approx(shares)
        assert list(found["class_frequencies"]) == list(MFNet.class_names)
    assert f"x of test, 0 to 1: mean [{mean[3] / 255:.6f}], std [{std[3] / 255:.6f}]" in text


def test_weights_of_mfnet_come_out_of_its_shares(tmp_path, put, printed):
    """One mask with the published shares gives the published weights."""
    ids = np.repeat(np.arange(9), np.rint(np.array(SHARES) * 100000).astype(int))
    assert ids.size == 100000
    for folder, array in (("images", np.zeros((250, 400, 4), np.uint8)), ("labels", ids)):
        for stem in ("1D", "2D", "3D"):
            image = np.array(array, np.uint8).reshape(250, 400, *array.shape[2:])
            if folder == "images":
                image[0, 0] = ord(stem[0])  # no image twice, which would be a problem
            put(tmp_path / "d" / folder / f"{stem}.png", image)
    for split, stem in (("train", "1D"), ("val", "2D"), ("test", "3D")):
        (tmp_path / "d" / f"{split}.txt").write_text(stem)
    text, _ = printed("--data", "MFNet", "--data.root", str(tmp_path / "d"), "--statistics")
    rows = [line.split("│") for line in text.splitlines() if line.count("│") == 5]
    table = [
        (int(r[1]), float(r[3]), float(r[4]))
        for r in rows
        if r[1].strip().isdigit() and "%" not in r[3]
    ]
    assert [row[0] for row in table] == [*range(9)] * 3
    assert [row[1] for row in table[:9]] == pytest.approx(SHARES)
    assert [row[2] for row in table[:9]] == pytest.approx(WEIGHTS, rel=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("flag", [(), ("--statistics", "false")])
def test_without_the_flag_nothing_changes(mfnet_root, printed, flag):
    text, report = printed("--data", "MFNet", "--data.root", str(mfnet_root), *flag)
    assert "ENet" not in text and "statistics" not in report["splits"]["train"]


def test_a_flag_that_is_neither(mfnet_root):
    with pytest.raises(UsageError, match="'maybe' is neither true nor false"):
        main(["--data", "MFNet", "--data.root", str(mfnet_root), "--statistics", "maybe"])


def test_three_channels_of_x_have_three_means(tmp_path, put, printed):
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (3, 20, 30, 3), np.uint8) // np.array([1, 2, 4], np.uint8)
    for stem, x in zip("abc", colour, strict=True):
        put(tmp_path / "train" / "rgb" / f"{stem}.jpg", np.full((20, 30, 3), 99, np.uint8))
        put(tmp_path / "train" / "x" / f"{stem}.bmp", x)
        put(tmp_path / "train" / "gt" / f"{stem}.png", np.eye(20, 30, dtype=np.uint8) * 255)
    options = ["--data.val_share", "0", "--data.binary", "true", "--data.x_channels", "3"]
    data = FolderRGBX(str(tmp_path), binary=True, val_share=0.0, x_channels=3)
    report = check(data, progress=False, statistics=True)
    found = report.splits["train"].statistics
    np.testing.assert_allclose(found.x.mean, colour.mean(axis=(0, 1, 2)) / 255, atol=1e-6)
    np.testing.assert_allclose(found.x.std, colour.std(axis=(0, 1, 2)) / 255, atol=1e-6)
    assert found.rgb.std.max() < 0.01
    assert found.class_frequencies == pytest.approx((1 - 20 / 600, 20 / 600))
    arguments = ["--data", "FolderRGBX", "--data.root", str(tmp_path), *options]
    assert main([*arguments, "-o", str(tmp_path / "out"), "--statistics"]) == 1  # no test folder
    with Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
        pixels = np.asarray(sheet).astype(int)[20:190, 260:480]
    assert np.ptp(pixels, axis=2).max() > 60  # x is shown in colour


def test_unusable_samples_are_left_out(tmp_path, pairs, put):
    pairs(tmp_path / "train", "abcd", mask="mask")
    put(tmp_path / "train" / "mask" / "d.png", np.full((32, 48), 77, np.uint8))
    data = FolderRGBX(
        str(tmp_path), class_names=["a", "b", "c"], val_share=0.0, on_bad="skip", num_workers=0
    )
    found = check(data, progress=False, statistics=True).splits["train"].statistics
    assert found.samples == 3
    assert found.class_frequencies == pytest.approx(data.class_frequencies())


def test_scaled_depth_is_measured_as_it_is_read(tmp_path, put):
    depth = np.linspace(500, 4500, 600, dtype=np.float32).reshape(20, 30)
    put(tmp_path / "train" / "rgb" / "a.png", np.zeros((20, 30, 3), np.uint8))
    put(tmp_path / "train" / "gt" / "a.png", np.zeros((20, 30), np.uint8))
    (tmp_path / "train" / "depth").mkdir()
    tifffile.imwrite(tmp_path / "train" / "depth" / "a.tiff", depth)
    data = FolderRGBX(str(tmp_path), binary=True, val_share=0.0, x_range=(0, 5000))
    found = check(data, progress=False, statistics=True).splits["train"].statistics
    assert found.x.mean[0] == pytest.approx(depth.mean() / 5000, abs=1e-6)
    assert found.x.std[0] == pytest.approx(depth.std() / 5000, abs=1e-6)


def test_rgb_only_data_have_no_x(hqseg_root, printed):
    text, report = printed(
        "--data", "HQSeg44K", "--data.root", str(hqseg_root), "--statistics", "true"
    )
    assert "rgb of DIS, 0 to 255" in text and "\nx of" not in text
    assert "x_mean" not in report["splits"]["DIS"]["statistics"]


def test_real_pairs(samples, tmp_path):
    root = samples / "rgbd_des"
    data = FolderRGBX(str(root), binary=True, num_workers=0)
    report = check(data, progress=False, statistics=True)
    depth = [np.asarray(Image.open(p)) / 255 for p in sorted((root / "depth").iterdir())]
    found = [report.splits[split].statistics for split in ("train", "val", "test")]
    assert sum(f.samples for f in found) == len(depth) == 5
    together = sum(f.x.mean[0] * f.x.count for f in found) / sum(f.x.count for f in found)
    assert together == pytest.approx(np.mean(depth), abs=1e-6)
