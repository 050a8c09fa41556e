"""Means and stds of rgb and x as options: their values, their mistakes, their arithmetic."""

import numpy as np
import pytest
import torch
from PIL import Image

from rgbx.cli.check_data import main
from rgbx.data import HQSeg44K, MFNet, RGBDSaliency
from rgbx.data.transforms.augment import EvalTransform, Raw, Statistics
from rgbx.errors import RGBXError

# UniRGB-IR's for MFNet, on the scale of 255
MEAN = [56.49899560, 65.97552241, 58.65733690, 100.82957526]
STD = [58.10148818, 59.04825892, 60.30034803, 47.12476753]


def module(root, **options):
    return MFNet(str(root), **{"size": (64, 96), "num_workers": 0, **options})


def test_defaults_are_the_data_sets_own(mfnet_root):
    data = module(mfnet_root)
    assert data.statistics == Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 0.257, 0.088)
    assert (data.x_channels, data.blank_with) == (1, "mean")


def test_published_means_bring_stored_pixels_to_the_published_scale(mfnet_root):
    scaled = {
        "rgb_mean": [v / 255 for v in MEAN[:3]],
        "rgb_std": [v / 255 for v in STD[:3]],
        "x_mean": MEAN[3] / 255,
        "x_std": STD[3] / 255,
    }
    data = module(mfnet_root, **scaled)
    data.setup("test")
    sample = data._sets["test"][0]
    stored = np.asarray(Image.open(sample["path"]), dtype=np.float64)
    expected = (stored - MEAN) / STD
    np.testing.assert_allclose(sample["rgb"], expected[..., :3].transpose(2, 0, 1), atol=1e-5)
    for channel in sample["x"]:
        np.testing.assert_allclose(channel, expected[..., 3], atol=1e-5)
    assert MFNet.rgb_mean == (0.485, 0.456, 0.406)


def test_one_number_holds_for_every_channel(mfnet_root):
    data = module(mfnet_root, rgb_mean=0.5, rgb_std=0.25, x_mean=0.1)
    assert data.statistics == Statistics((0.5,) * 3, (0.25,) * 3, 0.1, 0.088)


@pytest.mark.parametrize("as_type", [list, tuple, np.array])
def test_three_means_make_three_channels_of_one(mfnet_root, as_type):
    data = module(mfnet_root, x_mean=as_type([0.2, 0.4, 0.6]), x_std=0.5)
    data.setup("test")
    plain = module(mfnet_root, x_mean=0.0, x_std=1.0)
    plain.setup("test")
    sample, unit = data._sets["test"][0], plain._sets["test"][0]["x"]
    expected = (unit - torch.tensor([0.2, 0.4, 0.6])[:, None, None]) / 0.5
    torch.testing.assert_close(sample["x"], expected, rtol=1e-5, atol=1e-6)
    assert sample["x"].shape == (3, 64, 96)


def test_three_equal_means_are_one_mean(mfnet_root):
    three = module(mfnet_root, x_mean=[0.3] * 3, x_std=[0.2] * 3)
    one = module(mfnet_root, x_mean=0.3, x_std=0.2)
    for data in (three, one):
        data.setup("fit")
    for key in ((0, 3), (5, 4)):
        a, b = three._sets["train"][key], one._sets["train"][key]
        torch.testing.assert_close(a["x"], b["x"], rtol=0, atol=1e-5)
        assert torch.equal(a["rgb"], b["rgb"]) and torch.equal(a["mask"], b["mask"])


def test_restore_is_the_inverse_of_normalise():
    statistics = Statistics((0.0,) * 3, (1.0,) * 3, (0.75, 0.36, 0.34), (0.24, 0.27, 0.21))
    x = np.random.default_rng(0).random((6, 8, 3), np.float32)
    raw = Raw(np.zeros((6, 8, 3), np.uint8), x, None)
    moved = EvalTransform((6, 8), statistics)(raw).x
    np.testing.assert_allclose(moved[0, 0, 1], (x[0, 0, 1] - 0.36) / 0.27, rtol=1e-5)
    np.testing.assert_allclose(statistics.restore_x(moved), x, atol=1e-6)


def test_every_data_set_takes_them(rgbd_root, hqseg_root):
    for cls, root in ((RGBDSaliency, rgbd_root), (HQSeg44K, hqseg_root)):
        data = cls(str(root), rgb_mean=[0.1, 0.2, 0.3], size=(32, 32), num_workers=0)
        plain = cls(str(root), rgb_mean=0, rgb_std=1, size=(32, 32), num_workers=0)
        for each in (data, plain):
            each.setup("test")
        split = data.test_splits[0]
        a, b = data._sets[split][0]["rgb"], plain._sets[split][0]["rgb"]
        expected = (b - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor(
            [0.229, 0.224, 0.225]
        ).view(3, 1, 1)
        torch.testing.assert_close(a, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"x_mean": [0.1, 0.2]}, r"x_mean \[0.1, 0.2\] \(give one number or three\)"),
        ({"rgb_std": [0.1] * 4}, r"rgb_std \[0.1, 0.1, 0.1, 0.1\] \(give one number or three\)"),
        ({"rgb_mean": MEAN[:3]}, r"rgb_mean \[56.4.*\] \(give 0 to 1: .* scale of 255\)"),
        ({"x_mean": 100.8}, r"x_mean 100.8 \(give 0 to 1: .* scale of 255\)"),
        ({"x_std": [0.1, 0.2, 0]}, r"x_std \[0.1, 0.2, 0.0\] \(give more than 0, at most 1"),
        ({"rgb_std": float("nan")}, r"rgb_std \[nan, nan, nan\] \(give more than 0"),
        ({"x_channels": 2}, r"x_channels 2 \(give 1 or 3\)"),
        ({"blank_with": "snow"}, r"blank_with 'snow' \(give mean or noise\)"),
    ],
)
def test_numbers_that_cannot_work(options, text):
    with pytest.raises(RGBXError, match=f"^MFNet cannot work with {text}"):
        MFNet("nowhere", **options)


@pytest.mark.slow
def test_numbers_from_the_command_line(mfnet_root, tmp_path, capsys):
    common = ["--data", "MFNet", "--data.root", str(mfnet_root), "-o", str(tmp_path)]
    assert main([*common, "--data.rgb_mean", "[0.2, 0.25, 0.23]", "--data.x_std", "0.2"]) == 0
    three = ["--data.x_mean", "[0.75, 0.36, 0.34]", "--data.x_channels", "3"]
    assert main([*common, *three]) == 0
    assert "mean 0.750, 0.360, 0.340" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(RGBXError, match=r"x_mean \[0.1, 0.2\] \(give one number or three\)"):
        main([*common, "--data.x_mean", "[0.1, 0.2]"])
