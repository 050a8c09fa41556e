"""A task outside the package goes through every command, and no command knows it."""

import csv
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from rgbx.cli import run
from tests.profile.here import profiled_here

pytestmark = pytest.mark.slow

TOY = [
    "--model",
    "tests.tasks.toy.Coverage",
    "--data",
    "MFNet",
    "--data.num_workers",
    "0",
    "--data.size",
    "[64,96]",
    "--data.batch_size",
    "4",
]
CPU = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, mfnet_root) -> tuple[Path, list[str]]:
    """A run of two epochs in a folder, and the options of its model and data."""
    folder = tmp_path_factory.mktemp("toy")
    options = [*TOY, "--data.root", str(mfnet_root), *CPU]
    logger = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", str(folder)]
    logger += ["--trainer.logger.name", "toy"]
    saving = ["--trainer.callbacks", "ModelCheckpoint", "--trainer.callbacks.filename", "best"]
    saving += ["--trainer.callbacks.monitor", "val/coverage_hit"]
    epochs = ["--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "1"]
    assert run(["fit", *options, *logger, *saving, *epochs]) == 0
    return folder / "toy" / "version_0", options


@pytest.fixture(scope="module")
def tested(trained) -> Path:
    """The folder of a test with predictions."""
    version, options = trained
    folder = version / "test_best"
    argv = ["test", *options, "--ckpt_path", str(version / "checkpoints" / "best.ckpt")]
    assert run([*argv, "--output", str(folder), "--save_predictions", "true"]) == 0
    return folder


def test_it_trains(trained):
    checkpoint = torch.load(trained[0] / "checkpoints" / "best.ckpt", weights_only=True)
    assert set(checkpoint["state_dict"]) == {
        f"network.{layer}.{kind}" for layer in (0, 4) for kind in ("weight", "bias")
    }


def test_it_is_tested_image_by_image(tested):
    numbers = json.loads((tested / "test.json").read_text())["numbers"]["test"]
    assert set(numbers) == {"all", "day", "night"}
    with (tested / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    hits = torch.tensor([float(row["coverage_hit"]) for row in rows])
    assert len(rows) == 4
    assert numbers["all"]["coverage_hit"] == pytest.approx(1 - float((1 - hits).median()), abs=1e-5)
    for row in rows:
        assert 0 <= float((tested / "coverage" / f"{row['name']}.txt").read_text()) <= 1
        assert (tested / row["prediction"]).is_file()


def test_it_is_drawn(tested):
    with Image.open(tested / "sheet.png") as sheet:
        assert sheet.width > 480 and sheet.height > 700  # two panels of 240 in four rows


def test_it_is_tabulated_above_its_own_printed_rows(tested, capsys):
    measured = json.loads((tested / "test.json").read_text())["numbers"]["test"]["all"]
    assert run(["table", str(tested / "test.json"), "--format", "csv"]) == 0
    header, *rows = list(csv.reader(capsys.readouterr().out.splitlines()))
    found = dict(zip(header, rows[0], strict=True))
    assert f"{100 * measured['coverage_hit']:.2f}" in found.values()
    assert ["Guessing", "published"] in [row[:2] for row in rows]


def test_it_predicts(trained, mfnet_root, tmp_path):
    version, options = trained
    checkpoint = str(version / "checkpoints" / "best.ckpt")
    assert run(["predict", *options, "--ckpt_path", checkpoint, "--output", str(tmp_path)]) == 0
    assert len(list((tmp_path / "coverage").glob("**/*.txt"))) >= 4
    assert (tmp_path / "sheet.png").is_file()


def test_it_is_reported(trained, tested, tmp_path, capsys):
    assert run(["report", str(trained[0]), "--output", str(tmp_path)]) == 0
    assert "4 images" in capsys.readouterr().out
    page = (tmp_path / "index.html").read_text()
    assert "coverage_hit" in page


def test_it_is_profiled(trained, capsys):
    _, options = trained
    model = [part for part in options if not part.startswith("--trainer")]
    root = model[model.index("--data.root") + 1]
    assert profiled_here(["profile", *options[:4], "--data.root", root]) == 0
    assert "0.0" in capsys.readouterr().out
