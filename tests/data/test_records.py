import pytest

from rgbx.data.splits.records import find_folder, index_images, pair, read_list, seeded_split
from rgbx.errors import DataError


def test_lists_are_read_tolerantly(tmp_path):
    text = "﻿00001D\r\n\r\nimages/00002N.png labels/00002N.png\r\na.rf.12,1\n00001D\n  \n"
    (tmp_path / "train.txt").write_text(text, encoding="utf-8")
    assert read_list(tmp_path / "train.txt") == ["00001D", "00002N", "a.rf.12"]


def test_list_that_is_no_text(tmp_path):
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="is no text file"):
        read_list(tmp_path / "train.txt")


def test_index_passes_over_foreign_files_and_cuts_endings(tmp_path):
    for name in ("a_rgb.PNG", "b_rgb.jpg", "a_th.png", ".c_rgb.png", "Thumbs.db", "d_rgb.txt"):
        (tmp_path / name).touch()
    assert sorted(index_images(tmp_path, "_rgb")) == ["a", "b"]
    assert sorted(index_images(tmp_path)) == ["a_rgb", "a_th", "b_rgb"]


def test_index_refuses_two_images_of_a_stem(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"two images of the same stem, a\.jpg and a\.png"):
        index_images(tmp_path)


def test_find_folder_ignores_case_and_keeps_the_order_of_names(tmp_path):
    (tmp_path / "RGB").mkdir()
    (tmp_path / "vi").mkdir()
    assert find_folder(tmp_path, ("rgb", "vi")) == tmp_path / "RGB"
    assert find_folder(tmp_path, ("vi", "rgb")) == tmp_path / "vi"
    assert find_folder(tmp_path / "none", ("rgb",)) is None


def test_pairs_are_joined_by_stem_not_by_position(tmp_path):
    rgb = {s: tmp_path / f"{s}.jpg" for s in "abc"}
    x = {s: tmp_path / f"{s}.bmp" for s in "bcd"}
    scan = pair("abcd", {"rgb": rgb, "x": x, "mask": None}, subset=str.upper, where="train.txt")
    assert [(r.name, r.rgb.name, r.x.name, r.subset) for r in scan.records] == [
        ("b", "b.jpg", "b.bmp", "B"),
        ("c", "c.jpg", "c.bmp", "C"),
    ]
    assert [p.text for p in scan.problems] == [
        "a (named in train.txt): no x image of this stem",
        "d (named in train.txt): no rgb image of this stem",
    ]


@pytest.mark.parametrize(
    ("count", "share", "held"), [(10, 0.1, 1), (3, 0.01, 1), (1, 0.5, 0), (8, 0, 0)]
)
def test_seeded_split_parts_the_names(count, share, held):
    names = [f"n{i}" for i in range(count)]
    train, val = seeded_split(names, share, seed=1)
    assert len(val) == held
    assert sorted(train + val) == sorted(names)
    assert seeded_split(names[::-1], share, seed=1) == (train, val)


def test_seeded_split_depends_on_the_seed():
    names = [f"n{i}" for i in range(100)]
    assert seeded_split(names, 0.2, 0)[1] != seeded_split(names, 0.2, 1)[1]
