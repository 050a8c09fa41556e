import numpy as np
import pytest
from PIL import Image

from rgbx.data import FolderRGBX
from rgbx.errors import DataError, RGBXError

CLASSES = ["background", "car", "person"]


def module(root, **options):
    options = {"class_names": CLASSES, **options}
    return FolderRGBX(str(root), size=(32, 48), num_workers=0, **options)


def names(data, split):
    return [r.name for r in data.find_records(split)]


def test_split_folders(folder_root):
    classes = ["background", "car", "person", "bike", "color_cone"]
    data = module(folder_root, class_names=classes)
    assert [len(names(data, s)) for s in data.splits] == [8, 4, 4]
    ids = np.unique([data.read(r).mask for r in data.find_records("train")])
    assert set(ids) <= set(range(5)) and len(ids) >= 4
    assert len(names(data, "predict")) == 16


def test_flat_folder_is_cut_into_three(tmp_path, pairs):
    pairs(tmp_path, [f"s{i:02d}" for i in range(20)])
    data = module(tmp_path, val_share=0.2)
    parts = [names(data, s) for s in data.splits]
    assert [len(p) for p in parts] == [12, 4, 4]
    assert sorted(parts[0] + parts[1] + parts[2]) == [f"s{i:02d}" for i in range(20)]


@pytest.mark.parametrize(
    ("rgb", "x", "mask"),
    [
        ("RGB", "T", "GT"),
        ("Visible", "Infrared", "Label"),
        ("vi", "ir", "Masks"),
        ("Imgs", "depth", "labels"),
    ],
)
def test_known_folder_names_and_lists(tmp_path, pairs, rgb, x, mask):
    pairs(tmp_path, "abcd", rgb, x, mask)
    for split, line in (("train", "a\nb\n"), ("val", "c.jpg\n"), ("test", "d\n")):
        (tmp_path / f"{split}.txt").write_text(line)
    data = module(tmp_path)
    assert [names(data, s) for s in data.splits] == [["a", "b"], ["c"], ["d"]]
    (tmp_path / "val.txt").unlink()
    assert sorted(names(data, "train") + names(data, "val")) == ["a", "b"]
    (tmp_path / "test.txt").unlink()
    with pytest.raises(DataError, match=r"has no test\.txt next to its other lists"):
        names(data, "test")


def test_suffixes_differ_between_folders(tmp_path, put):
    grey = np.arange(32 * 48, dtype=np.uint8).reshape(32, 48)
    put(tmp_path / "rgb" / "a.b#1.jpg", np.dstack([grey] * 3))
    put(tmp_path / "x" / "a.b#1.BMP", grey)
    put(tmp_path / "mask" / "a.b#1.png", grey % 3)
    record = module(tmp_path).scan("predict").records[0]
    assert (record.name, record.x.name) == ("a.b#1", "a.b#1.BMP")
    np.testing.assert_array_equal(module(tmp_path).read(record).x, grey / np.float32(255))


def test_without_x_there_is_no_x(tmp_path, pairs):
    pairs(tmp_path, "abcdef", x="")
    data = module(tmp_path)
    data.setup("fit")
    batch = next(iter(data.val_dataloader()))
    assert "x" not in batch and batch["rgb"].shape == (1, 3, 32, 48)


def test_predict_needs_no_classes_and_no_masks(tmp_path, pairs):
    pairs(tmp_path, "ab", "visible", "thermal", "")
    data = module(tmp_path, class_names=None)
    assert names(data, "predict") == ["a", "b"] and data.num_classes == 0
    with pytest.raises(RGBXError, match=r"needs data\.class_names"):
        names(data, "train")
    with pytest.raises(DataError, match="has no folder of masks"):
        names(module(tmp_path), "train")


def test_x_of_another_size_only_where_allowed(tmp_path, put):
    put(tmp_path / "rgb" / "a.png", np.zeros((32, 48, 3), np.uint8))
    put(tmp_path / "x" / "a.png", np.full((16, 20), 51, np.uint8))
    with pytest.raises(DataError, match=r"x/a\.png: it is 16 x 20 \(height x width\)"):
        names(module(tmp_path), "predict")
    data = module(tmp_path, resize_x=True)
    raw = data.read(data.find_records("predict")[0])
    assert raw.x.shape == (32, 48)
    np.testing.assert_allclose(raw.x, 0.2, atol=1e-6)


def test_binary_masks_become_two_classes(tmp_path, put):
    soft = np.tile(np.array([0, 5, 127, 128, 250, 255], np.uint8), (32, 8))
    put(tmp_path / "rgb" / "a.png", np.zeros((32, 48, 3), np.uint8))
    put(tmp_path / "x" / "a.png", soft)
    path = put(tmp_path / "gt" / "a.png", soft)
    data = module(tmp_path, class_names=None, binary=True)
    assert data.class_names == ("background", "foreground")
    np.testing.assert_array_equal(data.read_mask(path), soft > 128)
    with pytest.raises(RGBXError, match="binary masks have 2 classes, but 3 are named"):
        module(tmp_path, binary=True)
    with pytest.raises(DataError, match=r"class id 5, 127, 128, 250 is outside 0 to 2"):
        module(tmp_path).read_mask(path)


def test_palette_is_made_or_checked(tmp_path):
    made = module(tmp_path).palette
    assert made[0] == (0, 0, 0) and len(set(made)) == 3
    assert module(tmp_path, palette=[(1, 2, 3)] * 3).palette == ((1, 2, 3),) * 3
    with pytest.raises(RGBXError, match="palette has 2 colours for 3 class names"):
        module(tmp_path, palette=[(0, 0, 0), (1, 1, 1)])


def test_wrong_root(tmp_path):
    with pytest.raises(
        DataError, match=r"is no folder of pairs; set data\.root to a folder with rgb/"
    ):
        names(module(tmp_path), "predict")
    with pytest.raises(DataError, match="does not exist"):
        names(module(tmp_path / "no"), "predict")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "count", "options"),
    [
        ("unlabelled_msrs", 5, {}),
        ("unlabelled_llvip", 3, {}),
        ("unlabelled_roadscene", 4, {"resize_x": True}),
        ("msrs_person", 8, {"binary": True}),
        ("pst900", 1, {}),
        ("tno_saliency", 20, {"binary": True}),
    ],
)
def test_real_folders_are_read(samples, folder, count, options):
    data = module(samples / folder, class_names=None, **options)
    records = data.find_records("predict")
    assert len(records) == count
    raw = data.read(records[0])
    assert raw.x.shape == raw.rgb.shape[:2] and 0 <= raw.x.min() < raw.x.max() <= 1
    with Image.open(records[0].rgb) as image:
        assert raw.rgb.shape == (image.height, image.width, 3)
    if options.get("binary"):
        labelled = [data.read(r) for s in data.splits for r in data.find_records(s)]
        assert len(labelled) == count
        assert all(set(np.unique(r.mask)) == {0, 1} for r in labelled)
