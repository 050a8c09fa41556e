"""Lists name what exists; files of any encoding and kind end in names or in a sentence."""

import os
import unicodedata

import numpy as np
import pytest

from rgbx.data import MFNet
from rgbx.data.datasets.kvasir_split import read_division
from rgbx.data.splits.lists import read_list
from rgbx.errors import DataError
from rgbx.prompts import read_prompts


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("pic (2).png", "pic (2)"),
        ("pic.png", "pic"),
        ("pic", "pic"),
        (" led.png", " led"),
        ("a, b.png", "a, b"),
        ('"a, b.png",3', "a, b"),
        ("'pic (2).png'", "pic (2)"),
        ("rgb/pic (2).png mask/pic (2).png", "pic (2)"),
        ("rgb/pic.png\tmask/pic.png", "pic"),
        ("pic.jpg,1", "pic"),
        ("pic;1", "pic"),
        ("RGB\\pic.png", "pic"),
        ("./day/night.v2.png 0", "night.v2"),
        ("-x#%20.png", "-x#%20"),
        ("prüf", "prüf"),
        (unicodedata.normalize("NFD", "prüf.png"), "prüf"),
        ("double.png", "double"),
        ("double.png.png", "double.png"),
        ("absent (3).png", "absent (3)"),
        ("rgb/absent.png mask/absent.png", "absent"),
        ("absent\t1", "absent"),
    ],
)
def test_a_line_is_what_exists(tmp_path, line, name):
    known = {"pic", "pic (2)", " led", "a, b", "night.v2", "-x#%20", "prüf", "double", "double.png"}
    (tmp_path / "train.txt").write_bytes(f"{line}\r\n".encode())
    assert read_list(tmp_path / "train.txt", known) == [name]


@pytest.mark.parametrize("text", ["a b\nc d", "a,b", "a.png; b.png\n\nc.png;d.png\n", "a b c d"])
def test_several_names_on_each_line_are_refused(tmp_path, text):
    path = tmp_path / "train.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=r"train\.txt .*one name per line"):
        read_list(path, ["a", "b", "c", "d"])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1 0\n2 1\n3 0", ["1", "2", "3"]),  # numbers behind a name are labels
        ("1 2\n3", ["1", "3"]),
        ("a b", ["a b"]),  # a name with a blank
        ("rgb/1.png mask/1.png\nrgb/2.png mask/2.png", ["1", "2"]),
    ],
)
def test_other_columns_are_no_names(tmp_path, text, names):
    path = tmp_path / "train.txt"
    path.write_text(text)
    assert read_list(path, ["0", "1", "2", "3", "a", "b", "a b"]) == names


def test_lines_end_where_editors_end_them(tmp_path):
    known = ["a\u2028b", "c\x0bd", "e"]
    (tmp_path / "l").write_bytes("a\u2028b\rc\x0bd\r\n\n e \n".encode())
    assert read_list(tmp_path / "l", known) == known


def test_folders_of_nested_names_count_and_others_must_agree(tmp_path):
    (tmp_path / "l").write_text("rgb/s0/1.png\ns1/1\ns0/1\n")
    assert read_list(tmp_path / "l", ["s0/1", "s1/1"]) == ["s0/1", "s1/1"]
    (tmp_path / "l").write_text("day/1.png\nnight/1.png\n")
    with pytest.raises(DataError, match=r"names 1 in day and in night"):
        read_list(tmp_path / "l", ["1"])


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-8-sig", "gbk", "shift_jis", "big5"]
)
def test_other_encodings_are_read_if_all_names_exist(tmp_path, encoding):
    names = ["図一", "図三"]
    text = "\r\n".join(names)
    if encoding == "big5":
        names = ["圖一", "圖三"]
        text = "\r\n".join(names)
    if encoding == "gbk":
        names = ["图0", "图1"]  # valid UTF-8 by chance, of other letters
        text = "\r\n".join(names)
    (tmp_path / "l").write_bytes(text.encode(encoding))
    assert read_list(tmp_path / "l", [*names, "x"]) == names


def test_latin_letters_and_bytes_without_meaning(tmp_path):
    (tmp_path / "l").write_bytes("café\n".encode("latin-1"))
    assert read_list(tmp_path / "l", ["café"]) == ["café"]
    assert read_list(tmp_path / "l", [os.fsdecode(b"caf\xe9")]) == [os.fsdecode(b"caf\xe9")]
    with pytest.raises(DataError, match=r"/l is no text file in UTF-8"):
        read_list(tmp_path / "l", ["other"])


def test_endless_lines_pipes_folders_and_links_to_nothing(tmp_path):
    (tmp_path / "long").write_text("a\n" + "x" * 300_000)
    with pytest.raises(DataError, match="long line 2 has 300000 characters") as error:
        read_list(tmp_path / "long", ["a"])
    assert len(str(error.value)) < 500
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "none")
    for name, kind in (("pipe", "pipe"), ("folder", "folder"), ("link", "link"), ("no", "such")):
        with pytest.raises(DataError, match=rf"{name}: .*cannot be read .*{kind}"):
            read_list(tmp_path / name)
    with pytest.raises(DataError, match=r"/dev/zero: .*cannot be read .*device"):
        read_list(type(tmp_path)("/dev/zero"))


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_prompts_from_pipes_and_other_encodings(tmp_path, suffix):
    os.mkfifo(tmp_path / f"pipe.{suffix}")
    with pytest.raises(DataError, match=rf"pipe\.{suffix}: .*cannot be read .*pipe"):
        read_prompts(tmp_path / f"pipe.{suffix}")
    text = {"json": '{"ü": [{"points": [[1, 2]]}]}', "csv": "name,x,y,label\nü.png,1,2,1\n"}[suffix]
    path = tmp_path / f"p.{suffix}"
    path.write_bytes(unicodedata.normalize("NFD", text).encode("utf-16"))
    assert read_prompts(path).names == ["ü"]
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=rf"p\.{suffix}: .*not UTF-8 text"):
        read_prompts(path)


def test_names_with_line_ends_and_endless_cells_in_csv(tmp_path):
    path = tmp_path / "p.csv"
    path.write_bytes(b'name,x,y,label\n"a\nb",1,2,1\nc\xe2\x80\xa8d,1,2,1\n')
    assert read_prompts(path).names == ["a\nb", "c\u2028d"]
    path.write_text("name,x,y,label\n" + "x" * 300_000)
    with pytest.raises(DataError, match=r"p\.csv line \d+: no CSV"):
        read_prompts(path)


def test_prompts_for_a_name_that_several_folders_have(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("name,x,y,label\n1,1,2,1\n")
    with pytest.raises(DataError, match=r"no image '1'; there is train/1, val/1"):
        read_prompts(path).check_names(["val/1", "train/1", "train/2"])


def test_published_lists_with_blanks(tmp_path, put):
    names = ["a (1)D", "a (2)N", "a (3)D"]
    for name in names:
        put(tmp_path / "images" / f"{name}.png", np.zeros((4, 4, 4), np.uint8))
        put(tmp_path / "labels" / f"{name}.png", np.zeros((4, 4), np.uint8))
    for split, name in zip(("train", "val", "test"), names, strict=True):
        (tmp_path / f"{split}.txt").write_text(f"images/{name}.png labels/{name}.png\n")
    (tmp_path / "test_night.txt").write_text("a (3)D\n")
    data = MFNet(str(tmp_path))
    assert [r.name for s in data.splits for r in data.scan(s).records] == names
    assert data.scan("test").records[0].subset == "night"
    (tmp_path / "train.txt").write_text("a (1)D.png\n")
    division = read_division(tmp_path, names)
    assert division is not None and division.train == ["a (1)D"]


def test_a_list_that_is_no_file_is_not_passed_over(tmp_path, put):
    from rgbx.data import FolderRGBX

    put(tmp_path / "rgb" / "a.png", np.zeros((4, 4, 3), np.uint8))
    put(tmp_path / "mask" / "a.png", np.zeros((4, 4), np.uint8))
    (tmp_path / "train.txt").symlink_to(tmp_path / "nowhere.txt")
    with pytest.raises(DataError, match=r"train\.txt: .*\(a link to nothing\)"):
        FolderRGBX(str(tmp_path), class_names=["a", "b"]).scan("train")
