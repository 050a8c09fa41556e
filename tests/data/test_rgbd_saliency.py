import shutil

import numpy as np
import pytest
import tifffile

from rgbx.data import RGBDSaliency
from rgbx.errors import DataError, RGBXError


def module(root, **options):
    return RGBDSaliency(str(root), **{"size": (32, 48), "num_workers": 0, **options})


def names(data, split):
    return [r.name for r in data.find_records(split)]


def test_packs_of_bbsnet(rgbd_root):
    data = module(rgbd_root, val_share=0.25)
    assert data.test_splits == ("NLPR", "NJU2K", "STERE")
    assert [len(names(data, s)) for s in data.splits] == [6, 2, 2, 4, 2]
    assert (data.x_mean, data.x_std) == (0.0, 1.0)
    assert data.choice == "a seeded 25 % of train (seed 0)"
    assert len(names(data, "predict")) == 16
    assert module(rgbd_root, test_sets=["STEREO"]).test_splits == ("STERE",)
    assert len(names(module(rgbd_root, test_sets=["SSB"]), "predict")) == 2


def test_depth_of_8_and_16_bits_agree_and_can_be_inverted(rgbd_root):
    data, turned = module(rgbd_root), module(rgbd_root, invert_depth=True)
    for split in ("NLPR", "STERE"):
        record = data.find_records(split)[0]
        depth = data.read(record).x
        assert depth.dtype == np.float32 and 0 <= depth.min() < 0.1 and 0.8 < depth.max() <= 1
        np.testing.assert_allclose(turned.read(record).x, 1 - depth, atol=1e-7)
        assert depth[-4:].mean() > depth[:4].mean() + 0.5, "near is bright"


def test_training_sets_in_folders_of_their_own(tmp_path, pairs):
    pairs(tmp_path / "train" / "NJUD", "ab", "RGB", "depth", "GT")
    pairs(tmp_path / "NLPR_TRAIN", "cde", "RGB", "depth", "GT")
    pairs(tmp_path / "DUTLF-Depth" / "Train", "fg", "RGB", "depth", "GT")
    pairs(tmp_path / "DUTLF-Depth" / "Test", "h", "RGB", "depth", "GT")
    data = module(tmp_path, val_share=0.0)
    assert names(data, "train") == list("abcde")
    three = module(tmp_path, val_share=0.3, train_sets=["NJU2000", "RGBD1000", "DUT-RGBD"])
    assert three.train_sets == ("NJU2K", "NLPR", "DUT")
    assert sorted(names(three, "train") + names(three, "val")) == list("abcdefg")
    assert three.expected["train"] == 2985 - 896 and data.expected["train"] == 2185
    assert three.test_splits == ("DUT",) and names(three, "DUT") == ["h"]


def caver(root, pairs):
    pairs(root / "NJUD_FULL", "abcde", "Image", "Depth", "Mask")
    pairs(root / "NLPR_FULL", "1234", "Image", "Depth", "Mask")
    pairs(root / "STEREO-1000", "xy", "Image", "Depth", "Mask")
    (root / "njud_train_jw_name_list.lst").write_text("a\nb\nc\n")
    (root / "njud_test_jw_name_list.lst").write_text("d\ne\n")
    return root


def test_cavers_whole_sets_with_lists(tmp_path, pairs):
    root = caver(tmp_path, pairs)
    (root / "NLPR_FULL" / "train.txt").write_text("1.jpg\n3.jpg\n")
    data = module(root, val_share=0.0)
    assert names(data, "train") == ["1", "3", "a", "b", "c"]
    assert data.test_splits == ("NLPR", "NJU2K", "STERE")
    assert names(data, "NJU2K") == ["d", "e"]
    assert names(data, "NLPR") == ["2", "4"], "without a test list it is the rest"
    assert names(data, "STERE") == ["x", "y"]
    (root / "njud_train_jw_name_list.lst").write_text("a\nnone\n")
    with pytest.raises(DataError, match=r"none \(named in .*\): no rgb and no x and no mask image"):
        names(data, "train")


def test_whole_sets_without_lists_are_neither_train_nor_test(tmp_path, pairs):
    root = caver(tmp_path, pairs)
    data = module(root)
    assert data.test_splits == ("NJU2K", "STERE")
    with pytest.raises(DataError, match="has no training set NLPR"):
        names(data, "train")
    with pytest.raises(DataError, match="has no folder of the test set SIP"):
        module(root, test_sets=["SIP"]).setup("test")


def test_d3nets_test_folders(tmp_path, pairs):
    for name in ("NJU2K", "NLPR", "RGBD135", "SSB", "SIP", "LFSD", "SSD"):
        pairs(tmp_path / name, "ab", "RGB", "depth", "GT")
    data = module(tmp_path)
    assert data.test_splits == ("NLPR", "NJU2K", "STERE", "SIP", "LFSD", "DES", "SSD")
    data.setup("test")
    assert set(data.split_sizes.values()) == {2}
    assert names(data, "predict")[0] == "NLPR/a"
    assert names(module(tmp_path / "SIP"), "SIP") == ["a", "b"]


def test_choosing_on_the_test_sets(rgbd_root):
    data = module(rgbd_root, choose_on_test=True, test_sets=["NJU2K", "STERE"])
    assert len(names(data, "train")) == 8 and len(names(data, "val")) == 6
    assert data.choice == "THE TEST SETS NJU2K, STERE"


def test_unknown_sets_and_missing_roots(tmp_path):
    with pytest.raises(RGBXError, match="RGBDSaliency knows no set 'NYU'; choose among NLPR"):
        module(tmp_path, train_sets=["NYU"])
    with pytest.raises(RGBXError, match="train_sets is empty"):
        module(tmp_path, train_sets=[])
    with pytest.raises(DataError, match="has no training set NJU2K"):
        module(tmp_path).setup("fit")
    with pytest.raises(DataError, match=r"has no test set; set data\.root"):
        module(tmp_path).setup("test")


def test_resized_pack_is_noticed(tmp_path, put):
    for stem in "abc":
        for part in ("RGB", "depth", "GT"):
            put(tmp_path / "train" / part / f"{stem}.png", np.eye(256, dtype=np.uint8) * 255)
    with pytest.warns(UserWarning, match="all training images have 256 x 256 pixels"):
        names(module(tmp_path), "train")
    for part in ("RGB", "depth", "GT"):
        put(tmp_path / "train" / part / "d.png", np.eye(255, dtype=np.uint8) * 255)
    data = module(tmp_path, val_share=0.0)
    assert data.remarks("train", data.find_records("train")) == []


def test_pairs_of_different_size_are_never_dropped_silently(rgbd_root, tmp_path, put):
    root = shutil.copytree(rgbd_root, tmp_path / "copy")
    depth = sorted((root / "test" / "STERE" / "depth").iterdir())
    put(depth[0], np.zeros((60, 96), np.uint8))
    with pytest.raises(DataError, match=r"it is 60 x 96 .* is 64 x 96; resize_x: true accepts"):
        names(module(root), "STERE")
    with pytest.warns(UserWarning, match=r"1 samples of STERE left out \(1 size\)"):
        assert len(names(module(root, on_bad="skip"), "STERE")) == 1
    assert len(names(module(root, resize_x=True), "STERE")) == 2


def test_constant_and_nan_depth_train(rgbd_root, tmp_path):
    root = shutil.copytree(rgbd_root, tmp_path / "copy")
    folder = root / "train" / "depth"
    for path in list(folder.iterdir()):
        path.unlink()
        value = np.nan if path.suffix == ".bmp" else 7.0
        tifffile.imwrite(folder / f"{path.stem}.tiff", np.full((64, 96), value, np.float32))
    data = module(root, batch_size=7)
    data.setup("fit")
    with pytest.warns(UserWarning, match="some X images are constant or hold no finite value"):
        batch = next(iter(data.train_dataloader()))
    assert not batch["x"].any() and batch["rgb"].isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count", "low"), [("rgbd_des", 5, 0), ("rgbd_ssd", 3, 0)])
def test_real_pairs_laid_out_as_nju2k(samples, tmp_path, name, count, low):
    for folder in (tmp_path / "NJU2K" / "Train", tmp_path / "NJU2K" / "Test"):
        for old, new in (("rgb", "RGB"), ("depth", "depth"), ("gt", "GT")):
            shutil.copytree(samples / name / old, folder / new)
    data = module(tmp_path, train_sets=["NJU2K"], size=(64, 64), batch_size=2, val_share=0.2)
    data.setup("fit")
    data.setup("test")
    assert data.split_sizes == {"train": count - 1, "val": 1, "NJU2K": count}
    batch = next(iter(data.train_dataloader()))
    assert batch["mask"].shape == (2, 1, 64, 64) and 0 < batch["mask"].mean() < 0.9
    for sample in data._sets["NJU2K"]:
        assert sample["mask"].shape == sample["size"]
        assert 0.01 < sample["mask"].float().mean() < 0.9
        assert sample["x"].max() > sample["x"].min() >= low
