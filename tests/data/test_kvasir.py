import json
import shutil

import numpy as np
import pytest
from PIL import Image

from rgbx.data import KvasirSEG
from rgbx.data.datasets.kvasir_split import divide_by_hash
from rgbx.errors import DataError, RGBXError

pytestmark = pytest.mark.filterwarnings("ignore:.*are usual")
GOLDEN_TRAIN = [f"cju{i:04d}" for i in (0, 2, 4, 6, 7, 8, 9, 10)]
GOLDEN_TEST = [f"cju{i:04d}" for i in (1, 3, 5, 30, 34, 38, 39, 43)]
HASHED = "divided 80/20 in the order of the names' SHA-256, seed 42"


def module(root, **options):
    return KvasirSEG(str(root), **{"size": (32, 48), "num_workers": 0, **options})


def names(data, split):
    return [r.name for r in data.find_records(split)]


@pytest.fixture
def polyps(put):
    """Write images and masks of given stems, 32 x 48, as JPEG or another kind."""

    def write(folder, stems, rgb="images", mask="masks", kind=".jpg"):
        white = np.full((32, 48, 3), 255, np.uint8)
        for stem in stems:
            put(folder / rgb / f"{stem}{kind}", white // 2)
            put(folder / mask / f"{stem}{kind}", white)
        return folder

    return write


def test_golden_division():
    """If this fails, every published number of this split is void."""
    stems = [f"cju{i:04d}" for i in range(1000)]
    train, val, test, note = divide_by_hash(stems)
    assert (len(train), val, len(test)) == (800, None, 200) and sorted(train + test) == stems
    assert test[:8] == GOLDEN_TEST
    assert train[:8] == GOLDEN_TRAIN
    assert note == HASHED.removeprefix("divided ")
    shuffled = np.random.default_rng(1).permutation(stems).tolist()
    assert divide_by_hash(shuffled) == divide_by_hash(stems)
    assert divide_by_hash(stems, seed=0).test != test
    assert set(divide_by_hash(stems, share=0.1).test) < set(test), "smaller shares are nested"


def test_undivided_set(kvasir_root):
    data = module(kvasir_root, batch_size=4)
    assert data.class_names == ("background", "polyp") and data.split == "seed42_80_20"
    assert data.split_note == HASHED and data.choice == "a seeded 10 % of train (seed 0)"
    for stage in ("fit", "test", "predict"):
        data.setup(stage)
    assert data.split_sizes == {"train": 11, "val": 1, "test": 3, "predict": 15}
    assert data.expected == {"train": 720, "val": 80, "test": 200}
    parts = [set(names(data, split)) for split in data.splits]
    assert not parts[0] & parts[1] and not (parts[0] | parts[1]) & parts[2]
    assert parts[2] == set(divide_by_hash(names(data, "predict")).test)
    batch = next(iter(data.train_dataloader()))
    assert "x" not in batch and batch["mask"].shape == (4, 32, 48)
    assert names(module(kvasir_root, seed=5), "test") == names(data, "test")
    inner = kvasir_root / "Kvasir-SEG"
    assert names(module(inner), "test") == names(data, "test")
    boxes = json.loads((inner / "kavsir_bboxes.json").read_text())
    assert set(boxes) == set(names(data, "predict"))


def test_jpeg_masks_are_cut_at_half(kvasir_root):
    data = module(kvasir_root)
    seen = set()
    for record in data.scan("train").records:
        stored = np.asarray(Image.open(record.mask))
        seen.add(stored.ndim)
        first = stored[..., 0] if stored.ndim == 3 else stored
        assert record.mask.suffix == ".jpg" and len(np.unique(first)) > 2
        np.testing.assert_array_equal(data.read_mask(record.mask), first > 127)
    assert seen == {2, 3}


def test_ringing_of_jpeg_stays_background(tmp_path, put):
    """Values 0-8 and 247-255, as measured in the real masks."""
    rng = np.random.default_rng(0)
    inside = np.zeros((32, 48), bool)
    inside[8:20, 10:30] = True
    noisy = np.where(inside, rng.integers(247, 256, (32, 48)), rng.integers(0, 9, (32, 48)))
    path = put(tmp_path / "a.png", noisy.astype(np.uint8))
    np.testing.assert_array_equal(module(tmp_path).read_mask(path), inside)


LISTS = {"train": "a.jpg\nb\nc\n", "val": "d\n", "test": "masks/e.jpg\n\nf\r\n"}


def test_three_lists(tmp_path, polyps):
    root = polyps(tmp_path / "Kvasir-SEG", "abcdef")
    for split, text in LISTS.items():
        (root / f"{split}.txt").write_text(text)
    data = module(tmp_path)
    assert data.split == "lists" and data.choice == "its val list"
    assert [names(data, s) for s in data.splits] == [["a", "b", "c"], ["d"], ["e", "f"]]
    assert data.split_note == "divided by train.txt (3), val.txt (1), test.txt (2)"
    with pytest.warns(UserWarning, match="its lists name 6 images, 1000 are usual"):
        names(data, "train")
    none_cut = module(tmp_path, val_share=0.0)
    assert none_cut.splits == ("train", "val", "test")
    chosen = module(tmp_path, choose_on_test=True)
    assert names(chosen, "val") == ["e", "f"] and chosen.choice == "THE TEST SET"
    hashed = module(tmp_path, split="seed42_80_20", val_share=0.0)
    assert hashed.split_note == HASHED and len(names(hashed, "train")) == 5


def test_train_and_val_list_of_the_authors(tmp_path, polyps):
    root = polyps(tmp_path, "abcdef")
    (root / "train.txt").write_text("a\nb\nc\nd\n")
    (root / "val.txt").write_text("e\nf\n")
    data = module(root, val_share=0.25)
    assert names(data, "test") == ["e", "f"]
    assert sorted(names(data, "train") + names(data, "val")) == list("abcd")
    assert data.split_note == "divided by train.txt (4); tested on val.txt (2)"
    assert data.choice == "a seeded 25 % of train (seed 0)"
    assert data.expected == {"train": 660, "val": 220, "test": 120}
    (root / "val.txt").unlink()
    rest = module(root, val_share=0.0)
    assert names(rest, "test") == ["e", "f"]
    assert rest.split_note == "divided by train.txt (4); tested on the rest"
    (root / "train.txt").write_text("a\nz\n")
    with pytest.raises(DataError, match=r"z .*: no rgb and no mask image of this stem"):
        names(module(root, val_share=0.0), "train")
    (root / "train.txt").rename(root / "test.txt")
    with pytest.raises(DataError, match=r"has test\.txt, but no train\.txt"):
        module(root, split="lists")
    with pytest.raises(DataError, match=r"has no train\.txt \(split: lists\)"):
        (root / "test.txt").unlink()
        module(root, split="lists")


def pranet(root, polyps, image="image", mask="mask"):
    polyps(root / "TrainDataset", "abcd", image, mask, ".png")
    for name in ("Kvasir", "CVC-ClinicDB", "CVC-ColonDB", "CVC-300", "ETIS-LaribPolypDB"):
        polyps(root / "TestDataset" / name, "12", kind=".png")
    return root


@pytest.mark.parametrize(("image", "mask"), [("image", "mask"), ("images", "masks")])
def test_pranets_pack(tmp_path, polyps, image, mask):
    data = module(pranet(tmp_path, polyps, image, mask), val_share=0.25)
    tests = ("Kvasir", "CVC-ClinicDB", "CVC-ColonDB", "CVC-300", "ETIS-LaribPolypDB")
    assert data.split == "pranet" and data.test_splits == tests
    assert [len(names(data, s)) for s in data.splits] == [3, 1, 2, 2, 2, 2, 2]
    assert [data.expected[name] for name in tests] == [100, 62, 380, 60, 196]
    assert data.expected["train"] + data.expected["val"] == 1450
    assert "PraNet's pack" in data.split_note
    assert "CVC-300/1" in names(data, "predict") and len(names(data, "predict")) == 14
    two = module(tmp_path, test_sets=["ETIS", "ClinicDB"])
    assert two.test_splits == ("ETIS-LaribPolypDB", "CVC-ClinicDB")
    assert len(names(two, "predict")) == 4
    two.setup("test")
    assert len(two.test_dataloader()) == 2
    assert len(names(module(tmp_path, choose_on_test=True), "val")) == 10
    with pytest.warns(UserWarning, match="CVC-300 has 2 samples, 60 are usual"):
        names(data, "CVC-300")


def test_options_that_do_not_fit(tmp_path, polyps, kvasir_root):
    with pytest.raises(RGBXError, match=r"are parts of PraNet's pack, but .* seed42_80_20"):
        module(kvasir_root, test_sets=["CVC-300"])
    with pytest.raises(RGBXError, match="KvasirSEG knows no test set 'BKAI'; choose among Kvasir"):
        module(pranet(tmp_path, polyps), test_sets=["BKAI"])
    shutil.rmtree(tmp_path / "TestDataset" / "Kvasir")
    with pytest.raises(DataError, match="has no folder of the test set Kvasir"):
        module(tmp_path, test_sets=["Kvasir"]).setup("test")
    with pytest.raises(DataError, match="has no folder TrainDataset with images and masks"):
        module(kvasir_root, split="pranet").setup("fit")
    for stage in ("fit", "test", "predict"):
        with pytest.raises(
            DataError, match=r"does not exist; set data\.root to a folder with \{im"
        ):
            module(tmp_path / "no").setup(stage)


def test_wrong_counts_are_warnings(kvasir_root):
    for split, count, usual in (("train", 11, 720), ("val", 1, 80), ("test", 3, 200)):
        text = f"KvasirSEG: {split} has {count} samples, {usual} are usual"
        with pytest.warns(UserWarning, match=text):
            names(module(kvasir_root), split)


def test_the_smaller_set_is_recognised(tmp_path, polyps):
    polyps(tmp_path, [f"{i:03d}" for i in range(196)])
    data = module(tmp_path, val_share=0.0)
    remarks = data.remarks("train", data.scan("train").records)
    assert len(remarks) == 1 and "196 images are those of Kvasir-Sessile" in remarks[0]


def test_image_and_mask_of_different_size(kvasir_root, tmp_path, put):
    root = shutil.copytree(kvasir_root, tmp_path / "copy")
    stems = names(module(root), "test")
    masks = root / "Kvasir-SEG" / "masks"
    height, width = module(root).read(module(root).find_records("test")[0]).mask.shape
    put(masks / f"{stems[0]}.jpg", np.zeros((height + 3, width), np.uint8))
    with pytest.raises(DataError, match="1 samples of test cannot be used") as caught:
        names(module(root), "test")
    text = f"{stems[0]}.jpg: it is {height + 3} x {width} (height x width), but "
    assert text in str(caught.value) and f"is {height} x {width}" in str(caught.value)
    assert "(on_bad: skip leaves them out)" in str(caught.value)
    put(masks / f"{stems[0]}.jpg", np.zeros((width, height), np.uint8))
    with pytest.raises(DataError, match="height and width are swapped"):
        names(module(root), "test")
    with pytest.warns(UserWarning, match=r"1 samples of test left out \(1 swapped\)"):
        assert names(module(root, on_bad="skip"), "test") == stems[1:]


def test_real_polyps(samples, tmp_path):
    folder = tmp_path / "Kvasir-SEG"
    for old, new in (("rgb", "images"), ("gt", "masks")):
        shutil.copytree(samples / "kvasir_seg" / old, folder / new)
    data = module(tmp_path, size=(64, 64), batch_size=4)
    data.setup("fit")
    data.setup("test")
    assert data.split_sizes == {"train": 8, "val": 1, "test": 2}
    assert names(data, "test") == ["cju0rx1idathl0835detmsp84", "cju13hp5rnbjx0835bf0jowgx"]
    channels, sizes = set(), set()
    for split in data.splits:
        for record in data.find_records(split):
            stored = np.asarray(Image.open(record.mask))
            channels.add(stored.ndim)
            first = stored[..., 0] if stored.ndim == 3 else stored
            raw = data.read(record)
            assert raw.mask.shape == raw.rgb.shape[:2] and raw.x is None
            np.testing.assert_array_equal(raw.mask, first > 127)
            assert 0.01 < raw.mask.mean() < 0.6
            sizes.add(raw.mask.shape)
    assert channels == {2, 3} and len(sizes) == 10
