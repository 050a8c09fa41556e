"""Folders of maps and masks, scored without a model."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import tiny


def numbers(path):
    return json.loads(path.read_text())["numbers"]


CASES = {
    "samsod_vt5000.yaml": ("vt5000_root", "maps"),
    "unirgb_ir_mfnet.yaml": ("mfnet_root", "masks"),
}


@pytest.mark.parametrize("config", CASES)
def test_saved_predictions_score_as_in_their_test(config, request, rgbx, tmp_path, capsys):
    root, kind = request.getfixturevalue(CASES[config][0]), CASES[config][1]
    options = tiny(config, root, "--trainer.enable_progress_bar", "false")
    steps = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1")
    assert rgbx("fit", *options, *steps) == 0
    (checkpoint,) = tmp_path.glob("runs/*/version_0/checkpoints/last.ckpt")
    saved = ("--save_predictions", "true", "--output", "own")
    assert rgbx("test", *options, "--ckpt_path", checkpoint, *saved) == 0
    data = ("--config", options[1], "--data.root", root)
    assert rgbx("score", f"own/{kind}", *data, "-o", "scored") == 0
    own, scored = numbers(tmp_path / "own/test.json"), numbers(tmp_path / "scored/test.json")
    assert own.keys() == scored.keys()
    for split, subsets in own.items():
        assert subsets.keys() == scored[split].keys()
        for subset, scores in subsets.items():
            for name, value in scores.items():
                assert scored[split][subset][name] == pytest.approx(value, abs=2e-6), (split, name)
    if kind == "maps":
        names = ("curves.csv", "curves.png")
        assert all((tmp_path / "scored" / name).is_file() for name in names)
    # another method, in the tool boxes' layout, in one table with the model
    for method in ("theirs", "ours_v1.2"):
        shutil.copytree(f"own/{kind}", f"all/{method}")
    assert rgbx("score", "all", *data, "-o", "scores") == 0
    capsys.readouterr()
    assert rgbx("table", "own/test.json", *sorted(tmp_path.glob("scores/*/test.json"))) == 0
    text = capsys.readouterr().out
    assert "theirs" in text and "ours_v1_2" in text


@pytest.fixture
def folder(tmp_path, put):
    """Five two-class images and perfect maps; one test image is enough for each."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for stem in "abc":
            mask = np.zeros((30, 40), np.uint8)
            mask[5:20, 8 : 20 + ord(stem) % 7] = 255
            image = rng.integers(0, 255, (30, 40, 3), np.uint8)
            put(tmp_path / "data" / split / "rgb" / f"{stem}.png", image)
            put(tmp_path / "data" / split / "mask" / f"{stem}.png", mask)
            if split == "test":
                put(tmp_path / "maps" / f"{stem}.png", mask)
    return tmp_path


DATA = ("--data", "FolderRGBX", "--data.root", "data", "--data.binary", "true")


def test_perfect_maps(folder, rgbx):
    families = ("--scores", "saliency", "shadow", "polyp")
    assert rgbx("score", "maps", *DATA, *families, "-o", "out") == 0
    found = numbers(folder / "out/test.json")["test"]["all"]
    best = ("S", "maxF", "adpF", "mDice", "mIoU")
    assert [found[name] for name in best] == pytest.approx([1] * 5, abs=1e-6)
    assert found["MAE"] == 0 and found["BER"] == 0


def test_sixteen_bits_floats_and_three_equal_channels_are_the_same_maps(folder, rgbx, put):
    first = Image.open(folder / "maps/a.png")
    levels = np.asarray(first) // 2 + 20
    for name, values in {
        "8": levels,
        "16": levels.astype(np.uint16) * 257,
        "float": levels.astype(np.float32) / 255,
        "rgb": np.repeat(levels[..., None], 3, 2),
    }.items():
        for stem in "abc":
            suffix = "tif" if name == "float" else "png"
            put(folder / "all" / name / f"{stem}.{suffix}", values)
    assert rgbx("score", "all", *DATA, "-o", "out") == 0
    found = [numbers(path)["test"]["all"] for path in folder.glob("out/*/test.json")]
    assert len(found) == 4
    assert all(one == pytest.approx(found[0], abs=1e-6) for one in found)


def test_published_values_of_pysodmetrics(samples, rgbx, tmp_path):
    source = samples / "metric_pairs/pysodmetrics"
    for split in ("train", "test"):
        for part in ("rgb", "mask"):
            shutil.copytree(source / "gt", tmp_path / "data" / split / part)
    assert rgbx("score", source / "pred", *DATA, "--data.on_bad", "skip", "-o", "out") == 0
    found = numbers(tmp_path / "out/test.json")["test"]["all"]
    versions = json.loads((source / "version_performance.json").read_text())
    known = versions["v1_3_0"]
    names = {"S": "Smeasure", "wF": "wFmeasure", "MAE": "MAE", "adpE": "adpEm", "meanE": "meanEm"}
    names |= {"maxE": "maxEm", "adpF": "adpFm", "meanF": "meanFm", "maxF": "maxFm"}
    for ours, theirs in names.items():
        assert found[ours] == pytest.approx(known[theirs], abs=1e-6), ours


def test_what_is_missing_and_surplus_is_named(folder, rgbx, put, capsys, recwarn):
    put(folder / "maps" / "z.png", np.zeros((30, 40), np.uint8))
    assert rgbx("score", "maps", *DATA, "-o", "out") == 0
    said = " ".join(str(warning.message) for warning in recwarn.list)
    assert "1 predictions of no image are not scored: z" in said
    (folder / "maps/b.png").unlink()
    shutil.rmtree("out")
    assert rgbx("score", "maps", *DATA, "-o", "out") == 1
    assert "1 of 3 images of test have no prediction: b" in capsys.readouterr().err
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((20, 40), np.uint8), "it is 20 x 40 (height x width), but"),
        (np.zeros((30, 40, 3), np.uint8) + np.arange(3, dtype=np.uint8), "has colours"),
        (np.full((30, 40), 7, np.float32), "it holds 7 to 7"),
    ],
)
def test_maps_that_cannot_be_scored(folder, rgbx, put, capsys, values, words):
    (folder / "maps/b.png").unlink()
    suffix = "tif" if values.dtype == np.float32 else "png"
    put(folder / "maps" / f"b.{suffix}", values)
    assert rgbx("score", "maps", *DATA, "-o", "out") == 1
    said = capsys.readouterr().err
    assert words in said and f"b.{suffix}" in said
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        (("maps",), 2, "needs to know the truth"),
        (
            ("maps", "--annotations", "a.json", "-o", "x"),
            2,
            "takes no data set and writes no file",
        ),
        (("absent", *DATA), 1, "absent is no folder"),
        (("data", *DATA), 1, "data"),
    ],
)
def test_arguments_that_cannot_be(folder, rgbx, capsys, argv, status, words):
    assert rgbx("score", *argv) == status
    assert words in capsys.readouterr().err


def test_boxes_have_their_own_way(flir_root, rgbx, capsys, tmp_path):
    assert rgbx("score", tmp_path, "--data", "FLIR", "--data.root", flir_root) == 1
    assert "FLIR has boxes: give the results with --annotations" in capsys.readouterr().err
