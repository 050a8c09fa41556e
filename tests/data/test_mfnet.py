import shutil

import numpy as np
import pytest
from PIL import Image

from rgbx.data import MFNet
from rgbx.errors import DataError

STEMS = ["00001D", "00002N", "00003D", "00004N", "00005D", "00006N"]
LISTS = {"train": STEMS[:3], "val": STEMS[3:4], "test": STEMS[4:]}


def write_lists(root, lists=LISTS, end="\n"):
    root.mkdir(parents=True, exist_ok=True)
    for name, stems in lists.items():
        (root / f"{name}.txt").write_text(end.join(stems) + end)


def packed(put, root, folder="images", labels="labels", stems=STEMS):
    rng = np.random.default_rng(1)
    for stem in stems:
        put(root / folder / f"{stem}.png", rng.integers(0, 256, (32, 48, 4), np.uint8))
        put(root / labels / f"{stem}.png", rng.integers(0, 9, (32, 48), np.uint8))


def found(root, **options):
    data = MFNet(str(root), size=(32, 48), num_workers=0, **options)
    with pytest.warns(UserWarning, match="are usual"):
        return {split: [r.name for r in data.find_records(split)] for split in data.splits}


def test_layout_a_with_windows_lists_and_flip_copies(tmp_path, put):
    packed(put, tmp_path, stems=[*STEMS, "00001D_flip"])
    write_lists(tmp_path, end="\r\n\r\n")
    assert found(tmp_path) == LISTS
    data = MFNet(str(tmp_path))
    assert data._find_layout(True) == "A"
    assert [r.name for r in data.find_records("predict")] == STEMS
    write_lists(tmp_path, {"train": [*STEMS[:3], "00001D_flip"]})
    assert found(tmp_path)["train"] == [*STEMS[:3], "00001D_flip"]
    assert data.scan("train").records[-1].subset == "day"


def test_layout_b_lists_override_the_letter(tmp_path, put):
    packed(put, tmp_path)
    write_lists(tmp_path, {**LISTS, "test_day": ["00006N"], "test_night": ["00005D"]})
    data = MFNet(str(tmp_path))
    assert data._find_layout(True) == "B"
    subsets = {r.name: r.subset for r in data.scan("test").records}
    assert subsets == {"00005D": "night", "00006N": "day"}


def test_layout_c_joins_the_two_endings(tmp_path, pairs):
    pairs(tmp_path, STEMS, "seperated_images", "seperated_images", "labels", ("_rgb", "_th", ""))
    write_lists(tmp_path)
    assert found(tmp_path) == LISTS
    record = MFNet(str(tmp_path)).scan("test").records[0]
    assert (record.rgb.name, record.x.name, record.subset) == (
        "00005D_rgb.png",
        "00005D_th.png",
        "day",
    )
    raw = MFNet(str(tmp_path)).read(record)
    stored = np.asarray(Image.open(record.x))
    np.testing.assert_array_equal(raw.x, stored.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize(
    "names", [("RGB", "Thermal", "Label"), ("RGB", "THE", "Label"), ("rgb", "ther", "labels")]
)
def test_layout_d_cuts_validation_from_train(tmp_path, pairs, names):
    pairs(tmp_path, STEMS, *names)
    write_lists(tmp_path, {"train": STEMS[:4], "test": STEMS[4:]})
    splits = found(tmp_path, val_share=0.25)
    assert sorted(splits["train"] + splits["val"]) == STEMS[:4]
    assert len(splits["val"]) == 1 and splits["test"] == STEMS[4:]
    assert found(tmp_path, val_share=0.25) == splits


def test_layout_e_tests_on_its_val_folder(tmp_path, put):
    for split, stems in (("train", STEMS[:4]), ("val", STEMS[4:])):
        packed(put, tmp_path, f"images/{split}", f"annotations/{split}", stems)
    splits = found(tmp_path, val_share=0.25)
    assert splits["test"] == STEMS[4:]
    assert sorted(splits["train"] + splits["val"]) == STEMS[:4] and len(splits["val"]) == 1
    assert MFNet(str(tmp_path))._find_layout(True) == "E"
    assert len(MFNet(str(tmp_path)).find_records("predict")) == 6
    packed(put, tmp_path, "images/test", "annotations/test", ["00009D"])
    assert found(tmp_path)["test"] == ["00009D"]


def test_trainval_protocol_joins_the_lists(tmp_path, put):
    packed(put, tmp_path)
    write_lists(tmp_path)
    splits = found(tmp_path, protocol="trainval")
    assert splits["train"] == STEMS[:4] and splits["val"] == STEMS[3:4]
    assert MFNet(str(tmp_path), protocol="trainval").expected["train"] == 1176


def test_layout_can_be_demanded(tmp_path, put):
    packed(put, tmp_path)
    write_lists(tmp_path)
    with pytest.raises(
        DataError, match=r"is no MFNet data set.*D: RGB/, Thermal/, Label/"
    ) as error:
        MFNet(str(tmp_path), layout="D").scan("train")
    assert "A: " not in str(error.value)


def test_wrong_root_says_what_was_tried(tmp_path):
    with pytest.raises(DataError) as error:
        MFNet(str(tmp_path / "no")).find_records("train")
    text = str(error.value)
    assert text.startswith(f"{tmp_path / 'no'} does not exist; set data.root to a folder with one")
    for letter in "ABCDE":
        assert f"{letter}: " in text
    with pytest.raises(DataError, match="is no MFNet data set"):
        MFNet(str(tmp_path)).find_records("train")


def test_missing_test_list(tmp_path, put):
    packed(put, tmp_path)
    write_lists(tmp_path, {"train": STEMS[:2], "val": STEMS[2:4]})
    with pytest.raises(DataError, match=r"test\.txt is missing: MFNet needs it"):
        MFNet(str(tmp_path)).find_records("test")


def test_all_missing_partners_in_one_error(tmp_path, put):
    packed(put, tmp_path)
    names = [f"1{i:04d}D" for i in range(12)]
    write_lists(tmp_path, {**LISTS, "train": [*STEMS[:2], *names]})
    with pytest.raises(DataError) as error:
        MFNet(str(tmp_path)).find_records("train")
    text = str(error.value)
    assert "12 samples of train cannot be used" in text
    assert "10000D (named in train.txt): no rgb and no mask image of this stem" in text
    assert "10009D" in text and "10010D" not in text and "... and 2 more" in text
    with pytest.warns(UserWarning, match=r"12 samples of train left out \(12 missing\)"):
        kept = MFNet(str(tmp_path), on_bad="skip").find_records("train")
    assert [r.name for r in kept] == STEMS[:2]


def test_three_channels_where_four_are_expected(tmp_path, put):
    packed(put, tmp_path)
    write_lists(tmp_path)
    put(tmp_path / "images" / "00002N.png", np.zeros((32, 48, 3), np.uint8))
    with pytest.raises(
        DataError, match=r"00002N\.png: it has 3 channels where MFNet's layout needs 4"
    ):
        MFNet(str(tmp_path)).find_records("train")


def test_empty_split(tmp_path, put):
    packed(put, tmp_path)
    write_lists(tmp_path, {**LISTS, "val": []})
    with pytest.raises(DataError, match="the val split of MFNet is empty"):
        MFNet(str(tmp_path)).find_records("val")


def test_foreign_id_names_file_and_id(tmp_path, put):
    packed(put, tmp_path)
    write_lists(tmp_path)
    ids = np.zeros((32, 48), np.uint8)
    ids[0, 0], ids[1, 1], ids[2, 2] = 9, 255, 77
    put(tmp_path / "labels" / "00001D.png", ids)
    data = MFNet(str(tmp_path))
    with pytest.raises(DataError, match=r"00001D\.png: class id 9, 77 is outside 0 to 8$"):
        data.read(data.scan("train").records[0])


def test_swapped_and_unequal_sizes_have_their_own_messages(tmp_path, put):
    packed(put, tmp_path)
    write_lists(tmp_path)
    put(tmp_path / "labels" / "00001D.png", np.zeros((48, 32), np.uint8))
    put(tmp_path / "labels" / "00002N.png", np.zeros((30, 48), np.uint8))
    with pytest.raises(DataError) as error:
        MFNet(str(tmp_path)).find_records("train")
    assert "00001D.png: height and width are swapped: it is 48 x 32" in str(error.value)
    assert "00002N.png: it is 30 x 48 (height x width), but " in str(error.value)
    data = MFNet(str(tmp_path))
    with pytest.raises(DataError, match="height and width are swapped"):
        data.read(data.scan("train").records[0])


def test_skip_also_leaves_out_what_only_decoding_finds(tmp_path, put):
    packed(put, tmp_path)
    write_lists(tmp_path)
    whole = (tmp_path / "images" / "00001D.png").read_bytes()
    (tmp_path / "images" / "00001D.png").write_bytes(whole[: len(whole) // 2])
    put(tmp_path / "labels" / "00002N.png", np.full((32, 48), 9, np.uint8))
    assert len(MFNet(str(tmp_path)).find_records("train")) == 3
    with pytest.warns(UserWarning, match=r"2 samples of train left out \(1 unreadable, 1 ids\)"):
        kept = MFNet(str(tmp_path), on_bad="skip").find_records("train")
    assert [r.name for r in kept] == ["00003D"]


def test_real_four_channel_files(samples):
    data = MFNet(str(samples / "mfnet_raw"), num_workers=0)
    records = data.find_records("predict")
    assert [(r.name, r.subset) for r in records] == [("01234N", "night"), ("01477D", "day")]
    for record in records:
        raw = data.read(record)
        stored = np.asarray(Image.open(record.rgb))
        np.testing.assert_array_equal(raw.rgb, stored[..., :3])
        np.testing.assert_array_equal(np.rint(raw.x * 255), stored[..., 3])
    pixels = np.concatenate([data.read(r).x.ravel() for r in records])
    assert (round(float(pixels.mean()), 3), round(float(pixels.std()), 3)) == (0.257, 0.088)


@pytest.mark.slow
def test_real_pairs_in_layout_a(samples, tmp_path, put):
    source = samples / "msrs_person"
    for path in sorted((source / "rgb").iterdir()):
        rgb, x, gt = (
            np.asarray(Image.open(source / f / path.name)) for f in ("rgb", "thermal", "gt")
        )
        put(tmp_path / "images" / path.name, np.dstack([rgb, x]))
        put(tmp_path / "labels" / path.name, ((gt > 127) * 2).astype(np.uint8))
    stems = sorted(p.stem for p in (source / "rgb").iterdir())
    write_lists(tmp_path, {"train": stems, "val": stems, "test": stems})
    data = MFNet(str(tmp_path))
    raw = data.read(data.scan("train").records[0])
    thermal = np.asarray(Image.open(source / "thermal" / f"{stems[0]}.png"))
    np.testing.assert_array_equal(np.rint(raw.x * 255), thermal)
    assert set(np.unique(raw.mask)) == {0, 2}
    shutil.rmtree(tmp_path / "labels")
    assert len(data.find_records("predict")) == 8
