"""Shares of the classes in the masks of a split."""

import numpy as np
import pytest
from PIL import Image

from rgbx.data import VT5000, FolderRGBX, HQSeg44K, MFNet
from rgbx.errors import DataError

NAMES = ["sky", "car", "cone"]


def folder(root, **options):
    return FolderRGBX(str(root), **{"class_names": NAMES, "num_workers": 0, **options})


def masks_of(root, put, masks, split="train"):
    for i, mask in enumerate(masks):
        mask = np.asarray(mask, np.uint8)
        place = root / split
        put(place / "rgb" / f"{i}.png", np.zeros((*mask.shape, 3), np.uint8))
        put(place / "x" / f"{i}.png", np.eye(*mask.shape, dtype=np.uint8))
        put(place / "mask" / f"{i}.png", mask)
    return root


def test_every_labelled_pixel_counts_once_and_255_does_not(tmp_path, put):
    masks_of(tmp_path, put, [[[0, 1], [255, 1]], np.full((2, 4), 0)])
    shares = folder(tmp_path, val_share=0.0).class_frequencies()
    assert shares == pytest.approx((9 / 11, 2 / 11, 0)) and sum(shares) == pytest.approx(1)


def test_original_size_not_the_networks(tmp_path, put):
    mask = np.zeros((50, 70), np.uint8)
    mask[3, 5] = 2  # lost when shrunk to 16 x 16
    masks_of(tmp_path, put, [mask])
    shares = folder(tmp_path, size=(16, 16), val_share=0.0).class_frequencies("train")
    assert shares == (3499 / 3500, 0, 1 / 3500)


def test_generated_scenes_against_their_files(mfnet_root):
    for split, protocol in (("train", "train"), ("val", "train"), ("train", "trainval")):
        data = MFNet(str(mfnet_root), num_workers=0, protocol=protocol)
        lists = [split] if protocol == "train" else ["train", "val"]
        stems = " ".join((mfnet_root / f"{name}.txt").read_text() for name in lists).split()
        ids = [np.asarray(Image.open(mfnet_root / "labels" / f"{s}.png")).ravel() for s in stems]
        expected = np.bincount(np.concatenate(ids), minlength=9) / sum(map(len, ids))
        np.testing.assert_allclose(data.class_frequencies(split), expected, atol=1e-12)


def test_computed_once(mfnet_root, monkeypatch):
    data = MFNet(str(mfnet_root), num_workers=0)
    first = data.class_frequencies()
    monkeypatch.setattr(data, "read_labels", None)
    assert data.class_frequencies() is first


def test_samples_already_found_are_not_looked_for_again(mfnet_root, monkeypatch):
    data = MFNet(str(mfnet_root), num_workers=0)
    data.setup("fit")
    monkeypatch.setattr(data, "find_records", None)
    assert sum(data.class_frequencies()) == pytest.approx(1)


def test_two_class_masks_are_cut_as_in_validation(tmp_path, put):
    grey = np.array([[0, 100, 127, 128], [200, 255, 0, 0]])
    masks_of(tmp_path, put, [grey])
    data = folder(tmp_path, binary=True, soft_masks=True, class_names=None, val_share=0.0)
    assert data.class_frequencies() == (6 / 8, 2 / 8)


def test_saliency_and_promptable_sets_have_two_classes(vt5000_root, scribble_root, hqseg_root):
    full = VT5000(str(vt5000_root), num_workers=0, choose_on_test=True).class_frequencies()
    scribbled = VT5000(
        str(scribble_root), scribbles=str(scribble_root / "scribbles"), choose_on_test=True
    ).class_frequencies()
    prompted = HQSeg44K(str(hqseg_root), num_workers=0).class_frequencies()
    for shares in (full, scribbled, prompted):
        assert len(shares) == 2 and sum(shares) == pytest.approx(1) and min(shares) > 0
    ids = [
        np.asarray(Image.open(p)) > 127 for p in (vt5000_root / "VT5000").rglob("Train/GT/*.png")
    ]
    assert len(ids) == 8 and full[1] == pytest.approx(np.mean(ids))
    assert abs(scribbled[1] - full[1]) > 0.01  # only labelled pixels count


def test_a_split_without_masks_is_named(mfnet_root):
    for split in ("predict", "trian"):
        with pytest.raises(DataError, match=f"no masks of a split '{split}'.* train, val, test$"):
            MFNet(str(mfnet_root)).class_frequencies(split)


def test_masks_that_label_nothing(tmp_path, put):
    masks_of(tmp_path, put, [np.full((4, 4), 255)])
    with pytest.raises(DataError, match=r"the masks of train label no pixel \(all are 255\)"):
        folder(tmp_path, val_share=0.0).class_frequencies()


def test_a_folder_of_masks_that_is_missing(tmp_path, pairs):
    pairs(tmp_path / "train", "ab", mask="")
    with pytest.raises(DataError, match="has no folder of masks"):
        folder(tmp_path, val_share=0.0).class_frequencies()


class Unlabelled(FolderRGBX):
    def read_labels(self, record):
        return None


def test_records_without_masks_name_the_image(tmp_path, put):
    masks_of(tmp_path, put, [np.zeros((4, 4))])
    with pytest.raises(DataError, match=r"rgb/0\.png has no mask.* give masks, or class weights"):
        Unlabelled(str(tmp_path), class_names=NAMES, val_share=0.0).class_frequencies()


def test_real_masks(samples):
    data = FolderRGBX(str(samples / "surface_neu_seg"), class_names=["a", "b", "c", "d"])
    masks = [np.asarray(Image.open(p)) for p in (samples / "surface_neu_seg").glob("*/*.png")]
    assert masks, "class ids are PNG there"
    total = np.zeros(4)
    for split in data.splits:
        records = data.find_records(split)
        total += np.array(data.class_frequencies(split)) * 200 * 200 * len(records)
    np.testing.assert_allclose(total, np.bincount(np.concatenate(masks).ravel(), minlength=4))
