"""What checkpoints are chosen on: a part of train, the data's own set, test sets, or nothing."""

import shutil

import pytest
import torch

from rgbx.data import COD, ISTD, NEURSDDS, PST900, VT5000, FolderRGBX, MFNet, RGBDSaliency
from rgbx.errors import DataError, RGBXError

SIZE = {"size": (32, 64), "num_workers": 0}


def names(data, split):
    return [r.name for r in data.find_records(split)]


#: data class, fixture with its folder, training pairs, a test set, its pairs
SETS = [
    (VT5000, "vt5000_root", 8, "VT821", 2),
    (RGBDSaliency, "rgbd_root", 8, "STERE", 2),
    (NEURSDDS, "neu_rsdds_root", 8, "test", 4),
    (COD, "cod_root", 8, "COD10K", 4),
    (ISTD, "istd_root", 12, "test", 4),
    (PST900, "pst900_root", 8, "test", 4),
]


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "fixture", "train", "chosen", "tested"), SETS)
def test_all_pairs_train_and_the_last_epoch_or_a_test_set_is_chosen(
    request, cls, fixture, train, chosen, tested
):
    root = str(request.getfixturevalue(fixture))
    nothing = cls(root, val_share=0, **SIZE)
    assert len(names(nothing, "train")) == train
    assert "val" not in nothing.splits and nothing.choice == "nothing: the last epoch"
    nothing.setup("fit")
    assert nothing.split_sizes["train"] == train and "val" not in nothing.split_sizes
    assert nothing.val_dataloader() == []
    with pytest.raises(DataError, match=r"data\.choose_on"):
        nothing.setup("validate")

    on_test = cls(root, choose_on=chosen, **SIZE)
    assert names(on_test, "train") == names(nothing, "train")
    assert names(on_test, "val") == names(on_test, chosen) and len(names(on_test, "val")) == tested
    assert on_test.choice == ("THE TEST SET" if chosen == "test" else f"THE TEST SET {chosen}")


def test_usual_sizes_follow_the_choice(vt5000_root, rgbd_root):
    data = VT5000(str(vt5000_root), choose_on="VT821")
    assert (data.expected_size("train"), data.expected_size("val")) == (2500, 821)
    data = VT5000(str(vt5000_root), choose_on=["VT821", "VT1000"])
    assert data.expected_size("val") == 1821 and data.choice == "THE TEST SETS VT821, VT1000"
    assert VT5000(str(vt5000_root), val_share=0).expected_size("train") == 2500
    assert VT5000(str(vt5000_root)).expected_size("val") == 250
    assert VT5000(str(vt5000_root), choose_on_test=True).expected_size("val") == 2500
    whole = RGBDSaliency(str(rgbd_root), choose_on_test=True, test_sets=["NLPR", "STERE"])
    assert (whole.expected_size("train"), whole.expected_size("val")) == (2185, 1300)


def test_saliency_masks_of_test_sets_keep_their_size(vt5000_root):
    held_out = VT5000(str(vt5000_root), **SIZE).dataset("val")
    assert held_out[0]["mask"].shape == (32, 64)
    chosen = VT5000(str(vt5000_root), choose_on="VT821", **SIZE)
    for mine, tested in zip(chosen.dataset("val"), chosen.dataset("VT821"), strict=True):
        assert torch.equal(mine["mask"], tested["mask"]) and mine["mask"].shape != (32, 64)
        assert torch.equal(mine["rgb"], tested["rgb"]) and torch.equal(mine["x"], tested["x"])


def test_masks_of_classes_come_at_network_size(pst900_root):
    val = PST900(str(pst900_root), choose_on="test", **SIZE).dataset("val")
    assert val[0]["mask"].shape == (32, 64)


def test_test_sets_that_are_not_there_are_named(vt5000_root, tmp_path):
    data = VT5000(str(vt5000_root), choose_on="VT723")
    with pytest.raises(DataError, match=r"VT723.*VT5000, VT1000, VT821"):
        data.setup("fit")
    with pytest.raises(DataError, match="VT821"):
        VT5000(str(vt5000_root), choose_on="VT821", test_sets=["VT1000"]).setup("fit")
    with pytest.raises(RGBXError, match=r"choose_on_test.*choose_on names VT821"):
        VT5000(str(vt5000_root), choose_on="VT821", choose_on_test=True)
    train = shutil.copytree(vt5000_root / "VT5000", tmp_path / "VT5000")
    shutil.rmtree(train / "VT5000_clear" / "Test")
    with pytest.raises(DataError, match="VT5000 to choose checkpoints on"):
        VT5000(str(train), choose_on_test=True).setup("fit")


def test_own_validation_sets_stay_out_of_training(mfnet_root):
    own = MFNet(str(mfnet_root), val_share=0)
    assert "val" in own.splits and own.choice == "its val list"
    data = MFNet(str(mfnet_root), choose_on="test")
    assert names(data, "train") == names(own, "train")
    assert names(data, "val") == names(data, "test") and data.choice == "THE TEST SET"
    both = MFNet(str(mfnet_root), choose_on="test", protocol="trainval")
    assert set(names(both, "train")) == set(names(own, "train")) | set(names(own, "val"))
    assert both.choice == "THE TEST SET"


def test_folders_without_lists_keep_their_test_part(tmp_path, pairs):
    root = pairs(tmp_path, "abcdefghij")
    options = {"class_names": ["a", "b", "c"], "val_share": 0.2}
    held_out = FolderRGBX(str(root), **options)
    data = FolderRGBX(str(root), choose_on="test", **options)
    assert names(data, "test") == names(held_out, "test") == names(data, "val")
    assert names(data, "train") == sorted(names(held_out, "train") + names(held_out, "val"))
