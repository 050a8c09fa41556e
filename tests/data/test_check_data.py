import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from rgbx.cli import run
from rgbx.cli.check_data import main
from rgbx.data import FolderRGBX, MFNet
from rgbx.data.checks.check import check
from rgbx.errors import RGBXError


@pytest.fixture
def root(mfnet_root, tmp_path):
    return shutil.copytree(mfnet_root, tmp_path / "MFNet")


@pytest.fixture
def report_of(tmp_path):
    def read():
        return json.loads((tmp_path / "out" / "report.json").read_text())

    return read


def spoil(root, put):
    """One fault of each kind, spread over all three splits."""
    train, val, test = ((root / f"{s}.txt").read_text().split() for s in ("train", "val", "test"))
    images, labels = root / "images", root / "labels"
    (labels / f"{train[0]}.png").unlink()
    whole = (images / f"{train[1]}.png").read_bytes()
    (images / f"{train[1]}.png").write_bytes(whole[: len(whole) // 2])
    put(images / f"{train[2]}.png", np.zeros((64, 96, 3), np.uint8))
    put(labels / f"{val[0]}.png", np.zeros((96, 64), np.uint8))
    put(labels / f"{val[1]}.png", np.zeros((60, 96), np.uint8))
    put(labels / f"{test[0]}.png", np.full((64, 96), 9, np.uint8))
    put(labels / f"{test[1]}.png", np.full((64, 90), 99, np.uint8))  # two faults in one file
    (labels / f"{test[2]}.png").write_bytes(b"")
    return train, val, test


def test_all_problems_in_one_pass(root, put, tmp_path, capsys, report_of):
    train, val, test = spoil(root, put)
    arguments = ["--data", "MFNet", "--data.root", str(root), "-o", str(tmp_path / "out")]
    assert main(arguments) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem: ")]
    expected = [
        (train[0], "no mask image of this stem"),
        (train[1], "the image cannot be read"),
        (train[2], "3 channels where MFNet's layout needs 4"),
        (val[0], "height and width are swapped"),
        (val[1], "it is 60 x 96"),
        (test[0], "class id 9 is outside 0 to 8"),
        (test[1], "it is 64 x 90"),
        (test[1], "class id 99 is outside 0 to 8"),
        (test[2], "the image cannot be read"),
    ]
    assert len(lines) == len(expected)
    for name, text in expected:
        assert sum(name in line and text in line for line in lines) == 1, (name, text)
    report = report_of()
    assert not report["ok"] and len(report["breaking"]) == 9
    pairs = {split: found["pairs"] for split, found in report["splits"].items()}
    assert pairs == {"train": 5, "val": 2, "test": 1}
    assert report["splits"]["train"]["problems"] == {"missing": 1, "unreadable": 1, "channels": 1}
    assert report["splits"]["test"]["problems"] == {"ids": 2, "size": 1, "unreadable": 1}


def test_skipped_samples_do_not_break_training(root, put):
    spoil(root, put)
    report = check(MFNet(str(root), on_bad="skip"), progress=False)
    assert report.breaking == [] and sum("left out of" in w for w in report.warnings) == 9


def test_clean_data_set(mfnet_root, tmp_path, capsys, report_of):
    out = tmp_path / "out"
    assert main(["--data.class_path", "MFNet", "--data.root", str(mfnet_root), "-o", str(out)]) == 0
    text = capsys.readouterr().out
    assert "no problem found" in text and "train: 8 pairs, 784 are usual" in text
    report = report_of()
    assert report["ok"] and report["splits"]["val"]["expected"] == 392
    shares = report["splits"]["train"]["class_share"]
    masks = [np.asarray(Image.open(p)) for p in sorted((mfnet_root / "labels").glob("*"))[:8]]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["car"] == pytest.approx(np.mean([m == 1 for m in masks]))
    cars = sum(int((m == 1).any()) for m in masks)
    assert report["splits"]["train"]["class_images"]["car"] == cars
    x = [
        np.asarray(Image.open(p))[..., 3] / 255
        for p in sorted((mfnet_root / "images").glob("*"))[:8]
    ]
    assert report["splits"]["train"]["x_mean"] == pytest.approx(np.mean(x), abs=1e-4)
    assert report["splits"]["train"]["x_std"] == pytest.approx(np.std(x), abs=1e-4)
    with Image.open(out / "contact_sheet.png") as sheet:
        assert sheet.width > 3 * 240 and sheet.height > 9 * 180


@pytest.mark.slow
def test_only_the_data_part_of_a_configuration_is_read(mfnet_root, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(
        "seed_everything: 0\nmodel: {class_path: NoSuchModel}\n"
        "data:\n  class_path: MFNet\n  init_args: {root: /nowhere, size: [32, 48]}\n"
    )
    out = ["-o", str(tmp_path / "out")]
    assert main(["--config", str(config), *out]) == 1
    for option in ("--data.root", "--data.init_args.root"):
        assert main(["--config", str(config), option, str(mfnet_root), *out]) == 0


def test_wrong_root_is_one_line(tmp_path, capsys):
    arguments = ["check-data", "--data", "MFNet", "--data.root", str(tmp_path / "no")]
    assert run([*arguments, "-o", str(tmp_path / "out")]) == 1
    out = capsys.readouterr().out
    assert out.count("problem: ") == 1 and "does not exist" in out and "E: images/" in out


def test_two_class_masks_are_audited(tmp_path, put):
    rng = np.random.default_rng(0)
    for stem, mask in (
        ("hard", np.where(rng.random((32, 48)) > 0.5, 255, 0)),
        ("soft", rng.integers(0, 256, (32, 48))),
        ("third", np.zeros((32, 48))),
    ):
        put(tmp_path / "rgb" / f"{stem}.png", np.zeros((32, 48, 3), np.uint8))
        put(tmp_path / "x" / f"{stem}.png", np.zeros((32, 48), np.uint8))
        put(tmp_path / "gt" / f"{stem}.png", mask.astype(np.uint8))
    report = check(FolderRGBX(str(tmp_path), binary=True), progress=False)
    grey = [line for line in report.warnings if "neither black nor white" in line]
    assert len(grey) == 1 and "soft.png" in grey[0]


def test_black_and_white_masks_read_as_ids_are_noticed(tmp_path, pairs, put):
    pairs(tmp_path, "abc", mask="")
    for stem in "abc":
        put(tmp_path / "mask" / f"{stem}.png", np.eye(32, 48, dtype=np.uint8) * 255)
    report = check(FolderRGBX(str(tmp_path), class_names=["sky", "car"]), progress=False)
    assert len(report.breaking) == 3
    assert "the masks of train hold only 0 and 255 (ignored)" in report.breaking[0]


def test_sample_in_two_splits_is_a_problem(root):
    shutil.copy(root / "train.txt", root / "test.txt")
    report = check(MFNet(str(root)), progress=False)
    (line,) = report.breaking
    assert line.startswith("8 samples are in train and in test") and "00001D.png" in line
    assert len(report.as_dict()["shared"]) == 8


def test_wrong_usage(tmp_path):
    with pytest.raises(RGBXError, match="did you mean `MFNet`"):
        main(["--data", "MFNett", "--data.root", "x"])
    with pytest.raises(RGBXError, match="did you mean `root`"):
        main(["--data", "MFNet", "--data.roott", "x"])
    with pytest.raises(RGBXError, match=r"^MFNet cannot work with size \[0, 650\]"):
        main(["--data", "MFNet", "--data.root", "x", "--data.size", "[0, 650]"])
    with pytest.raises(RGBXError, match=r"no configuration file .*none\.yaml"):
        main(["--config", str(tmp_path / "none.yaml")])
    (tmp_path / "c.yaml").write_text("model: {}\n")
    with pytest.raises(RGBXError, match="has no `data:` part"):
        main(["--config", str(tmp_path / "c.yaml")])


def test_help_does_not_import_torch():
    code = (
        "import sys; from rgbx.cli.check_data import main\n"
        "try: main(['--help'])\nexcept SystemExit as e: assert e.code == 0\n"
        "assert not {'torch', 'numpy', 'lightning'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "exit status" in done.stdout
