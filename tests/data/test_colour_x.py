"""X with three channels: every transform keeps them in place, every data set gives them."""

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageEnhance

from rgbx.data import VT5000, FolderRGBX, MFNet
from rgbx.data.decoding.colour import read_colour
from rgbx.data.decoding.files import SampleError
from rgbx.data.transforms.augment import (
    EvalTransform,
    Raw,
    Statistics,
    TrainTransform,
    resize_image,
)
from rgbx.data.transforms.enhance import draw_factors, enhance_grey, enhance_x

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (24, 36, 3), np.uint8)
GREY = COLOUR[..., 0]
UNIT = COLOUR.astype(np.float32) / np.float32(255)
PLAIN = Statistics((0.0,) * 3, (1.0,) * 3, 0.0, 1.0)


@pytest.mark.parametrize("size", [(24, 36), (12, 18), (7, 11), (50, 61), (12, 61)])
def test_six_channels_are_resized_as_each_alone(size):
    stack = RNG.random((24, 36, 6), np.float32)
    together = resize_image(stack, size)
    assert together.shape == (*size, 6)
    for i in range(6):
        alone = resize_image(np.ascontiguousarray(stack[..., i]), size)
        np.testing.assert_allclose(together[..., i], alone, atol=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_colours_move_exactly_with_rgb_and_mask(seed):
    rows, columns = np.mgrid[:64, :96]
    mask = (1 + (columns >= 48) + 2 * (rows >= 32)).astype(np.uint8)
    rgb = np.stack([mask * 50, mask * 20, 255 - mask * 50], axis=2).astype(np.uint8)
    raw = Raw(rgb, rgb[..., ::-1].astype(np.float32) / np.float32(255), mask)
    transform = TrainTransform((64, 96), PLAIN, flip=0.5, scale=(0.5, 2.0), jitter=0.0)
    moved = transform(raw, seed)
    assert moved.x.shape == (64, 96, 3) and moved.x.flags.c_contiguous
    np.testing.assert_array_equal(moved.x[..., ::-1], moved.rgb)
    np.testing.assert_array_equal(moved.x[moved.mask == 255], 0)
    # nor does the third dimension of x change what happens to the rest
    alone = transform(raw._replace(x=None), seed)
    np.testing.assert_array_equal(alone.mask, moved.mask)
    np.testing.assert_allclose(alone.rgb, moved.rgb, atol=1e-6)


def test_jitter_leaves_the_colours_of_x_alone():
    raw = Raw(COLOUR, UNIT, (GREY > 99).astype(np.uint8))
    still = TrainTransform((24, 36), PLAIN, 0, (1, 1), jitter=0.0)
    shaken = TrainTransform((24, 36), PLAIN, 0, (1, 1), jitter=0.5)
    for seed in range(5):
        np.testing.assert_array_equal(still(raw, seed).x, shaken(raw, seed).x)


@pytest.mark.parametrize("seed", range(5))
def test_colours_are_enhanced_as_pil_does_up_to_its_rounding(seed):
    factors = draw_factors(seed, 1)
    image = Image.fromarray(COLOUR)
    for kind, factor in zip(("Brightness", "Contrast", "Color", "Sharpness"), factors, strict=True):
        image = getattr(ImageEnhance, kind)(image).enhance(factor)
    x = enhance_x(UNIT, factors)
    assert x.dtype == np.float32 and x.shape == UNIT.shape and x.min() >= 0 and x.max() <= 1
    # PIL rounds after every step; colour and sharpness enlarge what it rounded
    np.testing.assert_allclose(x, np.asarray(image) / 255, atol=14 / 255)
    assert np.abs(x - np.asarray(image) / 255).mean() < 2 / 255
    np.testing.assert_allclose(enhance_x(UNIT, (1, 1, 1, 1)), UNIT, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_equal_channels_are_enhanced_as_one(seed):
    factors = draw_factors(seed, 1)
    one = enhance_grey(UNIT[..., 0].copy(), factors)
    three = enhance_x(np.repeat(UNIT[..., :1], 3, axis=2), factors)
    np.testing.assert_array_equal(enhance_x(UNIT[..., 0].copy(), factors), one)
    for channel in np.moveaxis(three, 2, 0):
        np.testing.assert_allclose(channel, one, atol=1e-5)


def test_no_colour_gives_equal_channels():
    x = enhance_x(UNIT, (1, 1, 0, 1))
    np.testing.assert_allclose(x[..., 0], x[..., 1], atol=1e-6)
    np.testing.assert_allclose(x[..., 0], UNIT @ [0.299, 0.587, 0.114], atol=1e-5)


def mixed(root, put):
    """Pairs whose X is a grey bmp, a colour jpg, an RGBA png, deep and float tiffs, 40 x 60."""
    ramp = np.mgrid[:40, :60][1] * 4
    colour = np.stack([ramp, 255 - ramp, ramp // 2], axis=2).astype(np.uint8)
    for i, name in enumerate(("a.bmp", "b.jpg", "c.png", "d.tiff", "e.tif", "f.png")):
        stem = name[0]
        put(
            root / "rgb" / f"{stem}.{('jpg', 'png', 'bmp')[i % 3]}",
            COLOUR[:1].repeat(40, 0)[:, np.arange(60) % 36],
        )
        put(root / "gt" / f"{stem}.png", (ramp > 120).astype(np.uint8) * 255)
    put(root / "x" / "a.bmp", ramp.astype(np.uint8))
    put(root / "x" / "b.jpg", colour, quality=95)
    put(root / "x" / "c.png", np.dstack([colour, np.full((40, 60), 9, np.uint8)]))
    tifffile.imwrite(root / "x" / "d.tiff", colour.astype(np.uint16) * 100, photometric="rgb")
    tifffile.imwrite(root / "x" / "e.tif", ramp.astype(np.float32) / 7)
    put(root / "x" / "f.png", (ramp * 100).astype(np.uint16))
    return root


def test_folders_of_mixed_files_give_batches(tmp_path, put):
    root = mixed(tmp_path, put)
    options = {"binary": True, "size": (32, 48), "num_workers": 0, "batch_size": 4}
    colour = FolderRGBX(str(root), x_channels=3, enhance=True, **options)
    grey = FolderRGBX(str(root), **options)
    for data in (colour, grey):
        data.setup("fit")
        data.setup("predict")
        batch = next(iter(data.train_dataloader()))
        assert batch["x"].shape == (4, 3, 32, 48) and batch["x"].isfinite().all()
    found = {s["name"]: s["x"] for s in (colour._sets["predict"][i] for i in range(6))}
    plain = {s["name"]: s["x"] for s in (grey._sets["predict"][i] for i in range(6))}
    equal = {name: torch.equal(x[0], x[1]) for name, x in found.items()}
    assert equal == {"a": True, "b": False, "c": False, "d": False, "e": True, "f": True}
    for name in "aef":
        torch.testing.assert_close(found[name], plain[name], rtol=0, atol=1e-6)
    for name in "bcd":  # red grows to the right, green falls
        assert (found[name][0, :, -1] > found[name][0, :, 0]).all()
        assert (found[name][1, :, -1] < found[name][1, :, 0]).all()
    torch.testing.assert_close(plain["c"][0], found["c"].mean(dim=0), rtol=0, atol=1e-5)
    # the deep file holds the same colours as the png, and its values fill the range as well
    torch.testing.assert_close(found["d"], found["c"], rtol=0, atol=1e-4)


def test_pseudo_coloured_vt5000_with_the_papers_means(vt5000_root):
    means = {"x_mean": [0.7538, 0.3609, 0.3417], "x_std": [0.2414, 0.2696, 0.2082]}
    data = VT5000(str(vt5000_root), size=(64, 96), num_workers=0, x_channels=3, **means)
    plain = VT5000(str(vt5000_root), size=(64, 96), num_workers=0)
    for each in (data, plain):
        each.setup("test")
    for split in data.test_splits:
        x, unit = data._sets[split][0]["x"], plain._sets[split][0]["x"]
        mean, std = (torch.tensor(means[key]).view(3, 1, 1) for key in ("x_mean", "x_std"))
        torch.testing.assert_close(x, (unit - mean) / std, rtol=1e-5, atol=1e-5)


def test_a_fourth_channel_is_repeated(mfnet_root):
    three = MFNet(str(mfnet_root), size=(32, 48), num_workers=0, x_channels=3)
    one = MFNet(str(mfnet_root), size=(32, 48), num_workers=0)
    for data in (three, one):
        data.setup("fit")
    for key in ((0, 5), (3, 8)):
        a, b = three._sets["train"][key], one._sets["train"][key]
        torch.testing.assert_close(a["x"], b["x"], rtol=0, atol=1e-5)
        torch.testing.assert_close(a["rgb"], b["rgb"], rtol=0, atol=1e-5)
        assert torch.equal(a["mask"], b["mask"])


def test_another_size_is_resized(tmp_path, put):
    for stem in "abc":
        put(tmp_path / "rgb" / f"{stem}.png", COLOUR)
        put(tmp_path / "x" / f"{stem}.png", COLOUR[:12, :18])
        put(tmp_path / "gt" / f"{stem}.png", GREY)
    options = {"binary": True, "size": (24, 36), "num_workers": 0, "x_channels": 3}
    data = FolderRGBX(str(tmp_path), resize_x=True, **options)
    raw = data.read(data.find_records("train")[0])
    assert raw.x.shape == (24, 36, 3)
    strict = FolderRGBX(str(tmp_path), **options)
    with pytest.raises(SampleError, match="it is 12 x 18"):
        strict.read(data.find_records("train")[0])


@pytest.mark.slow
def test_real_thermal_panels_in_false_colours(samples, tmp_path, put):
    """TNO's thermal images, coloured as VT5000's are."""
    bar = cv2.applyColorMap(np.arange(256, dtype=np.uint8), cv2.COLORMAP_JET)[:, 0, ::-1]
    for path in sorted((samples / "tno_saliency" / "thermal").iterdir())[:6]:
        thermal = np.asarray(Image.open(path).convert("L"))
        put(tmp_path / "Train" / "T" / f"{path.stem}.jpg", bar[thermal], quality=95)
        for part, name in (("rgb", "RGB"), ("gt", "GT")):
            panel = Image.open(samples / "tno_saliency" / part / path.name).convert("L")
            put(tmp_path / "Train" / name / f"{path.stem}.png", panel)
    data = VT5000(str(tmp_path), size=(64, 64), num_workers=0, x_channels=3, enhance=False)
    data.setup("fit")
    x = torch.stack([data._sets["train"][i, 0]["x"] for i in range(len(data._sets["train"]))])
    assert x.min() >= 0 and x.max() <= 1
    spread = (x.amax(dim=1) - x.amin(dim=1)).mean()
    assert spread > 0.3  # jet's colours are far from grey
    expected = read_colour(tmp_path / "Train" / "T" / f"{data._sets['train'][0]['name']}.jpg")
    np.testing.assert_allclose(
        data._sets["train"][0, 0]["x"].permute(1, 2, 0), resize_image(expected, (64, 64)), atol=1e-6
    )


def test_eval_and_statistics_of_six_channels():
    statistics = Statistics((0.5,) * 3, (0.5,) * 3, (0.1, 0.2, 0.3), 0.5)
    moved = EvalTransform((24, 36), statistics)(Raw(COLOUR, UNIT, None))
    np.testing.assert_allclose(moved.x, (UNIT - [0.1, 0.2, 0.3]) / 0.5, atol=1e-6)
    np.testing.assert_allclose(moved.rgb, UNIT * 2 - 1, atol=1e-6)
