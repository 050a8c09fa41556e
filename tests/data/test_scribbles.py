import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from rgbx.data import VT5000
from rgbx.data.decoding.files import SampleError
from rgbx.data.decoding.scribbles import find_scribbles, read_scribble
from rgbx.data.synthetic.saliency import write_scribbles
from rgbx.errors import DataError

GT = np.array([[255, 255, 0, 0], [0, 255, 0, 0]], np.uint8)
KNOWN = np.array([[255, 0, 255, 0], [0, 255, 255, 0]], np.uint8)
EXPECTED = [[1, 255, 0, 255], [255, 1, 0, 255]]


def module(root, folder, **options):
    options = {"size": (32, 48), "num_workers": 0, "batch_size": 3, **options}
    return VT5000(str(root), scribbles=str(folder), **options)


@pytest.fixture
def copy(scribble_root, tmp_path):
    return shutil.copytree(scribble_root, tmp_path / "copy")


def test_two_images_label_is_gt_inside_mask(tmp_path, put):
    gt, known = put(tmp_path / "gt/a.png", GT), put(tmp_path / "mask/a.png", KNOWN)
    np.testing.assert_array_equal(read_scribble(gt, known), EXPECTED)
    np.testing.assert_array_equal(
        read_scribble(gt, put(tmp_path / "b.png", KNOWN // 255)), EXPECTED
    )
    coding, strokes, labelled = find_scribbles(tmp_path)
    assert coding == "strokes and labelled pixels"
    assert strokes == {"a": gt} and labelled == {"a": known}


@pytest.mark.parametrize("inner", ["", "scribble", "gt"])
def test_one_image_of_0_1_2(tmp_path, put, inner):
    one = np.array([[1, 0, 2, 0], [0, 1, 2, 0]], np.uint8)
    path = put(tmp_path / inner / "a.png", one)
    np.testing.assert_array_equal(read_scribble(path, path), EXPECTED)
    coding, mask, labelled = find_scribbles(tmp_path)
    assert coding == "one image of 0, 1, 2" and mask == labelled == {"a": path}


def test_both_codings_of_the_same_strokes_agree(scribble_root):
    a = module(scribble_root, scribble_root / "scribbles")
    b = module(scribble_root, scribble_root / "scribbles_012")
    full = VT5000(str(scribble_root))
    for split in ("train", "val"):
        records = [data.find_records(split) for data in (a, b, full)]
        assert len(records[0]) == {"train": 7, "val": 1}[split]
        for one, two, whole in zip(*records, strict=True):
            labels = a.read(one).mask
            np.testing.assert_array_equal(labels, b.read(two, soft=True).mask)
            known = labels != 255
            assert 0.005 < known.mean() < 0.3 and {0, 1} <= set(np.unique(labels))
            np.testing.assert_array_equal(labels[known], full.read(whole).mask[known])


def test_test_sets_keep_full_masks(scribble_root):
    data = module(scribble_root, scribble_root / "scribbles")
    data.setup("test")
    for split in data.test_splits:
        assert set(data._sets[split][0]["mask"].unique().tolist()) == {0, 1}


def test_values_never_mix_when_resized(scribble_root):
    data = module(scribble_root, scribble_root / "scribbles_012", size=(48, 80), scale=(0.5, 1.7))
    data.setup("fit")
    for batch in data.train_dataloader():
        assert batch["mask"].dtype == torch.int64 and batch["mask"].shape[1:] == (48, 80)
        assert set(batch["mask"].unique().tolist()) <= {0, 1, 255}


def test_scribbles_with_their_own_images(copy):
    train = copy / "VT5000" / "VT5000_clear" / "Train"
    for part in ("RGB", "T"):
        (train / part).rename(copy / "scribbles" / part)
    shutil.rmtree(train)
    data = module(copy, copy / "scribbles")
    data.setup("fit")
    assert data.split_sizes == {"train": 7, "val": 1}
    shutil.rmtree(copy / "scribbles" / "RGB")
    with pytest.raises(DataError, match=r"The training images of the scribbles in .* are missing"):
        module(copy, copy / "scribbles").setup("fit")


@pytest.mark.parametrize("folder", ["scribbles", "scribbles_012"])
def test_empty_scribbles_are_listed_or_left_out(copy, put, folder):
    place = copy / folder / "mask" if folder == "scribbles" else copy / folder
    names = sorted(p.stem for p in place.iterdir())[:2]
    for name in names:
        put(place / f"{name}.png", np.zeros((64, 96), np.uint8))
    data = module(copy, copy / folder, choose_on_test=True)
    with pytest.raises(DataError, match="2 samples of train cannot be used") as error:
        data.setup("fit")
    for name in names:
        text = f"{place / name}.png: the scribble is empty: no pixel carries a label"
        assert str(error.value).count(text) == 1
    skipping = module(copy, copy / folder, choose_on_test=True, on_bad="skip")
    with pytest.warns(UserWarning, match=r"2 samples of train left out \(2 empty\)"):
        skipping.setup("fit")
    assert skipping.split_sizes["train"] == 6


def test_missing_scribble_is_listed(copy):
    next((copy / "scribbles" / "mask").iterdir()).unlink()
    with pytest.raises(DataError, match="no labelled image of this stem"):
        module(copy, copy / "scribbles").setup("fit")


def test_rescaled_or_compressed_scribbles_are_refused(tmp_path, put):
    one = np.array([[1, 0, 2, 0], [0, 1, 2, 0]], np.uint8)
    put(tmp_path / "a.png", one * 127)
    with pytest.raises(
        DataError, match=r"coding of these scribbles cannot be told: they hold 0, 127"
    ):
        find_scribbles(tmp_path)
    bad = put(tmp_path / "b.png", one * 100)
    with pytest.raises(SampleError, match=r"b\.png: a scribble holds 100, 200, but only 0"):
        read_scribble(bad, bad)


def test_full_masks_and_strokes_alone_are_ambiguous(tmp_path, put):
    put(tmp_path / "masks01" / "a.png", GT // 255)
    with pytest.raises(DataError, match="cannot be told: they hold 0, 1;"):
        find_scribbles(tmp_path / "masks01")
    put(tmp_path / "strokes" / "gt" / "a.png", GT)
    with pytest.raises(DataError, match="cannot be told: they hold 0, 255;"):
        find_scribbles(tmp_path / "strokes")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no scribbles: gt/"):
        find_scribbles(tmp_path / "none")
    with pytest.raises(DataError, match=r"does not exist; set data\.scribbles"):
        find_scribbles(tmp_path / "nowhere")


def test_sizes_must_agree(tmp_path, put):
    gt, known = put(tmp_path / "gt/a.png", GT), put(tmp_path / "mask/a.png", KNOWN[:1])
    with pytest.raises(SampleError, match=r"mask/a\.png: it is 1 x 4 .* is 2 x 4"):
        read_scribble(gt, known)


def test_scribbles_drawn_for_real_masks(samples, tmp_path):
    masks = samples / "tno_saliency" / "gt"
    write_scribbles(masks, tmp_path / "one", one_image=True)
    coding, index, _ = find_scribbles(tmp_path / "one")
    assert coding == "one image of 0, 1, 2" and len(index) == 20
    for stem, path in index.items():
        labels = read_scribble(path, path)
        full = np.asarray(Image.open(masks / f"{stem}.bmp"))
        full = full[..., 0] if full.ndim == 3 else full
        assert {0, 1} <= set(np.unique(labels)) and (labels == 255).mean() > 0.8
        np.testing.assert_array_equal(labels[labels != 255], (full > 127)[labels != 255])
