"""What a missing modality costs: in a test, in its tables and report, and in prediction."""

import json
import math
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import tiny

CASES = {
    "unirgb_ir_mfnet.yaml": "mfnet_root",
    "samsod_vt5000.yaml": "vt5000_root",
    "unirgb_ir_flir.yaml": "flir_root",
}


@pytest.fixture(params=CASES)
def trained(request, rgbx, tmp_path):
    """One step of training; returns the options and the checkpoint."""
    root = request.getfixturevalue(CASES[request.param])
    options = tiny(request.param, root, "--trainer.enable_progress_bar", "false")
    steps = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1")
    assert rgbx("fit", *options, *steps) == 0
    (checkpoint,) = tmp_path.glob("runs/*/version_0/checkpoints/last.ckpt")
    return [*options, "--ckpt_path", checkpoint]


def numbers(folder):
    return json.loads((folder / "test.json").read_text())


def flat(nested):
    """Split, subset and score of every number; those of several threads end in other digits."""
    return pytest.approx(
        {
            (split, subset, name): math.nan if value is None else value
            for split, subsets in nested.items()
            for subset, scores in subsets.items()
            for name, value in scores.items()
        },
        abs=1e-7,
        nan_ok=True,
    )


@pytest.mark.parametrize("fill", ["mean", "noise"])
def test_one_pass_equals_three_tests(trained, rgbx, tmp_path, capsys, fill):
    fill = ("--data.blank_with", fill)
    assert rgbx("test", *trained, *fill, "--missing", "true", "--output", tmp_path / "all") == 0
    text = capsys.readouterr().out
    assert "without RGB" in text and "without X" in text
    found = numbers(tmp_path / "all")
    assert rgbx("test", *trained, *fill, "--output", tmp_path / "full") == 0
    full = numbers(tmp_path / "full")
    assert flat(found["numbers"]).expected == flat(full["numbers"]) and full["missing"] == {}
    images = [(tmp_path / name / "images.csv").read_text() for name in ("all", "full")]
    assert images[0].count("\n") == images[1].count("\n") > 2
    for modality in ("rgb", "x"):
        blank = ("--data.blank", modality, "--output", tmp_path / modality)
        assert rgbx("test", *trained, *fill, *blank) == 0
        alone = numbers(tmp_path / modality)["numbers"]
        assert flat(found["missing"][modality]).expected == flat(alone)
    assert rgbx("report", tmp_path / "all", "-o", tmp_path / "report") == 0
    assert "without RGB" in (tmp_path / "report" / "index.html").read_text()


def test_predict_on_a_folder_of_one_modality(mfnet_root, folder_root, rgbx, tmp_path, recwarn):
    options = tiny("unirgb_ir_mfnet.yaml", mfnet_root, "--trainer.enable_progress_bar", "false")
    steps = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1")
    assert rgbx("fit", *options, *steps) == 0
    (checkpoint,) = tmp_path.glob("runs/*/version_0/checkpoints/last.ckpt")

    def predict(root, name, *extra):
        data = ("--data", "FolderRGBX", "--data.root", root, "--output", tmp_path / name)
        assert rgbx("predict", *options, "--ckpt_path", checkpoint, *data, *extra) == 0
        found = sorted((tmp_path / name / "masks").rglob("*.png"))
        return {path.stem: np.asarray(Image.open(path)) for path in found}

    whole = tmp_path / "whole"
    (split, *_) = sorted(p for p in folder_root.rglob("rgb") if p.is_dir())
    for part in ("rgb", "x"):
        shutil.copytree(split.parent / part, whole / part)
        shutil.copytree(split.parent / part, tmp_path / f"{part}_alone" / part)
    for absent, there in (("x", "rgb"), ("rgb", "x")):
        blanked = predict(whole, f"blank_{absent}", "--data.blank", absent)
        recwarn.clear()
        alone = predict(tmp_path / f"{there}_alone", f"only_{there}")
        said = " ".join(str(warning.message) for warning in recwarn.list)
        assert "mean stands in for" in said and f"{there}_alone" in said
        assert alone.keys() == blanked.keys() and len(alone) > 1
        assert all((alone[name] == blanked[name]).all() for name in alone)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (("--data.blank", "x"), "data.blank takes x away from every image already"),
        (("--model.fusion", "none", "--override", "true"), "looks at one modality"),
    ],
)
def test_what_cannot_be_left_out_is_refused(mfnet_root, rgbx, tmp_path, capsys, extra, words):
    options = tiny("tasseg_mfnet.yaml", mfnet_root, "--trainer.enable_progress_bar", "false")
    model = extra[:2] if "fusion" in extra[0] else ()
    steps = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", *model)
    assert rgbx("fit", *options, *steps) == 0
    (checkpoint,) = tmp_path.glob("runs/*/version_0/checkpoints/last.ckpt")
    arguments = (*options, "--ckpt_path", checkpoint, "--missing", "true")
    assert rgbx("test", *arguments, *extra, "--output", tmp_path / "out") == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out" / "test.json").exists()
