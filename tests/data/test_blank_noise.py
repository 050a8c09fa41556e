"""A modality swapped for noise: how the noise is distributed, and what it depends on."""

import numpy as np
import pytest
import torch

from rgbx.data import HQSeg44K, MFNet, PromptFolder
from rgbx.data.transforms.blank import blanked

OPTIONS = {"size": (32, 48), "num_workers": 0}


def sets(root, stage="fit", **options):
    data = MFNet(str(root), **{**OPTIONS, **options})
    data.setup(stage)
    return data._sets


def test_noise_is_standard_normal():
    noise = blanked(torch.zeros(3, 200, 200), "noise", "00001D", 0)
    assert noise.dtype == torch.float32
    assert float(noise.mean()) == pytest.approx(0, abs=0.01)
    assert float(noise.std()) == pytest.approx(1, abs=0.01)
    assert float((noise.abs() > 1.96).float().mean()) == pytest.approx(0.05, abs=0.002)
    assert abs(np.corrcoef(noise.flatten(1))[0, 1]) < 0.02


def test_noise_follows_from_name_and_seed_alone():
    shape = torch.zeros(1, 8, 8)
    first = blanked(shape, "noise", "a", 0)
    assert torch.equal(first, blanked(torch.ones(1, 8, 8), "noise", "a", 0))
    assert not torch.equal(first, blanked(shape, "noise", "b", 0))
    assert not torch.equal(first, blanked(shape, "noise", "a", 1))
    # a value that stays, so that scores with noise can be repeated in years
    assert first[0, 0, :3].tolist() == pytest.approx([-0.642979, 0.567239, -1.030549], abs=1e-6)


def test_mean_is_zero():
    assert not blanked(torch.ones(3, 4, 4), "mean", "a", 0).any()


@pytest.mark.parametrize(("blank", "other"), [("x", "rgb"), ("rgb", "x")])
def test_only_the_blanked_modality_becomes_noise(mfnet_root, blank, other):
    noisy, whole = sets(mfnet_root, blank=blank, blank_with="noise"), sets(mfnet_root)
    for split in ("train", "val"):
        for key in ((0, 5), (2, 9)):
            a, b = noisy[split][key], whole[split][key]
            assert torch.equal(a[other], b[other]) and torch.equal(a["mask"], b["mask"])
            assert a[blank].shape == b[blank].shape
            assert float(a[blank].std()) == pytest.approx(1, abs=0.06)


def test_noise_is_the_same_in_every_epoch_and_another_for_every_sample(mfnet_root):
    train = sets(mfnet_root, blank="x", blank_with="noise")["train"]
    again = sets(mfnet_root, blank="x", blank_with="noise")["train"]
    other = sets(mfnet_root, blank="x", blank_with="noise", seed=1)["train"]
    assert torch.equal(train[0, 5]["x"], train[0, 6]["x"])
    assert torch.equal(train[0, 5]["x"], again[0, 7]["x"])
    assert not torch.equal(train[0, 5]["x"], train[1, 5]["x"])
    assert not torch.equal(train[0, 5]["x"], other[0, 5]["x"])


def test_one_channel_of_noise_is_repeated_three_stay_apart(mfnet_root):
    one = sets(mfnet_root, blank="x", blank_with="noise")["val"][0]["x"]
    assert torch.equal(one[0], one[1]) and torch.equal(one[0], one[2])
    three = sets(mfnet_root, blank="x", blank_with="noise", x_channels=3)["val"][0]["x"]
    assert abs(np.corrcoef(three.flatten(1))[0, 1]) < 0.1
    rgb = sets(mfnet_root, blank="rgb", blank_with="noise")["val"][0]["rgb"]
    assert abs(np.corrcoef(rgb.flatten(1))[0, 1]) < 0.1


def test_workers_draw_the_same_noise(mfnet_root):
    batches = []
    for workers in (0, 2):
        data = MFNet(
            str(mfnet_root),
            **{**OPTIONS, "num_workers": workers, "blank": "x", "blank_with": "noise"},
        )
        data.setup("validate")
        batches.append(torch.cat([batch["x"] for batch in data.val_dataloader()]))
    assert torch.equal(*batches)


def test_promptable_images_become_noise_too(hqseg_root, tmp_path, put):
    noisy = HQSeg44K(str(hqseg_root), size=(64, 64), num_workers=0, blank="rgb", blank_with="noise")
    noisy.setup("fit")
    a, b = noisy._sets["train"][0, 1], noisy._sets["train"][0, 2]
    assert float(a["rgb"].std()) == pytest.approx(1, abs=0.05) and a["mask"].any()
    assert a["name"] != b["name"] or torch.equal(a["rgb"], b["rgb"])
    for stem in "abcdefghij":
        put(tmp_path / "im" / f"{stem}.png", np.full((20, 40, 3), 99, np.uint8))
        put(tmp_path / "gt" / f"{stem}.png", np.eye(20, 40, dtype=np.uint8) * 255)
    options = {"resize_mode": "pad", "blank": "rgb", "blank_with": "noise", "num_workers": 0}
    padded = PromptFolder(str(tmp_path), size=(64, 64), **options)
    padded.setup("test")
    rgb = padded._sets["test"][0]["rgb"]
    assert float(rgb[:, :32].std()) == pytest.approx(1, abs=0.05)
    assert not rgb[:, 32:].any()  # padding stays what it was
