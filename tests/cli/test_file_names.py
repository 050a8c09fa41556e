"""Every image has files of its own, whatever it and its neighbours are called."""

import csv
import json
import os

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image

from rgbx.callbacks.per_image import ImageRecorder
from rgbx.callbacks.predictions import NAMES, PredictionWriter
from rgbx.data import FolderRGBX, MFNet, PromptFolder
from rgbx.data.file_names import file_names
from rgbx.data.splits.records import Record
from rgbx.models import StableSAM, TASeg
from rgbx.report.find import Tested
from rgbx.report.images import read_images
from rgbx.tasks.dense_files import DenseFiles

ODD = ["a\nb", "n" * 250, os.fsdecode(b"\xff\xe9"), "-1#%20 ü"]


def trainer(*callbacks):
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=list(callbacks),
    )


def files(folder, part):
    return sorted(p.relative_to(folder / part).as_posix() for p in (folder / part).rglob("*.png"))


def named(tmp_path, names, endings=("",)):
    records = [Record(name, tmp_path / f"{i}.png") for i, name in enumerate(names)]
    return list(file_names(records, endings).values())


def test_names_that_one_disk_takes_for_one(tmp_path):
    assert named(tmp_path, ["A", "a", "b/A", "B/a", "c"]) == ["A", "a~2", "b/A", "B/a~2", "c"]
    assert named(tmp_path, ["a", "a"]) == ["a", "a~2"]


def test_names_that_differ_in_an_ending_of_their_files(tmp_path):
    endings = ("_box", "_noisy_box")
    assert named(tmp_path, ["a", "a_noisy", "a_0", "a_box"], endings) == [
        "a",
        "a_noisy~2",
        "a_0",
        "a_box",
    ]


def test_long_names_are_cut_and_stay_different(tmp_path):
    first, second = named(tmp_path, ["ü" * 120 + "1", "ü" * 120 + "2"])
    assert first != second
    assert all(len(os.fsencode(name)) < 200 for name in (first, second))


class Dense(LightningModule):
    """Everything is class 0."""

    def prediction_files(self, folder):
        return DenseFiles(folder)

    def scored_files(self, index):
        return {}

    def predict_step(self, batch, batch_idx):
        return [torch.zeros(size, dtype=torch.int64) for size in batch["size"]]


@pytest.mark.parametrize("layout", ["FolderRGBX", "MFNet"])
def test_splits_that_number_alike_have_files_of_their_own(tmp_path, pairs_of, layout):
    rng = np.random.default_rng(0)
    if layout == "FolderRGBX":
        for split in ("train", "val", "test"):
            pairs_of(tmp_path / split / "rgb", ["0", "1"], (32, 48, 3), rng)
        data = FolderRGBX(str(tmp_path), ["a"], size=(32, 48), num_workers=0)
    else:
        for split in ("train", "val", "test"):
            pairs_of(tmp_path / "images" / split, ["0", "1"], (32, 48, 4), rng)
        data = MFNet(str(tmp_path), size=(32, 48), num_workers=0)
    trainer(PredictionWriter(tmp_path / "o")).predict(Dense(), data, return_predictions=False)
    expected = sorted(f"{s}/{n}.png" for s in ("train", "val", "test") for n in "01")
    assert files(tmp_path / "o", "masks") == files(tmp_path / "o", "overlays") == expected
    assert not (tmp_path / "o" / NAMES).exists()


@pytest.fixture
def pairs_of(put):
    def write(folder, names, shape, rng):
        for name in names:
            put(folder / f"{name}.png", rng.integers(1, 256, shape, np.uint8))

    return write


def test_odd_and_like_names_of_prompted_masks(tmp_path, pairs_of):
    names = [*ODD, "p", "P", "p_0"]
    pairs_of(tmp_path / "d", names, (32, 48, 3), np.random.default_rng(0))
    asked = {name: [{"box": [1, 1, 30, 30]}] * 2 for name in names}
    (tmp_path / "d" / "prompts.json").write_text(json.dumps(asked))
    data = PromptFolder(str(tmp_path / "d"), size=(64, 64), num_workers=0)
    model = StableSAM(encoder="tiny")
    trainer(PredictionWriter(tmp_path / "o")).predict(model, data, return_predictions=False)
    assert len(files(tmp_path / "o", "masks")) == 2 * len(names)
    assert len(files(tmp_path / "o", "overlays")) == len(names)
    listed = json.loads((tmp_path / "o" / "prompts.json").read_bytes())
    assert set(listed) == set(names)
    masks = [prompt["mask"] for prompts in listed.values() for prompt in prompts]
    assert len(set(masks)) == 2 * len(names)
    assert all((tmp_path / "o" / mask).is_file() for mask in masks)
    with (tmp_path / "o" / NAMES).open(newline="", errors="surrogateescape") as file:
        renamed = {row["name"]: row["rgb"] for row in csv.DictReader(file)}
    assert set(renamed) == {"n" * 250, "p"} or set(renamed) == {"n" * 250, "P"}
    assert all(os.path.isfile(path) for path in renamed.values())


def test_odd_names_in_a_test_and_in_what_the_report_reads(tmp_path, put):
    rng = np.random.default_rng(0)
    for i, name in enumerate(ODD):
        put(tmp_path / "test/rgb" / f"{name}.png", rng.integers(0, 256, (32, 48, 3), np.uint8))
        put(tmp_path / "test/x" / f"{name}.png", rng.integers(0, 256, (32, 48), np.uint8))
        put(tmp_path / "test/mask" / f"{name}.png", np.full((32, 48), i % 2, np.uint8))
    data = FolderRGBX(str(tmp_path), class_names=["a", "b"], size=(32, 48), num_workers=0)
    model = TASeg(
        encoder="tiny",
        text_encoder="tiny",
        num_classes=2,
        class_names=("a", "b"),
        text_weights=None,
    )
    out = tmp_path / "test_out"
    trainer(PredictionWriter(out), ImageRecorder(out, True)).test(model, data, verbose=False)
    rows, notes = read_images(Tested("t", out, None))
    assert sorted(row.name for row in rows) == sorted(ODD) and notes == []
    assert len({row.prediction for row in rows}) == len(ODD)
    for row in rows:
        with Image.open(row.prediction) as mask, Image.open(row.truth) as truth:
            assert mask.size == truth.size == (48, 32)
