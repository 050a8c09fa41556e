import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from rgbx.data import PST900, VT5000, MFNet
from rgbx.errors import DataError


def module(root, **options):
    return VT5000(str(root), **{"size": (32, 48), "num_workers": 0, **options})


def names(data, split):
    return [r.name for r in data.find_records(split)]


def test_three_test_sets_and_a_seeded_validation_set(vt5000_root):
    data = module(vt5000_root, val_share=0.25)
    assert data.test_splits == ("VT5000", "VT1000", "VT821")
    assert data.splits == ("train", "val", "VT5000", "VT1000", "VT821")
    assert [len(names(data, s)) for s in data.splits] == [6, 2, 4, 2, 2]
    stored = sorted(p.stem for p in (vt5000_root / "VT5000/VT5000_clear/Train/GT").iterdir())
    assert sorted(names(data, "train") + names(data, "val")) == stored
    assert names(module(vt5000_root, val_share=0.25), "val") == names(data, "val")
    other = {tuple(names(module(vt5000_root, val_share=0.25, seed=s), "val")) for s in range(6)}
    assert len(other) > 1
    data.setup("test")
    assert [len(loader) for loader in data.test_dataloader()] == [4, 2, 2]
    assert data.class_names == ("background", "salient") and data.num_classes == 2


def test_choosing_on_the_test_set_holds_nothing_out_and_says_so(vt5000_root):
    data = module(vt5000_root, choose_on_test=True)
    assert len(names(data, "train")) == 8
    assert names(data, "val") == names(data, "VT5000")
    assert data.choice == "THE TEST SET VT5000"
    assert module(vt5000_root, seed=3).choice == "a seeded 10 % of train (seed 3)"


def test_other_data_sets_say_what_they_choose_on(mfnet_root, pst900_root):
    assert MFNet(str(mfnet_root)).choice == "its val list"
    trained = MFNet(str(mfnet_root), protocol="trainval")
    assert trained.choice == "its val list, which was trained on too"
    assert PST900(str(pst900_root), val_share=0.2).choice == "a seeded 20 % of train (seed 0)"


def moved(root, tmp_path, *steps):
    """A copy of the generated tree with folders renamed, given as (from, to)."""
    target = shutil.copytree(root, tmp_path / "copy")
    for old, new in steps:
        (target / new).parent.mkdir(parents=True, exist_ok=True)
        (target / old).rename(target / new)
    return target


CLEAR = "VT5000/VT5000_clear"


@pytest.mark.parametrize(
    "steps",
    [
        [(CLEAR, "VT5000/VT5000")],
        [(CLEAR, "VT5000_clear")],
        [(f"{CLEAR}/Train", "VT5000/Train"), (f"{CLEAR}/Test", "VT5000/Test")],
        [("VT1000", "other"), ("other", "VT1000/VT1000")],
        [
            (f"{CLEAR}/Train", "Train"),
            *((name, f"Test/{name}") for name in ("VT821", "VT1000")),
            (f"{CLEAR}/Test", "Test/VT5000"),
        ],
        [(f"{CLEAR}/Train", f"{CLEAR}/train"), (f"{CLEAR}/Test", f"{CLEAR}/test")],
        [(f"{CLEAR}/Train/RGB", f"{CLEAR}/Train/Image"), ("VT1000/T", "VT1000/IR")],
        [("VT821/thermal", "VT821/Thermal"), ("VT821/GT", "VT821/Mask"), ("VT1000/T", "VT1000/t")],
        [("VT1000/RGB", "VT1000/rgb"), ("VT1000/GT", "VT1000/gt")],
    ],
    ids=lambda steps: steps[-1][1].replace("/", "_"),
)
def test_every_nesting_is_found(vt5000_root, tmp_path, steps):
    data = module(moved(vt5000_root, tmp_path, *steps))
    whole = module(vt5000_root)
    assert data.test_splits == ("VT5000", "VT1000", "VT821")
    for split in data.splits:
        assert names(data, split) == names(whole, split)
    assert len(names(data, "predict")) == 16


def test_folder_of_vt5000_alone(vt5000_root):
    for folder in (vt5000_root / "VT5000", vt5000_root / "VT5000" / "VT5000_clear"):
        data = module(folder)
        assert data.test_splits == ("VT5000",)
        assert [len(names(data, s)) for s in data.splits] == [7, 1, 4]


def test_only_train_or_only_test_on_disk(vt5000_root, tmp_path):
    train = moved(vt5000_root, tmp_path)
    for folder in ("VT1000", "VT821", f"{CLEAR}/Test"):
        shutil.rmtree(train / folder)
    data = module(train)
    data.setup("fit")
    assert data.split_sizes == {"train": 7, "val": 1}
    with pytest.raises(DataError, match=r"copy has no test set; set data\.root to a folder with"):
        data.setup("test")
    tests = module(vt5000_root / "VT1000")
    tests.setup("test")
    assert tests.test_splits == ("VT1000",) and tests.split_sizes == {"VT1000": 2}
    assert tests.choice == "a seeded 10 % of train (seed 0)"
    with pytest.raises(DataError, match="has no folder Train with RGB and T"):
        tests.setup("fit")


def test_test_sets_can_be_chosen_and_must_exist(vt5000_root, tmp_path):
    data = module(vt5000_root, test_sets=["VT821", "VT5000"])
    assert data.test_splits == ("VT821", "VT5000")
    assert len(names(data, "predict")) == 6
    with pytest.raises(DataError, match=r"has no folder of the test set VT723 with RGB and T"):
        module(vt5000_root, test_sets=["VT723"]).setup("test")
    fourth = moved(vt5000_root, tmp_path, ("VT821", "VT723"))
    data = module(fourth, test_sets=["VT723"])
    assert len(names(data, "VT723")) == 2
    assert module(fourth).test_splits == ("VT5000", "VT1000")
    with pytest.raises(DataError, match=r"does not exist; set data\.root to a folder with VT5000/"):
        module(tmp_path / "no").setup("fit")


def test_prediction_names_are_unique_and_need_no_masks(vt5000_root, tmp_path, pairs):
    root = pairs(tmp_path / "flat", "ab", "RGB", "T", None)
    assert names(module(root), "predict") == ["a", "b"]
    for name in ("VT1000", "VT821"):
        pairs(tmp_path / "two" / name, "ab", "RGB", "T", None)
    two = module(tmp_path / "two")
    found = two.find_records("predict")
    assert [r.name for r in found] == ["VT1000/a", "VT1000/b", "VT821/a", "VT821/b"]
    assert all(r.mask is None for r in found)
    with pytest.raises(DataError, match=r"no folder of masks .*: VT1000 cannot go without"):
        two.setup("test")


def test_unexpected_counts_are_warnings(vt5000_root):
    with pytest.warns(UserWarning, match="VT821 has 2 samples, 821 are usual"):
        names(module(vt5000_root), "VT821")
    with pytest.warns(UserWarning, match="train has 7 samples, 2250 are usual"):
        names(module(vt5000_root), "train")


def test_jpeg_masks_are_cut_at_half(vt5000_root):
    data = module(vt5000_root)
    path = data.find_records("VT1000")[0].mask
    stored = np.asarray(Image.open(path))
    assert path.suffix == ".jpg" and len(np.unique(stored)) > 2
    data.setup("test")
    mask = data._sets["VT1000"][0]["mask"]
    np.testing.assert_array_equal(mask, stored > 127)
    assert mask.dtype == torch.int64


def test_rotated_mask_is_named_with_the_known_fault(vt5000_root, tmp_path, put):
    root = moved(vt5000_root, tmp_path)
    test = root / CLEAR / "Test"
    stem = sorted(p.stem for p in (test / "GT").iterdir())[0]
    for part, suffix in (("RGB", ".jpg"), ("T", ".jpg"), ("GT", ".png")):
        (test / part / f"{stem}{suffix}").rename(test / part / f"1913{suffix}")
    mask = np.asarray(Image.open(test / "GT" / "1913.png"))
    put(test / "GT" / "1913.png", np.rot90(mask))
    text = r"1913\.png: height and width are swapped: it is 96 x 64 .* turn it \(early copies"
    with pytest.raises(DataError, match=text):
        module(root).setup("test")
    with pytest.warns(UserWarning, match=r"1 samples of VT5000 left out \(1 swapped\)"):
        assert len(names(module(root, on_bad="skip"), "VT5000")) == 3


def test_thermal_of_another_size_or_number(vt5000_root, tmp_path, put):
    root = moved(vt5000_root, tmp_path)
    folder = root / "VT1000"
    first, second = sorted(p.stem for p in (folder / "T").iterdir())
    put(folder / "T" / f"{first}.bmp", np.zeros((32, 48), np.uint8))
    with pytest.raises(DataError, match=r"it is 32 x 48 .* is 64 x 96; resize_x: true accepts"):
        names(module(root), "VT1000")
    resized = module(root, resize_x=True)
    record = resized.find_records("VT1000")[0]
    assert resized.read(record).x.shape == (64, 96)
    (folder / "T" / f"{second}.bmp").unlink()
    put(folder / "T" / "extra.bmp", np.zeros((64, 96), np.uint8))
    with pytest.raises(DataError, match="2 samples of VT1000 cannot be used") as error:
        names(resized, "VT1000")
    assert f"{second} (named in" in str(error.value) and "no x image" in str(error.value)
    assert "extra (named in" in str(error.value) and "no rgb and no mask image" in str(error.value)


def test_pseudo_coloured_thermal_is_averaged(vt5000_root, tmp_path, put):
    root = moved(vt5000_root, tmp_path)
    folder = root / "VT1000"
    stem = sorted(p.stem for p in (folder / "T").iterdir())[0]
    colours = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    put(folder / "T" / f"{stem}.bmp", colours)
    data = module(root)
    with pytest.warns(UserWarning, match="three different channels; their mean is used"):
        x = data.read(data.find_records("VT1000")[0]).x
    np.testing.assert_allclose(x, colours.mean(axis=2) / 255, atol=1e-6)


@pytest.mark.slow
def test_all_black_mask_trains(vt5000_root, tmp_path, put):
    root = moved(vt5000_root, tmp_path)
    folder = root / CLEAR / "Train" / "GT"
    for path in folder.iterdir():
        put(path, np.zeros((64, 96), np.uint8))
    data = module(root, batch_size=7)
    data.setup("fit")
    assert not next(iter(data.train_dataloader()))["mask"].any()


@pytest.mark.slow
def test_real_pairs_laid_out_as_vt5000(samples, tmp_path):
    """TNO: BMP masks, sizes from 280 x 280 to 709 x 945, some thermal images with 3 channels."""
    source = samples / "tno_saliency"
    for split in ("Train", "Test"):
        for old, new in (("rgb", "RGB"), ("thermal", "T"), ("gt", "GT")):
            shutil.copytree(source / old, tmp_path / "VT5000" / "VT5000_clear" / split / new)
    data = VT5000(str(tmp_path), size=(64, 64), num_workers=0, batch_size=4)
    data.setup("fit")
    data.setup("test")
    assert data.split_sizes == {"train": 18, "val": 2, "VT5000": 20}
    batch = next(iter(data.train_dataloader()))
    assert batch["mask"].shape == (4, 1, 64, 64) and batch["mask"].max() > 0.9
    sizes = set()
    for sample in data._sets["VT5000"]:
        stored = np.asarray(Image.open(tmp_path / CLEAR / "Test/GT" / f"{sample['name']}.bmp"))
        stored = stored[..., 0] if stored.ndim == 3 else stored
        np.testing.assert_array_equal(sample["mask"], stored > 127)
        sizes.add(sample["size"])
    assert len(sizes) == 10
