"""Images in two splits: the same file, a copy, the same to the eye."""

import shutil

import numpy as np
import pytest
from PIL import Image

from rgbx.cli.check_data import main
from rgbx.data import COD, FolderRGBX
from rgbx.data.checks.check import check
from rgbx.data.checks.overlap import shared_images
from rgbx.data.splits.records import Record

CLASSES = ["a", "b", "c"]


@pytest.fixture
def split_root(tmp_path, put):
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        for i in range(count):
            image = np.repeat(np.repeat(rng.integers(0, 256, (8, 12, 3)), 4, 0), 4, 1)
            put(tmp_path / split / "rgb" / f"{i}.png", image.astype(np.uint8))
            put(tmp_path / split / "mask" / f"{i}.png", np.full((32, 48), i % 3, np.uint8))
    return tmp_path


def module(root, **options):
    return FolderRGBX(str(root), class_names=CLASSES, size=(32, 48), num_workers=0, **options)


def test_equal_names_of_split_folders_are_no_problem(split_root):
    assert check(module(split_root), progress=False).breaking == []


def test_copies_are_a_problem_and_left_out_on_request(split_root):
    shutil.copy(split_root / "test/rgb/1.png", split_root / "train/rgb/0.png")
    report = check(module(split_root), progress=False)
    (line,) = report.breaking
    assert "1 samples of train are in test" in line
    assert "train/rgb/0.png" in line and "test/rgb/1.png" in line
    data = module(split_root)
    with pytest.warns(UserWarning, match=r"PROBLEM .*1 samples of train are in test"):
        assert len(data.find_records("train")) == 4
    lenient = module(split_root, on_bad="skip")
    with pytest.warns(UserWarning, match=r"1 samples of train left out \(1 leak\)"):
        assert [r.name for r in lenient.find_records("train")] == ["1", "2", "3"]
    assert check(lenient, progress=False).breaking == []


def test_the_same_file_is_a_problem_and_left_out_on_request(split_root, pairs):
    root = pairs(split_root / "flat", [f"{i}" for i in range(6)])
    for split, names in (("train", "0 1 2"), ("val", "3"), ("test", "2 4")):
        (root / f"{split}.txt").write_text("\n".join(names.split()))
    data = module(root)
    with pytest.warns(UserWarning, match=r"PROBLEM .*1 samples are in train and in test.*2\.png"):
        assert len(data.find_records("train")) == 3
    assert "1 samples are in train and in test" in check(data, progress=False).breaking[0]
    lenient = module(root, on_bad="skip")
    assert [record.name for record in lenient.find_records("train")] == ["0", "1"]


def test_links_and_renamed_copies_are_found(tmp_path, put):
    rng = np.random.default_rng(0)
    paths = [put(tmp_path / f"{i}.bmp", rng.integers(0, 256, (9, 9), np.uint8)) for i in range(3)]
    (tmp_path / "link.bmp").symlink_to(paths[0])
    shutil.copy(paths[1], tmp_path / "copy.bmp")
    first = [Record("x", path) for path in paths]
    second = [Record(n, tmp_path / f"{n}.bmp") for n in ("copy", "link", "gone")]
    found = shared_images(first, second)
    assert [(s.first.rgb.name, s.second.name, s.same_file) for s in found] == [
        ("0.bmp", "link", True),
        ("1.bmp", "copy", False),
    ]


def test_leaks_of_published_lists_are_named_only(tmp_path, put):
    rng = np.random.default_rng(0)
    leaked = "COD10K-CAM-1-Aquatic-3-Crab-32"
    image = rng.integers(0, 256, (32, 48, 3), np.uint8)
    for folder in ("TrainDataset", "TestDataset/COD10K"):
        for name in (leaked, f"{folder[:5]}1", f"{folder[:5]}2"):
            own = image if name == leaked else rng.integers(0, 256, (32, 48, 3), np.uint8)
            put(tmp_path / folder / "Imgs" / f"{name}.png", own)
            put(tmp_path / folder / "GT" / f"{name}.png", np.eye(32, 48, dtype=np.uint8) * 255)
    report = check(COD(str(tmp_path), val_share=0), progress=False)
    assert not [line for line in report.breaking if leaked in line]
    assert any(leaked in line for line in report.warnings)


def test_near_duplicates_are_listed(split_root, tmp_path, capsys):
    image = Image.open(split_root / "train/rgb/2.png")
    turned = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((60, 40))
    turned.save(split_root / "test/rgb/0.png")
    Image.new("L", (60, 40)).save(split_root / "test/mask/0.png")
    own = [
        "--data",
        "FolderRGBX",
        "--data.root",
        str(split_root),
        "--data.class_names",
        "[a,b,c]",
    ]
    assert main([*own, "-o", str(tmp_path / "o")]) == 0
    assert "look as in" not in capsys.readouterr().out
    assert main([*own, "-o", str(tmp_path / "o"), "--near_duplicates", "true"]) == 0
    said = capsys.readouterr().out
    assert "1 images of train look as in test" in said
    assert "train/rgb/2.png and" in said and "test/rgb/0.png" in said
