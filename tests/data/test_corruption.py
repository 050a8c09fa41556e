"""Training without a modality, with noise on X, with X shifted."""

import numpy as np
import pytest
import torch

from rgbx.data import FLIR, MFNet
from rgbx.data.sampler import sample_seed
from rgbx.data.transforms.corruption import Corruption, Drop, shifted
from rgbx.errors import DataError, RGBXError

OPTIONS = {"size": (32, 48), "num_workers": 0}
ONE = torch.ones(1, 1, 1)


def training(root, kind=MFNet, **options):
    data = kind(str(root), **{**OPTIONS, **options})
    data.setup("fit")
    return data._sets["train"]


def lost(corruption, seed):
    rgb, x = corruption(torch.ones(3, 4, 4), torch.ones(3, 4, 4), "a", seed, ONE)
    return not rgb.any(), not x.any()


def test_shares_of_dropped_images_are_as_asked_and_never_both():
    found = np.array([lost(Corruption(Drop(rgb=0.3, x=0.2)), seed) for seed in range(4000)])
    assert not found.all(axis=1).any()
    np.testing.assert_allclose(found.mean(axis=0), (0.3, 0.2), atol=0.025)


def test_every_sample_loses_one_where_the_shares_sum_to_one():
    found = np.array([lost(Corruption(Drop(rgb=0.5, x=0.5)), seed) for seed in range(200)])
    assert (found.sum(axis=1) == 1).all()


@pytest.mark.parametrize(("kind", "root"), [(MFNet, "mfnet_root"), (FLIR, "flir_root")])
def test_what_a_sample_loses_depends_on_seed_and_epoch_alone(kind, root, request):
    root = request.getfixturevalue(root)
    plain = training(root, kind)
    dropped = training(root, kind, drop=Drop(rgb=0.5, x=0.5))
    seen = set()
    for index in range(len(plain)):
        for epoch in range(4):
            key = (index, sample_seed(0, epoch, index))
            a, b, again = plain[key], dropped[key], dropped[key]
            assert torch.equal(b["rgb"], again["rgb"]) and torch.equal(b["x"], again["x"])
            kept = [name for name in ("rgb", "x") if torch.equal(a[name], b[name])]
            (gone,) = {"rgb", "x"} - set(kept)
            assert not b[gone].any()
            seen.add((index, epoch, gone))
    for gone in ("rgb", "x"):  # one sample loses now this, now that
        assert len({index for index, _, name in seen if name == gone}) > len(plain) // 2


def test_noise_in_place_of_a_modality_is_as_strong_as_an_image():
    rgb, x = Corruption(Drop(x=1.0, fill="noise"))(
        torch.ones(3, 64, 64), torch.ones(3, 64, 64), "a", 5, ONE
    )
    assert torch.equal(rgb, torch.ones(3, 64, 64)) and torch.equal(x[0], x[2])
    assert abs(float(x.mean())) < 0.1 and abs(float(x.std()) - 1) < 0.05


def test_noise_on_x_is_in_units_of_the_stored_values():
    """Strengths are uniform between 0 and the largest, here 0.1, over a std of x of 0.25."""
    corrupt, zeros = Corruption(x_noise=0.1), torch.zeros(3, 32, 32)
    stds = []
    for seed in range(300):
        rgb, x = corrupt(torch.ones(3, 32, 32), zeros, "a", seed, ONE * 0.25)
        assert (rgb == 1).all() and torch.equal(x[0], x[1])
        stds.append(float(x.std()) * 0.25)
    assert 0.09 < max(stds) < 0.11 and min(stds) < 0.01
    assert abs(np.mean(stds) - 0.05) < 0.005


def test_shift_moves_x_by_whole_pixels_against_rgb():
    x = torch.arange(1.0, 65).reshape(1, 8, 8).repeat(3, 1, 1)
    moves = set()
    for seed in range(300):
        _, moved = Corruption(x_shift=2)(torch.zeros(3, 8, 8), x, "a", seed, ONE)
        value = float(moved[0, 4, 4])  # where this pixel came from
        down, right = 4 - int(value - 1) // 8, 4 - int(value - 1) % 8
        assert torch.equal(moved, shifted(x, down, right))
        moves.add((down, right))
    assert moves == {(i, j) for i in range(-2, 3) for j in range(-2, 3)}


def test_a_shifted_image_is_the_image_elsewhere_and_0_at_the_border():
    image = torch.arange(1.0, 13).reshape(1, 3, 4)
    down = shifted(image, 1, -2)
    assert down[0].tolist() == [[0, 0, 0, 0], [3, 4, 0, 0], [7, 8, 0, 0]]
    assert not shifted(image, 3, 0).any() and not shifted(image, 0, -9).any()


def test_validation_is_left_as_it_is(mfnet_root):
    plain = MFNet(str(mfnet_root), **OPTIONS)
    changed = MFNet(str(mfnet_root), **OPTIONS, drop=Drop(0.5, 0.5), x_noise=0.2, x_shift=3)
    for data in (plain, changed):
        data.setup()
    for split in ("val", "test"):
        for a, b in zip(plain._sets[split], changed._sets[split], strict=True):
            assert torch.equal(a["x"], b["x"]) and torch.equal(a["rgb"], b["rgb"])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Drop(rgb=0.7, x=0.4), "sum to at most 1"),
        (lambda: Drop(rgb=-0.1), "rgb -0.1"),
        (lambda: Drop(x=float("nan")), "x nan"),
        (lambda: Corruption(x_noise=-1), "x_noise: -1"),
        (lambda: Corruption(x_shift=-2), "x_shift: -2"),
        (lambda: MFNet("none", blank="x", drop=Drop(rgb=0.1)), "blank 'x' with drop"),
    ],
)
def test_options_that_cannot_be(make, words):
    with pytest.raises(RGBXError, match=words):
        make()


def test_samples_without_x_cannot_lose_a_modality(tmp_path, put):
    from rgbx.data import FolderRGBX

    for name in "abcdef":
        put(tmp_path / "rgb" / f"{name}.png", np.full((40, 40, 3), 9, np.uint8))
        put(tmp_path / "mask" / f"{name}.png", np.eye(40, dtype=np.uint8))
    data = FolderRGBX(str(tmp_path), class_names=["a", "b"], val_share=0.2, drop=Drop(x=0.5))
    with pytest.raises(DataError, match=r"\.png has no x, and drop, x_noise and x_shift need both"):
        data.setup("fit")
