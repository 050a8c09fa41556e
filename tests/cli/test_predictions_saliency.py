"""What a test of a saliency model leaves on disk and prints: maps, overlays, tables, curves."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch.utils.data import DataLoader

from rgbx.callbacks.predictions import PredictionWriter
from rgbx.callbacks.test_results import write_test_results
from rgbx.data import VT5000
from rgbx.models import SAMSOD
from rgbx.optim.schedules import Constant
from rgbx.tasks.base import RGBXModule
from rgbx.tasks.dense_files import DenseFiles
from rgbx.visualization.drawing import heat
from tests.cli.conftest import write_checkpoint

SIZES = {"VT5000": [(40, 60), (64, 48)], "VT821": [(50, 50), (33, 71), (48, 64)]}


class Toy(RGBXModule):
    """Takes X at 1/8, so that its maps are smooth and known; scores are given, not measured."""

    def __init__(self) -> None:
        super().__init__(torch.optim.SGD, Constant())
        self.results = {split: {"all": {"S": 0.9, "MAE": 0.1}} for split in SIZES}

    def test_step(self, batch, batch_idx, dataloader_idx=0):
        sizes = [mask.shape for mask in batch["mask"]]
        return [_map(x, size) for x, size in zip(batch["x"], sizes, strict=True)]

    def predict_step(self, batch, batch_idx, dataloader_idx=0):
        return [_map(x, size) for x, size in zip(batch["x"], batch["size"], strict=True)]

    def prediction_files(self, folder):
        return DenseFiles(folder)

    def protocol(self):
        return {"S": "mean over the images"}


def _map(x: torch.Tensor, size) -> torch.Tensor:
    return torch.nn.functional.interpolate(x[None, :1], tuple(map(int, size)), mode="nearest")[0, 0]


@pytest.fixture
def root(tmp_path) -> Path:
    """Two test sets; the images of a set differ in size, names repeat between the sets."""
    rng = np.random.default_rng(0)
    for split, sizes in SIZES.items():
        for index, (height, width) in enumerate(sizes):
            y, x = np.mgrid[:height, :width]
            disc = np.hypot(y - height / 2, x - width / 2) < height / 3
            panels = {
                "RGB": rng.integers(0, 255, (height, width, 3), np.uint8),
                "T": np.where(disc, 200, 30).astype(np.uint8),
                "GT": np.where(disc, 255, 0).astype(np.uint8),
            }
            for part, panel in panels.items():
                path = tmp_path / "RGBT" / "Test" / split / part / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(panel).save(path)
    return tmp_path / "RGBT"


def _data(root: Path, **options) -> VT5000:
    return VT5000(str(root), size=(64, 64), num_workers=0, eval_batch_size=2, **options)


@pytest.fixture
def run(root, tmp_path):
    """Test or predict with a writer; returns the folder written into and the data."""

    def run(stage: str, **options) -> tuple[Path, VT5000]:
        data = _data(root, **options)
        trainer = Trainer(
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            callbacks=[PredictionWriter(tmp_path / stage)],
            enable_checkpointing=False,
        )
        getattr(trainer, stage)(Toy(), data)
        return tmp_path / stage, data

    return run


def _expected(data: VT5000, split: str, index: int) -> np.ndarray:
    """The map of one image, rounded to 8 bits, computed without the writer."""
    batch = list(DataLoader(data.dataset(split), collate_fn=lambda samples: samples))[index][0]
    values = _map(batch["x"], batch["mask"].shape).numpy()
    return np.floor(values * 255 + 0.5).astype(np.uint8)


def test_maps_of_several_test_sets_read_back(run):
    folder, data = run("test")
    maps = sorted(str(p.relative_to(folder / "maps")) for p in (folder / "maps").rglob("*.png"))
    assert maps == ["VT5000/0.png", "VT5000/1.png", "VT821/0.png", "VT821/1.png", "VT821/2.png"]
    assert not (folder / "masks").exists()
    for split, sizes in SIZES.items():
        for index, (height, width) in enumerate(sizes):
            image = Image.open(folder / "maps" / split / f"{index}.png")
            assert (image.mode, image.size) == ("L", (width, height))
            written = np.asarray(image)
            np.testing.assert_array_equal(written, _expected(data, split, index))
            assert {30, 200} <= set(np.unique(written).tolist())  # X is not stretched


def test_overlays_are_heat_over_the_panel(run, root):
    folder, _ = run("test")
    rgb = np.asarray(Image.open(root / "Test/VT821/RGB/1.png"))
    grey = np.asarray(Image.open(folder / "maps/VT821/1.png"))
    shown = np.asarray(Image.open(folder / "overlays/VT821/1.png")).astype(int)
    expected = heat(rgb, grey.astype(np.float32) / 255).astype(int)
    assert np.abs(shown - expected).max() <= 1
    assert len(list((folder / "overlays").rglob("*.png"))) == 5


def test_the_sheet_has_rows_of_every_test_set(run):
    folder, _ = run("test")
    sheet = np.asarray(Image.open(folder / "sheet.png"))
    rows = 2 + 3  # all of both sets; at most four of each
    assert sheet.shape[0] == rows * (180 + 16 + 6) + 6 + 26  # rows, gap, legend
    assert sheet.shape[1] == 4 * (240 + 6) + 6  # RGB, X, map, ground truth
    truth = sheet[6 + 16 : 6 + 16 + 180, -246:-6]  # of the first row; black and white as the map
    assert (truth == truth[..., :1]).all() and truth[90, 120, 0] == 255 and truth[90, 5, 0] == 0


def test_one_test_set_and_prediction_need_no_folder_of_the_set(run):
    folder, _ = run("test", test_sets=["VT821"])
    assert {p.name for p in (folder / "maps").iterdir()} == {"0.png", "1.png", "2.png"}
    folder, _ = run("predict", test_sets=["VT821"])
    assert {p.name for p in (folder / "maps").iterdir()} == {"0.png", "1.png", "2.png"}
    image = Image.open(folder / "maps/1.png")
    assert image.size == (71, 33)


def test_predictions_lie_on_photos_as_viewers_show_them(run, root):
    """All files of a set are stored turned, and say so; nothing else differs from the upright."""
    folder, _ = run("test", test_sets=["VT821"])
    upright = {p: Image.open(p).copy() for p in folder.rglob("*.png") if p.name != "sheet.png"}
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in (root / "Test/VT821").rglob("*.png"):
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif.tobytes())
    run("test", test_sets=["VT821"])
    assert len(upright) == 9  # maps, overlays and truth of three images
    for path, image in upright.items():
        np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(image))


class ToyWithCurves(Toy):
    """A model beside SAMSOD's printed rows that has threshold curves."""

    published = SAMSOD.published

    def curves(self):
        falling = torch.linspace(1, 0, 256, dtype=torch.float64)
        lines = {"precision": 1 - falling / 2, "recall": falling, "F": falling, "E": falling**2}
        return dict.fromkeys(self.results, lines)


@pytest.fixture
def report(root, tmp_path, capsys):
    """``report(model, stored) -> (test.json, what was printed)`` for a checkpoint's content."""

    def report(model: Toy, trained_on: dict) -> tuple[dict, str]:
        data = _data(root)
        data.setup("test")
        write_checkpoint(tmp_path / "best.ckpt", **trained_on)
        write_test_results(model, data, tmp_path / "best.ckpt", tmp_path / "out", seed=3)
        return json.loads((tmp_path / "out" / "test.json").read_text()), capsys.readouterr().out

    return report


def test_the_report_has_all_sets_side_by_side_then_each(report):
    written, printed = report(ToyWithCurves(), {})
    assert written["numbers"] == {s: {"all": {"S": 0.9, "MAE": 0.1}} for s in ("VT5000", "VT821")}
    assert written["paper"] == "samsod" and written["classes"] == {"VT5000": {}, "VT821": {}}
    assert written["data"]["split_sizes"] == {"VT5000": 2, "VT821": 3}
    lines = [line.split() for line in printed.splitlines()]
    side_by_side = lines.index(["VT5000", "VT821"])
    assert lines[side_by_side + 1][:5] == ["Method", "S", "maxF", "maxE", "MAE↓"]
    row = [".900", "-", "-", ".100"]
    assert ["this", "run", *row, *row] in lines
    assert lines.index(["VT5000"]) > side_by_side
    assert ["SAMSOD-large", "published", ".924", ".021"] in lines
    assert printed.count("S: mean over the images.") == 1
    assert printed.count("NOT COMPARABLE") == 4  # two sets, in the table of both and in its own


def test_curves_are_written_for_every_set(report, tmp_path):
    _, printed = report(ToyWithCurves(), {})
    with (tmp_path / "out" / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["split"] for row in rows] == ["VT5000"] * 256 + ["VT821"] * 256
    assert rows[0] == {
        **{"split": "VT5000", "threshold": "0.000000", "precision": "0.500000"},
        **{"recall": "1.000000", "F": "1.000000", "E": "1.000000"},
    }
    assert rows[-1]["threshold"] == "1.000000" and rows[-1]["recall"] == "0.000000"
    assert float(rows[51]["threshold"]) == pytest.approx(0.2)
    assert float(rows[51]["E"]) == pytest.approx(0.64, abs=1e-6)
    assert Image.open(tmp_path / "out" / "curves.png").size == (3 * 660, 510)
    assert "curves.csv" in printed and "curves.png" in printed


def test_curves_of_the_scores_that_were_asked_for(report, tmp_path):
    model = ToyWithCurves()
    model.curves = lambda: {"VT5000": {"E": torch.ones(256)}}
    report(model, {})
    with (tmp_path / "out" / "curves.csv").open() as file:
        assert next(csv.reader(file)) == ["split", "threshold", "E"]
    assert Image.open(tmp_path / "out" / "curves.png").size == (660, 510)


def test_curves_of_polyps_are_drawn_and_a_shadow_has_none(report, tmp_path):
    model = ToyWithCurves()
    model.curves = lambda: {"VT5000": dict.fromkeys(("Dice", "IoU"), torch.ones(256))}
    report(model, {})
    with (tmp_path / "out" / "curves.csv").open() as file:
        assert next(csv.reader(file)) == ["split", "threshold", "Dice", "IoU"]
    assert Image.open(tmp_path / "out" / "curves.png").size == (2 * 660, 510)
    model.curves = lambda: {"VT5000": {}, "VT821": {}}
    _, printed = report(model, {})
    assert "curves.csv" not in printed


def test_how_train_and_test_were_divided_is_printed_and_kept(report, monkeypatch):
    written, printed = report(Toy(), {})
    assert "split" not in written["protocol"] and "Split:" not in printed
    monkeypatch.setattr(VT5000, "split_note", "by seed 42", raising=False)
    written, printed = report(Toy(), {})
    assert written["protocol"]["split"] == "by seed 42"
    assert printed.count("Split: by seed 42.") == 1


def test_models_without_curves_and_checkpoints_that_say_nothing_of_their_data(report, tmp_path):
    written, printed = report(Toy(), {})
    assert not list((tmp_path / "out").glob("curves*"))
    assert (written["checkpoint"]["epoch"], written["checkpoint"]["step"]) == (2, 30)
    assert written["data"]["supervision"] == "full"
    assert "chosen on" not in printed.lower()


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ("a seeded 10 % of train (seed 0)", "Checkpoint chosen on: a seeded 10 % of train"),
        ("THE TEST SET", "CHECKPOINT CHOSEN ON: THE TEST SET."),
    ],
)
def test_what_chose_the_checkpoint_is_said_and_kept(report, choice, sentence):
    written, printed = report(Toy(), {"choice": choice})
    assert written["protocol"]["choice"] == choice
    warns = choice.isupper()
    assert printed.count(sentence) == (3 if warns else 1)  # a warning below every table


def test_a_checkpoint_trained_on_scribbles_is_compared_with_its_like(report):
    written, printed = report(ToyWithCurves(), {"scribbles": True})
    assert written["data"]["supervision"] == "scribble"
    assert "RGBTScribble" in printed and "TCINet" not in printed
