"""`resize: pil` against PIL itself, as SAMSOD's authors read images for training and test."""

import numpy as np
import pytest
import torch
from PIL import Image

from rgbx.data import VT5000, FolderRGBX
from rgbx.data.transforms.augment import EvalTransform, TrainTransform
from rgbx.data.transforms.normalise import Raw, Statistics
from rgbx.errors import RGBXError

PLAIN = Statistics((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0.0, 1.0)
SIZES = [(16, 40), (50, 30), (97, 131), (60, 90)]  # smaller, mixed, larger, the same


def drawn(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def by_pil(image, size):
    """The authors' `transforms.Resize` and `ToTensor`, (H, W, ...) float32 in [0, 1]."""
    small = Image.fromarray(image).resize((size[1], size[0]), Image.BILINEAR)
    return np.asarray(small).astype(np.float32) / np.float32(255)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [(), (3,)])
def test_eight_bit_images_are_pils_to_the_bit(size, channels):
    rgb, x = drawn((60, 90, 3)), drawn((60, 90, *channels), 1)
    raw = Raw(rgb, x.astype(np.float32) / np.float32(255), None)
    moved = EvalTransform(size, PLAIN, resize="pil")(raw)
    np.testing.assert_array_equal(moved.rgb, by_pil(rgb, size))
    np.testing.assert_array_equal(moved.x, by_pil(x, size))
    other = EvalTransform(size, PLAIN)(raw)
    assert size == (60, 90) or np.abs(other.rgb - moved.rgb).max() > 0.9 / 255


def test_finer_x_is_resized_without_rounding():
    x = np.random.default_rng(2).random((60, 90), dtype=np.float32)
    moved = EvalTransform((20, 36), PLAIN, resize="pil")(Raw(drawn((60, 90, 3)), x, None))
    wanted = np.asarray(Image.fromarray(x).resize((36, 20), Image.BILINEAR))
    np.testing.assert_allclose(moved.x, wanted, rtol=0, atol=1e-6)
    assert np.abs(moved.x * 255 - np.rint(moved.x * 255)).max() > 0.1


@pytest.mark.parametrize("size", SIZES)
def test_soft_masks_are_pils_and_ids_are_not_mixed(size):
    mask = drawn((60, 90), 3)
    raw = Raw(drawn((60, 90, 3)), None, mask.astype(np.float32) / np.float32(255))
    still = TrainTransform(size, PLAIN, 0, (1, 1), 0, soft=True, resize="pil")
    moved = still(raw, 0)
    np.testing.assert_array_equal(moved.mask, by_pil(mask, size))
    np.testing.assert_array_equal(moved.rgb, by_pil(raw.rgb, size))
    ids = EvalTransform(size, PLAIN, resize="pil")(raw._replace(mask=mask % 3 * 100)).mask
    assert set(np.unique(ids)) <= {0, 100, 200} and ids.shape == size


def test_training_resizes_before_it_flips_and_normalises():
    statistics = Statistics((0.5, 0.4, 0.3), (0.2, 0.3, 0.4), 0.25, 0.5)
    raw = Raw(
        drawn((60, 90, 3)), drawn((60, 90), 1).astype(np.float32) / 255, drawn((60, 90)) // 99
    )
    moved = TrainTransform((32, 48), statistics, 1.0, (1, 1), 0, resize="pil")(raw, 5)
    wanted = by_pil(raw.rgb, (32, 48))[:, ::-1]
    wanted = (wanted - np.float32(statistics.rgb_mean)) / np.float32(statistics.rgb_std)
    np.testing.assert_allclose(moved.rgb, wanted, rtol=0, atol=1e-6)
    x = by_pil(np.rint(raw.x * 255).astype(np.uint8), (32, 48))[:, ::-1]
    np.testing.assert_allclose(moved.x, (x - 0.25) / 0.5, rtol=0, atol=1e-6)


@pytest.mark.parametrize("split", ["train", "val", "VT821"])
def test_every_split_of_files_is_read_as_the_authors_do(vt5000_root, split):
    options = {"size": (40, 56), "num_workers": 0, "enhance": False, "val_share": 0.25}
    data = VT5000(str(vt5000_root), resize="pil", x_channels=3, **options)
    dataset = data.dataset(split)
    sample, record = dataset[0], dataset.records[0]
    for key, mean, std in (
        ("rgb", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("x", (0, 0, 0), (1, 1, 1)),
    ):
        stored = np.asarray(Image.open(getattr(record, key)).convert("RGB"))
        wanted = torch.from_numpy(by_pil(stored, (40, 56))).permute(2, 0, 1)
        wanted = (wanted - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
        torch.testing.assert_close(sample[key], wanted, rtol=0, atol=1e-6)
    if split == "train":
        grey = np.asarray(Image.open(record.mask).convert("L"))
        np.testing.assert_array_equal(sample["mask"][0], by_pil(grey, (40, 56)))


def test_only_the_two_ways_exist(tmp_path):
    with pytest.raises(RGBXError, match="resize 'area'"):
        FolderRGBX(str(tmp_path), resize="area")
