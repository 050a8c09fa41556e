"""What a new paper and a new data set need: the files here, and nothing in the package.

A paper is 5 files (network, module, published numbers, configuration, test), a data set 4 (its
module, the import that gives it a short name, configuration, test; outside the package it is named
by its path, and the import line falls away).
"""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from rgbx.cli import run

HERE = Path(__file__).parent
CONFIG = str(HERE / "brightness_spots.yaml")
PAPER = {"paper/network.py", "paper/module.py", "paper/published.yaml"}
DATA = {"dataset.py"}
SHARED = {"brightness_spots.yaml", "test_toys.py"}  # configuration and test of both

pytestmark = pytest.mark.slow


def test_these_files_are_all():
    found = {p.relative_to(HERE).as_posix() for p in HERE.rglob("*") if p.is_file()}
    found = {name for name in found if "__pycache__" not in name}
    assert found == PAPER | DATA | SHARED
    assert len(PAPER | SHARED) == 5 and len(DATA | SHARED) + 1 == 4  # + 1: the import line


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Eight pairs to train on, four to test on."""
    from PIL import Image

    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("spots")
    y, x = np.mgrid[:32, :48]
    for split, count in (("train", 8), ("test", 4)):
        for name in range(count):
            centre = rng.integers(8, 24), rng.integers(8, 40)
            disc = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 49
            bright = np.where(disc, 220, 60) + rng.integers(-20, 20, disc.shape)
            images = {"visible": np.stack([bright] * 3, -1), "infrared": bright, "labels": disc}
            for folder, values in images.items():
                path = root / split / folder / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(values.astype(np.uint8)).save(path)
    return root


def test_every_command_takes_them(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = ["--config", CONFIG, "--data.root", str(root)]
    assert run(["check-data", *given]) == 0
    assert run(["fit", *given]) == 0
    checkpoint = str(next(Path("runs").rglob("best.ckpt")))
    test = ["test", *given, "--ckpt_path", checkpoint, "--output", "tested"]
    assert run([*test, "--save_predictions", "true"]) == 0
    score = json.loads(Path("tested/test.json").read_text())["numbers"]["test"]["all"]["miou"]
    assert score > 0.5, "discs are learnt from their brightness"
    assert len(list(Path("tested/masks").glob("*.png"))) == 4
    capsys.readouterr()
    assert run(["table", "tested/test.json", "--format", "csv"]) == 0
    rows = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert ["Brightness", "published"] in [row[:2] for row in rows]
    assert ["Darkness", "published"] in [row[:2] for row in rows]
    assert run(["profile", *given]) == 0
    assert run(["report", "runs", "tested", "--output", "page"]) == 0
    assert Path("page/index.html").is_file()
