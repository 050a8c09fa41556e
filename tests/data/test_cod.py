import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from rgbx.data import COD
from rgbx.data.datasets.cod import _is_black
from rgbx.data.splits.records import Record
from rgbx.errors import DataError, RGBXError

pytestmark = pytest.mark.filterwarnings("ignore:.*are usual")


def module(root, **options):
    return COD(str(root), **{"size": (32, 48), "num_workers": 0, **options})


def names(data, split):
    return [r.name for r in data.find_records(split)]


@pytest.fixture
def plain(put):
    """Write images and white masks of given stems, 32 x 48."""

    def write(folder, stems, rgb="Imgs", mask="GT", value=255):
        for stem in stems:
            put(folder / rgb / f"{stem}.jpg", np.full((32, 48, 3), 90, np.uint8))
            if mask:
                put(folder / mask / f"{stem}.png", np.full((32, 48), value, np.uint8))
        return folder

    return write


def test_the_usual_packs(cod_root):
    data = module(cod_root, val_share=0.25)
    assert data.test_splits == ("CAMO", "CHAMELEON", "COD10K")
    assert [len(names(data, s)) for s in data.splits] == [6, 2, 2, 2, 4]
    assert data.class_names == ("background", "camouflaged")
    assert data.choice == "a seeded 25 % of train (seed 0)"
    assert len(names(data, "predict")) == 16
    assert module(cod_root, test_sets=["COD10K-v3", "CAMO"]).test_splits == ("COD10K", "CAMO")
    assert len(names(module(cod_root, test_sets=["CHAMELEON"]), "predict")) == 2
    assert pickle.loads(pickle.dumps(data)).test_splits == data.test_splits


def test_batches_have_no_x(cod_root):
    data = module(cod_root, batch_size=3)
    for stage in ("fit", "test", "predict"):
        data.setup(stage)
    batch = next(iter(data.train_dataloader()))
    assert set(batch) == {"rgb", "mask", "name", "path", "size", "subset"}
    assert batch["rgb"].shape == (3, 3, 32, 48) and batch["size"] == [(64, 96)] * 3
    assert batch["mask"].shape == (3, 32, 48) and batch["mask"].dtype == torch.int64
    assert set(batch["mask"].unique().tolist()) == {0, 1}
    assert next(iter(data.val_dataloader()))["mask"].shape == (1, 32, 48)
    test = next(iter(data.test_dataloader()[2]))
    stored = np.asarray(Image.open(cod_root / f"TestDataset/COD10K/GT/{test['name'][0]}.png"))
    np.testing.assert_array_equal(test["mask"][0], stored > 127)
    assert "mask" not in next(iter(data.predict_dataloader()))
    soft = module(cod_root, soft_masks=True, batch_size=3)
    soft.setup("fit")
    mask = next(iter(soft.train_dataloader()))["mask"]
    assert mask.shape == (3, 1, 32, 48) and 0 < mask[(mask > 0) & (mask < 1)].mean() < 1


def test_defaults_are_those_of_the_papers(cod_root):
    data = COD(str(cod_root))
    assert data.size == (1024, 1024) and data.flip == 0.5
    assert (data.scale, data.jitter, data.enhance, data.soft_masks) == ((1, 1), 0, False, False)
    assert data.statistics.rgb_mean == (0.485, 0.456, 0.406)


def test_masks_are_resized_by_nearest_neighbour(tmp_path, put):
    """One bright pixel in four survives or does not, but never becomes grey."""
    mask = np.zeros((64, 96), np.uint8)
    mask[::2, ::2] = 255
    for part in ("Imgs", "GT"):
        put(tmp_path / "TrainDataset" / part / "a.png", mask)
    data = module(tmp_path, val_share=0.0, flip=0.0)
    data.setup("fit")
    stored = data._sets["train"][0]["mask"].numpy()
    assert set(np.unique(stored)) <= {0, 1} and stored.mean() in (0, 1)


@pytest.mark.parametrize(
    ("rgb", "mask", "train", "test"),
    [
        ("Imgs", "GT", "TrainDataset", "TestDataset"),
        ("Image", "GT", "TrainValDataset", "testdataset"),
        ("Image", "Mask", "Train", "Test"),
    ],
)
def test_variants_of_the_packs(tmp_path, plain, rgb, mask, train, test):
    plain(tmp_path / train, "abcd", rgb, mask)
    for name in ("CAMO", "NC4K"):
        plain(tmp_path / test / name, "ef", rgb, mask)
    data = module(tmp_path, val_share=0.25)
    assert data.test_splits == ("CAMO", "NC4K")
    assert sorted(names(data, "train") + names(data, "val")) == list("abcd")
    assert names(data, "NC4K") == ["e", "f"]
    found = names(data, "predict")
    assert len(found) == 8 and "NC4K/e" in found and "train/a" in found
    assert data.expected["train"] == 4040 - 1010 and data.expected["NC4K"] == 4121


CAM = "COD10K-CAM-1-Aquatic-{}-BatFish-{}"
OTHER = "COD10K-NonCAM-2-Terrestrial-{}-Dog-{}"


@pytest.mark.parametrize("inner", ["", "COD10K", "COD10K-v3", "COD10K/COD10K-v3"])
def test_cod10k_as_published_leaves_noncam_out(tmp_path, plain, inner):
    for split, first in (("Train", 1), ("Test", 11)):
        stems = [CAM.format(1, first + i) for i in range(4)]
        plain(tmp_path / inner / split, stems, "Image", "GT_Object")
        others = [OTHER.format(7, first + i) for i in range(5)]
        plain(tmp_path / inner / split, others, "Image", None)
        for path in (tmp_path / inner / split / "Image").glob("*BatFish*"):
            edge = tmp_path / inner / split / "GT_Edge"
            edge.mkdir(exist_ok=True)
            shutil.copy(path, edge / path.name)
    data = module(tmp_path, val_share=0.25)
    assert data.test_splits == ("COD10K",)
    with pytest.warns(UserWarning, match="5 images of train are left out, .*NonCAM") as caught:
        assert len(names(data, "train")) == 3
    assert sum("NonCAM" in str(w.message) for w in caught) == 1
    text = f"{OTHER.format(7, 1)}, {OTHER.format(7, 2)}, {OTHER.format(7, 3)} and 2 more"
    assert any(text in str(w.message) for w in caught)
    assert len(names(data, "val")) == 1
    with pytest.warns(UserWarning, match="5 images of COD10K are left out"):
        assert names(data, "COD10K") == [CAM.format(1, 11 + i) for i in range(4)]
    assert data.expected["train"] == 3040 - 760


@pytest.mark.parametrize("inner", ["", "CAMO", "CAMO-V.1.0-CVIU2019"])
@pytest.mark.parametrize("masks", [("GT", "GT"), ("Train_gt", "Test_gt"), ("GT/Train", "GT/Test")])
def test_camo_as_published(tmp_path, plain, inner, masks):
    root = tmp_path / inner
    for split, stems, mask in (("Train", "abcd", masks[0]), ("Test", "ef", masks[1])):
        plain(root, stems, f"Images/{split}", mask)
    data = module(tmp_path, val_share=0.25)
    assert data.test_splits == ("CAMO",)
    assert sorted(names(data, "train") + names(data, "val")) == list("abcd")
    assert names(data, "CAMO") == ["e", "f"]
    assert data.expected["train"] == 750 and data.expected["CAMO"] == 250
    assert len(names(data, "predict")) == 6


def test_both_originals_are_trained_on_together(tmp_path, plain):
    plain(tmp_path / "COD10K" / "Train", [CAM.format(1, 1)], "Image", "GT_Object")
    plain(tmp_path / "COD10K" / "Test", [CAM.format(1, 2)], "Image", "GT_Object")
    plain(tmp_path / "CAMO", "ab", "Images/Train")
    plain(tmp_path / "CAMO", "c", "Images/Test")
    plain(tmp_path / "CHAMELEON", ["animal-1"], "Image", "Mask")
    data = module(tmp_path, val_share=0.0)
    assert data.splits == ("train", "CAMO", "CHAMELEON", "COD10K")
    assert names(data, "train") == [CAM.format(1, 1), "a", "b"]
    assert data.expected["train"] == 4040 and data.choice == "nothing: the last epoch"
    assert len(names(data, "predict")) == 6
    data.setup("fit")
    assert data.split_sizes == {"train": 3} and data.val_dataloader() == []


def test_sets_ending_in_tr_and_te(tmp_path, plain):
    for name, stems in (("COD10K-TR", "ab"), ("CAMO-TR", "cd"), ("COD10K-TE", "e"), ("NC4K", "f")):
        plain(tmp_path / name, stems, "Image", "Mask")
    data = module(tmp_path, val_share=0.0)
    assert names(data, "train") == list("abcd") and data.test_splits == ("COD10K", "NC4K")
    assert names(data, "COD10K") == ["e"]


def test_a_test_set_by_itself(tmp_path, plain):
    plain(tmp_path / "NC4K", "ab")
    data = module(tmp_path / "NC4K")
    assert data.test_splits == ("NC4K",) and names(data, "NC4K") == ["a", "b"]
    assert names(data, "predict") == ["a", "b"]
    with pytest.raises(DataError, match=r"has no training set; set data\.root to a folder with"):
        data.setup("fit")


def test_images_of_ones_own_are_predicted(tmp_path, plain):
    plain(tmp_path, "ab", "images", None)
    assert names(module(tmp_path), "predict") == ["a", "b"]


def test_choosing_on_the_test_sets(cod_root, tmp_path):
    data = module(cod_root, choose_on_test=True)
    assert len(names(data, "train")) == 8 and len(names(data, "val")) == 8
    assert data.choice == "THE TEST SETS CAMO, CHAMELEON, COD10K" and data.expected["train"] == 4040
    train = shutil.copytree(cod_root, tmp_path / "copy")
    shutil.rmtree(train / "TestDataset")
    with pytest.raises(DataError, match="has no test set to choose checkpoints on"):
        names(module(train, choose_on_test=True), "val")


def test_two_leaked_images_can_be_dropped(tmp_path, plain):
    leaked = ["COD10K-CAM-1-Aquatic-3-Crab-32", "COD10K-CAM-2-Terrestrial-23-Cat-1506"]
    plain(tmp_path / "TrainDataset", [*leaked, "a", "b"])
    plain(tmp_path / "TestDataset" / "COD10K", leaked)
    kept = module(tmp_path, val_share=0.0)
    assert names(kept, "train") == [*leaked, "a", "b"] and kept.expected["train"] == 4040
    dropped = module(tmp_path, val_share=0.0, drop_leaked=True)
    assert names(dropped, "train") == ["a", "b"] and dropped.expected["train"] == 4038
    assert names(dropped, "COD10K") == leaked, "test sets stay as they are"


def test_black_masks_are_one_sentence(tmp_path, plain):
    plain(tmp_path / "TrainDataset", "abc")
    plain(tmp_path / "TrainDataset", ["n1", "n2", "n3", "n4"], value=0)
    with pytest.warns(UserWarning, match="are all black") as caught:
        assert len(names(module(tmp_path, val_share=0.0), "train")) == 7
    texts = [str(w.message) for w in caught if "black" in str(w.message)]
    assert len(texts) == 1
    assert "4 masks of train are all black, as those of COD10K's NonCAM" in texts[0]
    assert "n1, n2, n3 and 1 more" in texts[0]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
@pytest.mark.parametrize("shape", [(64, 96), (600, 800), (600, 800, 3)])
def test_black_is_told_from_a_small_object(tmp_path, put, suffix, shape):
    black = np.zeros(shape, np.uint8)
    dot = black.copy()
    dot[20:28, 30:38] = 255
    paths = [put(tmp_path / f"{n}{suffix}", a) for n, a in (("black", black), ("dot", dot))]
    assert [_is_black(Record(p.stem, p, None, p)) for p in paths] == [True, False]


def test_wrong_counts_are_warnings_with_the_expected_number(cod_root):
    with pytest.warns(UserWarning, match="COD: train has 7 samples, 3636 are usual"):
        names(module(cod_root), "train")
    for name, count in (("CAMO", 250), ("CHAMELEON", 76), ("COD10K", 2026)):
        with pytest.warns(UserWarning, match=f"COD: {name} has . samples, {count} are usual"):
            names(module(cod_root), name)


def test_extra_and_missing_files_do_not_shift_pairs(tmp_path, plain, put):
    root = plain(tmp_path, "") / "TrainDataset"
    plain(root, "abc")
    (root / "GT" / "Thumbs.db").write_bytes(b"x")
    put(root / "GT" / "aa.png", np.zeros((32, 48), np.uint8))
    with pytest.raises(DataError, match=r"aa .*: no rgb image of this stem"):
        names(module(tmp_path, val_share=0.0), "train")
    with pytest.warns(UserWarning, match=r"1 samples of train left out \(1 missing\)"):
        data = module(tmp_path, val_share=0.0, on_bad="skip")
        assert [r.mask.stem for r in data.find_records("train")] == list("abc")


def test_unknown_sets_options_and_roots(tmp_path, plain):
    with pytest.raises(RGBXError, match="COD knows no set 'ACOD'; choose among CAMO, CHAMELEON"):
        module(tmp_path, test_sets=["ACOD"])
    with pytest.raises(DataError, match=r"has no test set; set data\.root to a folder with Train"):
        module(tmp_path).setup("test")
    with pytest.raises(DataError, match="has no folder of the test set NC4K"):
        module(tmp_path, test_sets=["NC4K"]).setup("test")
    with pytest.raises(DataError, match="no does not exist; set data"):
        module(tmp_path / "no").setup("fit")
    with pytest.raises(DataError, match="has no images; set data"):
        module(tmp_path).setup("predict")
    with pytest.raises(DataError, match="has no folder of masks"):
        names(module(plain(tmp_path / "TrainDataset", "ab", mask=None).parent), "train")


def test_real_pairs_of_camouflaged_people(samples, tmp_path):
    for folder in (tmp_path / "TrainDataset", tmp_path / "TestDataset" / "CAMO"):
        for old, new in (("rgb", "Imgs"), ("gt", "GT")):
            shutil.copytree(samples / "camouflage_person" / old, folder / new)
    data = module(tmp_path, size=(64, 64), batch_size=4)
    data.setup("fit")
    data.setup("test")
    assert data.split_sizes == {"train": 9, "val": 1, "CAMO": 10}
    batch = next(iter(data.train_dataloader()))
    assert 0.02 < batch["mask"].float().mean() < 0.7
    for sample in data._sets["CAMO"]:
        assert sample["mask"].shape == sample["size"] == (640, 640)
        assert 0.01 < sample["mask"].float().mean() < 0.7
