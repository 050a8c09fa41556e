import numpy as np
import pytest
from PIL import Image

from rgbx.data import PST900
from rgbx.errors import DataError


def module(root, **options):
    return PST900(str(root), size=(32, 48), num_workers=0, **options)


def names(data, split):
    return [r.name for r in data.find_records(split)]


def test_original_layout_cuts_validation_from_train(pst900_root):
    data = module(pst900_root, val_share=0.25)
    train, val, test = (names(data, s) for s in data.splits)
    assert (len(train), len(val), len(test)) == (6, 2, 4)
    stored = sorted(p.stem for p in (pst900_root / "train" / "rgb").iterdir())
    assert sorted(train + val) == stored
    assert names(module(pst900_root, val_share=0.25), "val") == val
    assert names(module(pst900_root, val_share=0.25, seed=1), "val") != val
    assert len(names(data, "predict")) == 12


def test_archive_folder_below_the_root(tmp_path, pairs):
    for split in ("train", "test"):
        pairs(tmp_path / "PST900_RGBT_Dataset" / split, "abc", "rgb", "thermal", "labels")
    assert names(module(tmp_path), "test") == ["a", "b", "c"]


def test_flat_layout_with_lists(tmp_path, pairs):
    pairs(tmp_path, "abcdef", "rgb", "thermal", "labels")
    (tmp_path / "train.txt").write_text("a.png\nb.png\nc.png\nd.png\n")
    (tmp_path / "test.txt").write_text("e.png\nf.png\n")
    data = module(tmp_path, val_share=0.25)
    assert sorted(names(data, "train") + names(data, "val")) == list("abcd")
    assert names(data, "test") == ["e", "f"]
    (tmp_path / "val.txt").write_text("d\n")
    assert names(data, "val") == ["d"]
    with pytest.warns(UserWarning, match=r"PROBLEM .*in train and in val.*rgb/d\.png"):
        assert names(data, "train") == list("abcd")
    assert names(module(tmp_path, on_bad="skip"), "train") == list("abc")
    (tmp_path / "test.txt").unlink()
    with pytest.raises(DataError, match=r"test\.txt is missing"):
        names(data, "test")


def test_segmentation_labels_variant_and_val_folder(tmp_path, pairs):
    for split in ("train", "val", "test"):
        pairs(
            tmp_path / split, [f"{split}{i}" for i in range(3)], "vi", "ir", "Segmentation_labels"
        )
    data = module(tmp_path)
    assert names(data, "val") == ["val0", "val1", "val2"]
    assert names(data, "train") == ["train0", "train1", "train2"]


def test_raw_thermal_is_read_with_sixteen_bits(pst900_root):
    record = module(pst900_root, x="thermal_raw").find_records("test")[0]
    stored = np.asarray(Image.open(record.x)).astype(np.float64)
    assert stored.max() > 21000
    stretched = module(pst900_root, x="thermal_raw").read(record).x
    expected = (stored - stored.min()) / (stored.max() - stored.min())
    np.testing.assert_allclose(stretched, expected, atol=1e-6)
    fixed = module(pst900_root, x="thermal_raw", x_range=(21000, 23295)).read(record).x
    np.testing.assert_allclose(fixed, (stored - 21000) / 2295, atol=1e-6)
    thermal = module(pst900_root).read(record.__class__(record.name, record.rgb, record.x)).x
    assert thermal.shape == stored.shape


def test_statistics_follow_the_modality(pst900_root):
    assert (module(pst900_root).x_mean, module(pst900_root).x_std) == (0.403, 0.091)
    raw = module(pst900_root, x="thermal_raw", x_std=0.3)
    assert (raw.x_mean, raw.x_std) == (0.5, 0.3)


def test_missing_depth_matters_only_where_it_is_asked_for(pst900_root):
    assert len(names(module(pst900_root), "test")) == 4
    with pytest.raises(DataError, match="has no folder depth; PST900 needs it"):
        names(module(pst900_root, x="depth"), "test")


def test_stray_files_are_reported(tmp_path, pairs):
    for split in ("train", "test"):
        pairs(tmp_path / split, "abc", "rgb", "thermal", "labels")
    (tmp_path / "test" / "thermal" / "b.png").unlink()
    (tmp_path / "test" / "rgb" / "c.png").unlink()
    with pytest.raises(DataError, match="2 samples of test cannot be used") as error:
        names(module(tmp_path), "test")
    assert "b (named in " in str(error.value) and "no x image" in str(error.value)


def test_wrong_root(tmp_path):
    with pytest.raises(DataError, match=r"is no PST900 data set; set data.root to a folder with"):
        names(module(tmp_path), "train")
    with pytest.raises(DataError, match="does not exist"):
        names(module(tmp_path / "no"), "train")


def test_palette_is_red_first(samples):
    data = module(samples / "pst900")
    assert [r.name for r in data.find_records("predict")] == ["readme_sample"]
    folder = samples / "pst900"
    ids = np.asarray(Image.open(folder / "labels" / "readme_sample.png"))
    colours = np.asarray(Image.open(folder / "labels_color" / "readme_sample.png"))
    for value in (1, 2, 3):
        colour = np.median(colours[ids == value], axis=0)
        assert colour.argmax() == np.argmax(data.palette[value])
