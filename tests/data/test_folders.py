"""What lies in a folder and is not used is said; nested folders, endings, odd names pair."""

import os
import unicodedata

import numpy as np
import pytest

from rgbx.cli.check_data import main
from rgbx.data import COD, ISTD, NEURSDDS, VT5000, FolderRGBX, HQSeg44K, PromptFolder
from rgbx.data.checks.check import check
from rgbx.errors import DataError, RGBXError

CLASSES = ["background", "car", "person"]


def module(root, **options):
    options = {"class_names": CLASSES, "size": (32, 48), "num_workers": 0, **options}
    return FolderRGBX(str(root), **options)


def names(data, split="predict"):
    return [r.name for r in data.scan(split).records]


def test_unknown_x_folder_is_named_and_can_be_given(tmp_path, pairs):
    pairs(tmp_path, "abcdef", x="thermal16")
    pairs(tmp_path, "zy", rgb="old", x="", mask="")
    (tmp_path / "old" / "z.jpg").touch()  # two of one stem, in a folder that is not used
    data = module(tmp_path)
    with pytest.warns(UserWarning, match=r"no folder of x .*thermal16 \(6 images\)"):
        data.find_records("train")
    (note,) = data.scan("train").notes
    assert "old (3 images)" in note and "{x: thermal16} takes" in note
    assert note in check(data, progress=False).warnings
    found = module(tmp_path, folders={"x": "thermal16"}).scan("predict")
    assert all(r.x is not None for r in found.records)
    with pytest.raises(DataError, match=r"no folder infra, .* as x; there are .*thermal16"):
        module(tmp_path, folders={"x": "infra"}).scan("predict")
    with pytest.raises(RGBXError, match="'depth'; its keys are rgb, x, mask"):
        module(tmp_path, folders={"depth": "d"})


def test_the_hint_is_given_only_where_files_pair(tmp_path, pairs):
    pairs(tmp_path, "abc", x="")
    pairs(tmp_path, "xyz", rgb="previews", x="", mask="")
    (note,) = module(tmp_path).scan("train").notes
    assert "previews (3 images)" in note and "takes" not in note


def test_rgb_alone_is_no_reason_for_a_note(tmp_path, pairs):
    pairs(tmp_path, "abc", x="")
    assert module(tmp_path).scan("train").notes == ()


def test_second_folders_of_x_and_masks_and_splits_are_named(tmp_path, pairs):
    for split in ("train", "test", "dev"):
        pairs(tmp_path / split, "abc")
    pairs(tmp_path / "train", "abc", "visible", "depth", "labels")
    notes = " ".join(module(tmp_path).scan("train").notes)
    assert all(word in notes for word in ("depth", "labels", "visible", "dev (9 images)"))


def test_no_mask_folder_says_what_is_there(tmp_path, pairs):
    pairs(tmp_path, "abc", mask="truth16")
    with pytest.raises(DataError, match=r"no folder of masks .*truth16"):
        module(tmp_path).scan("train")
    with pytest.raises(DataError, match=r"data\.root .*folders a1, b1"):
        for name in ("a1", "b1"):
            (tmp_path / "w" / name).mkdir(parents=True)
        module(tmp_path / "w").scan("train")


def test_sequences_keep_together(tmp_path, pairs):
    for i in range(4):
        pairs(tmp_path, "abc", f"rgb/s{i}", f"x/s{i}", f"mask/s{i}")
    data = module(tmp_path, val_share=0.25)
    splits = [names(data, s) for s in data.splits]
    assert [len(s) for s in splits] == [6, 3, 3]
    assert len({name.split("/")[0] for name in splits[1]}) == 1
    assert sorted(name for split in splits for name in split) == sorted(
        f"s{i}/{n}" for i in range(4) for n in "abc"
    )
    (tmp_path / "train.txt").write_text("s0/a.png\nrgb/s1/a.png\n")
    (tmp_path / "test.txt").write_text("s2/b\n")
    assert sorted(names(data, "train") + names(data, "val")) == ["s0/a", "s1/a"]
    assert names(data, "test") == ["s2/b"]


def test_two_sequences_cannot_be_parted_in_three_unsaid(tmp_path, pairs):
    for i in range(2):
        pairs(tmp_path, "abc", f"rgb/s{i}", f"x/s{i}", f"mask/s{i}")
    assert "2 folders of images cannot be parted" in " ".join(module(tmp_path).scan("val").notes)


def test_a_loop_of_links_ends(tmp_path, pairs):
    pairs(tmp_path, "ab", "rgb/s0", "x/s0", "mask/s0")
    (tmp_path / "rgb" / "s0" / "up").symlink_to(tmp_path / "rgb")
    assert names(module(tmp_path)) == ["s0/a", "s0/b"]


@pytest.mark.parametrize(
    ("rgb", "x", "mask", "ends"),
    [
        ("rgb", "x", "mask", ("_rgb", "_th", "_mask")),
        ("images", "images", "images", ("_rgb", "_th", "_label")),
        ("images", "images", "masks", ("", "_depth", "")),
        ("images", "thermal", "labels", ("", "-ir", "_segmentation")),
    ],
)
def test_endings_pair_in_one_folder_or_more(tmp_path, pairs, rgb, x, mask, ends):
    pairs(tmp_path, ["n1", "n2", "n3"], rgb, x, mask, ends)
    (tmp_path / "train.txt").write_text(f"n1{ends[0]}.png\nn2\n")
    (tmp_path / "test.txt").write_text("n3\n")
    data = module(tmp_path, val_share=0)
    (first, second), (third,) = data.scan("train").records, data.scan("test").records
    assert [r.name for r in (first, second, third)] == ["n1", "n2", "n3"]
    assert [p.stem for p in (third.rgb, third.x, third.mask)] == [f"n3{e}" for e in ends]


def test_endings_that_pair_as_they_are_stay(tmp_path, pairs):
    pairs(tmp_path, ["a_rgb", "b_rgb", "c_d"])
    assert names(module(tmp_path)) == ["a_rgb", "b_rgb", "c_d"]


@pytest.mark.parametrize(("part", "suffix"), [("mask", ".json"), ("x", ".npy"), ("rgb", ".heic")])
def test_files_of_other_kinds_are_named(tmp_path, pairs, part, suffix):
    pairs(tmp_path, "ab")
    (tmp_path / part / "a.png").rename(tmp_path / part / f"a{suffix}")
    (problem,) = module(tmp_path, val_share=0).scan("train").problems
    assert f"no {part} image" in problem.text
    assert f"{part}/a{suffix} is there, but {suffix} is not read" in problem.text


def test_unread_images_without_a_partner_are_noted(tmp_path, pairs):
    pairs(tmp_path, "ab", x="", mask="")
    (tmp_path / "rgb" / "c.heic").touch()
    (tmp_path / "rgb" / "notes.txt").touch()
    (note,) = module(tmp_path).scan("predict").notes
    assert "1 .heic" in note and "txt" not in note


def test_hidden_images_are_noted(tmp_path, pairs):
    pairs(tmp_path, ["a", ".b", "._a"])
    notes = module(tmp_path, val_share=0).scan("train").notes
    assert names(module(tmp_path)) == ["a"]
    assert len(notes) == 3 and all(": 1 images" in n and ".b.png" in n for n in notes)


@pytest.mark.parametrize("suffix", [".gif", ".pgm"])
def test_old_formats_are_read(tmp_path, pairs, put, suffix):
    pairs(tmp_path, "ab", mask="")
    ids = np.arange(32 * 48, dtype=np.uint8).reshape(32, 48) % 3
    for stem in "ab":
        path = put(tmp_path / "mask" / f"{stem}{suffix}", ids)
    data = module(tmp_path, val_share=0)
    assert names(data, "train") == ["a", "b"] and data.read_mask(path).shape == (32, 48)


def test_what_is_no_file_is_named_and_not_opened(tmp_path, pairs):
    pairs(tmp_path, "abcd")
    for part, stem in (("rgb", "a"), ("mask", "b"), ("x", "c")):
        (tmp_path / part / f"{stem}.png").unlink()
    os.mkfifo(tmp_path / "rgb" / "a.png")
    (tmp_path / "mask" / "b.png").mkdir()
    (tmp_path / "x" / "c.png").symlink_to("nowhere.png")
    texts = [p.text for p in module(tmp_path, val_share=0).scan("train").problems]
    for text, fact in zip(texts, ("rgb/a.png is a named pipe", "a folder", "link"), strict=True):
        assert fact in text
    with pytest.raises(DataError, match=r"rgb/a\.png is a named pipe"):
        module(tmp_path).find_records("predict")


def test_letter_case_is_the_reason_given(tmp_path, pairs):
    pairs(tmp_path, ["Pic"], mask="")
    (tmp_path / "mask").mkdir()
    (tmp_path / "x" / "Pic.png").rename(tmp_path / "mask" / "pic.png")
    text = " ".join(p.text for p in module(tmp_path).scan("train").problems)
    assert "upper and lower case" in text


ODD = ["a\nb", "n" * 250, os.fsdecode(b"\xff\xe9"), "-dash", "1#A%20 b", "🐟", "prüf", "図"]


def test_odd_names_pass_check_data(tmp_path, pairs, capsys):
    pairs(tmp_path / "d", ODD)
    (tmp_path / "d" / "mask" / "prüf.png").rename(
        tmp_path / "d" / "mask" / (unicodedata.normalize("NFD", "prüf") + ".png")
    )
    data = module(tmp_path / "d", val_share=0)
    assert sorted(names(data, "train")) == sorted(ODD)
    own = ["--data", "FolderRGBX", "--data.root", str(tmp_path / "d"), "-o", str(tmp_path / "o")]
    assert main([*own, "--data.class_names", str(CLASSES), "--data.val_share", "0.25"]) == 0
    capsys.readouterr()
    for part in ("rgb", "x"):
        os.truncate(tmp_path / "d" / part / f"{ODD[2]}.png", 30)
        os.truncate(tmp_path / "d" / part / f"{ODD[0]}.png", 30)
    assert main([*own, "--data.class_names", str(CLASSES), "--data.val_share", "0.25"]) == 1
    assert "\\udcff" in capsys.readouterr().out


def test_ids_to_ignore(tmp_path, pairs, put):
    pairs(tmp_path, "a", mask="")
    path = put(tmp_path / "mask" / "a.png", np.array([[0, 1, 2, 7, 255]], np.uint8))
    data = module(tmp_path, ignore_ids=[0, 7])
    assert data.read_mask(path).tolist() == [[255, 1, 2, 255, 255]]
    with pytest.raises(DataError, match="class id 7"):
        module(tmp_path).read_mask(path)
    with pytest.raises(RGBXError, match="ignore_ids -1"):
        module(tmp_path, ignore_ids=[-1])
    with pytest.raises(RGBXError, match="binary masks"):
        module(tmp_path, class_names=None, binary=True, ignore_ids=[0])


@pytest.mark.parametrize(
    ("make", "root", "gone", "named"),
    [
        (HQSeg44K, "hqseg_root", "DIS5K/DIS-TR/gt", "DIS5K-TR"),
        (HQSeg44K, "hqseg_root", "DIS5K/DIS-VD/im", "DIS of"),
        (VT5000, "vt5000_root", "VT821/thermal", "VT821"),
        (VT5000, "vt5000_root", "VT1000/RGB", "VT1000"),
        (COD, "cod_root", "TestDataset/CAMO/Imgs", "CAMO"),
        (ISTD, "istd_root", "test/test_A", "test_B"),
        (NEURSDDS, "neu_rsdds_root", "Depth_test", "test"),
    ],
)
def test_half_a_set_is_a_problem(request, tmp_path, make, root, gone, named):
    import shutil

    copy = shutil.copytree(request.getfixturevalue(root), tmp_path / "copy")
    places = [p for p in copy.rglob(gone.rsplit("/", 1)[-1]) if str(p).endswith(gone)]
    places[0].rename(tmp_path / "away")
    report = check(make(str(copy)), progress=False)
    assert any(named in line for line in report.breaking), report.breaking


def test_half_a_split_of_prompts(tmp_path, pairs):
    pairs(tmp_path / "train", "abcd", "im", "", "gt")
    (tmp_path / "val" / "gt").mkdir(parents=True)
    (line,) = PromptFolder(str(tmp_path)).half_there()
    assert str(tmp_path / "val") in line
