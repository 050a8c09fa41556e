import numpy as np
import pytest
import torch
from PIL import Image

from rgbx.data import VT5000, FolderRGBX
from rgbx.data.decoding.files import read_soft
from rgbx.data.transforms.augment import Raw, Statistics, TrainTransform, resize_soft
from rgbx.errors import RGBXError

PLAIN = Statistics((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0.0, 1.0)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.array([[0, 51, 255]], np.uint8), [[0, 0.2, 1]]),
        (np.array([[0, 1, 1]], np.uint8), [[0, 1, 1]]),
        (np.array([[False, True]]), [[0, 1]]),
        (np.array([[0, 13107, 65535]], np.uint16), [[0, 0.2, 1]]),
        (np.zeros((1, 3), np.uint8), [[0, 0, 0]]),
        (np.array([[[255, 0, 0], [51, 9, 9]]], np.uint8), [[1, 0.2]]),
    ],
)
def test_soft_masks_are_divided_by_the_full_scale_of_their_type(tmp_path, put, stored, expected):
    soft = read_soft(put(tmp_path / "a.png", stored))
    assert soft.dtype == np.float32
    np.testing.assert_allclose(soft, expected, atol=1e-7)


def test_bilinear_resize_is_pils():
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 256, (37, 53), np.uint8)
    soft = resize_soft(mask.astype(np.float32) / 255, (24, 30))
    byte = Image.fromarray(mask).resize((30, 24), Image.Resampling.BILINEAR)
    # PIL rounds to 8 bits after each of its two passes
    np.testing.assert_allclose(soft * 255, np.asarray(byte), atol=1.01)
    grown = resize_soft(np.array([[0, 1]], np.float32), (1, 4))
    np.testing.assert_allclose(grown, [[0, 0.25, 0.75, 1]], atol=1e-6)
    same = np.array([[0.3, 0.7]], np.float32)
    assert resize_soft(same, (1, 2)) is same


@pytest.mark.parametrize("seed", range(8))
def test_soft_mask_moves_with_the_images(seed):
    """rgb, x and mask show the same ramp, so they stay equal wherever the view goes."""
    ramp = np.tile(np.linspace(0, 1, 96, dtype=np.float32), (64, 1))
    ramp *= np.linspace(0.2, 1, 64, dtype=np.float32)[:, None]
    rgb = np.repeat(np.rint(ramp * 255).astype(np.uint8)[..., None], 3, axis=2)
    transform = TrainTransform((64, 96), PLAIN, 0.5, (0.5, 2.0), 0.0, soft=True)
    moved = transform(Raw(rgb, ramp, ramp), seed)
    assert moved.mask.dtype == np.float32 and moved.mask.shape == (64, 96)
    np.testing.assert_allclose(moved.mask, moved.x, atol=0.02)
    np.testing.assert_allclose(moved.mask, moved.rgb[..., 0], atol=0.03)


def test_padding_of_a_soft_mask_is_background():
    ones = np.ones((32, 48), np.float32)
    raw = Raw(np.full((32, 48, 3), 255, np.uint8), ones, ones)
    moved = TrainTransform((64, 96), PLAIN, 0, (0.5, 0.5), 0, soft=True)(raw, 0)
    assert moved.mask.sum() == 32 * 48
    np.testing.assert_array_equal(moved.mask, moved.x)


def batches(data):
    data.setup("fit")
    return next(iter(data.train_dataloader())), next(iter(data.val_dataloader()))


def test_batches_follow_the_contract(vt5000_root, scribble_root):
    options = {"size": (32, 48), "num_workers": 0, "batch_size": 3}
    train, val = batches(VT5000(str(vt5000_root), **options))
    assert train["mask"].shape == (3, 1, 32, 48) and train["mask"].dtype == torch.float32
    assert train["mask"].min() >= 0 and train["mask"].max() <= 1
    assert ((train["mask"] > 0.1) & (train["mask"] < 0.9)).any(), "borders are grey after resizing"
    assert val["mask"].shape == (1, 32, 48) and val["mask"].dtype == torch.int64
    assert set(val["mask"].unique().tolist()) == {0, 1}
    hard, _ = batches(VT5000(str(vt5000_root), soft_masks=False, **options))
    assert hard["mask"].shape == (3, 32, 48) and set(hard["mask"].unique().tolist()) == {0, 1}
    assert hard["name"] == train["name"]
    agreement = (hard["mask"] == (train["mask"][:, 0] > 0.5)).float().mean()
    assert agreement > 0.98
    folder = str(scribble_root / "scribbles")
    scribbled, val = batches(VT5000(str(scribble_root), scribbles=folder, **options))
    assert scribbled["mask"].dtype == torch.int64
    assert set(scribbled["mask"].unique().tolist()) == {0, 1, 255}
    assert set(val["mask"].unique().tolist()) == {0, 1, 255}


def test_x_is_only_scaled(vt5000_root):
    data = VT5000(str(vt5000_root), size=(64, 96), num_workers=0)
    data.setup("test")
    sample = data._sets["VT1000"][0]
    stored = np.asarray(Image.open(vt5000_root / "VT1000" / "T" / f"{sample['name']}.bmp"))
    np.testing.assert_allclose(sample["x"].numpy(), np.stack([stored / 255] * 3), atol=1e-6)
    assert sample["mask"].dtype == torch.int64 and sample["mask"].shape == (64, 96)


def test_folder_of_ones_own_can_be_soft(tmp_path, put):
    grey = np.tile(np.array([0, 51, 255], np.uint8), (16, 16))
    for part in ("rgb", "x", "gt"):
        for split in ("train", "val"):
            put(tmp_path / split / part / "a.png", grey)
    options = {"size": (16, 48), "num_workers": 0, "flip": 0, "scale": (1, 1), "jitter": 0}
    data = FolderRGBX(str(tmp_path), binary=True, soft_masks=True, **options)
    train, val = batches(data)
    np.testing.assert_allclose(train["mask"][0, 0], grey / 255, atol=1e-6)
    np.testing.assert_array_equal(val["mask"][0], grey > 127)
    with pytest.raises(RGBXError, match="soft_masks needs binary: true"):
        FolderRGBX(str(tmp_path), class_names=["a", "b"], soft_masks=True)
