"""SAMSOD from the command line: train, stop, resume, test, predict; two processes; mistakes."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rgbx.models import SAMSOD
from tests.cli.conftest import tiny
from tests.cli.test_ddp import fit
from tests.cli.test_training_life import same, weights

pytestmark = pytest.mark.slow

CONFIG = "samsod_vt5000.yaml"
COMMON = ["--trainer.max_epochs", "3", "--trainer.precision", "32-true"]
COMMON += ["--trainer.log_every_n_steps", "1"]


def run_folder(base: Path, version: int = 0) -> Path:
    return base / f"runs/samsod_vt5000/version_{version}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, vt5000_root):
    """Three epochs, uninterrupted."""
    from rgbx.cli import run

    folder = tmp_path_factory.mktemp("trained")
    previous = Path.cwd()
    os.chdir(folder)
    os.environ.pop("RGBX_RUN_VERSION", None)
    try:
        assert run(["fit", *tiny(CONFIG, vt5000_root, *COMMON)]) == 0
    finally:
        os.chdir(previous)
        os.environ.pop("RGBX_RUN_VERSION", None)
    return folder


def test_a_run_leaves_the_curves_of_its_surgery(trained):
    run = run_folder(trained)
    assert {"surgery.csv", "surgery.png", "metrics.csv"} <= {p.name for p in run.iterdir()}
    rows = list(csv.DictReader((run / "surgery.csv").open()))
    last = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert len(rows) == last["global_step"] == 9  # 7 of 8 images train
    assert list(rows[0])[1:] == [
        "rgb/cos_rgb_fusion",
        "rgb/conflict",
        "x/cos_x_fusion",
        "x/conflict",
        "decoder/cos_fusion_rgb",
        "decoder/cos_fusion_x",
        "decoder/cos_rgb_x",
        "decoder/conflict",
        "ratio",
    ]
    assert all(float(row["ratio"]) > 0 for row in rows)
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"val/maxF", "val/MAE", "train/fusion", "train/rgb", "train/x"} <= set(header)
    assert {"surgery/rgb/conflict", "surgery/ratio"} <= set(header)


@pytest.mark.parametrize("stop", ["StopAfterEpoch", "SaveMidEpoch"])
def test_resuming_repeats_the_uninterrupted_run_bit_for_bit(
    trained, rgbx, vt5000_root, tmp_path, stop
):
    argv = tiny(CONFIG, vt5000_root, *COMMON)
    assert rgbx("fit", *argv, f"--trainer.callbacks+=tests.cli.stopping.{stop}") == 0
    last = run_folder(tmp_path) / "checkpoints/last.ckpt"
    start = tmp_path / "middle.ckpt" if stop == "SaveMidEpoch" else last
    steps = torch.load(start, weights_only=True)["global_step"]
    assert steps == (5 if stop == "SaveMidEpoch" else 3)
    assert rgbx("fit", *argv, "--ckpt_path", start) == 0
    resumed = sorted(tmp_path.glob("runs/samsod_vt5000/version_*/checkpoints/last.ckpt"))[-1]
    assert same(weights(resumed), weights(run_folder(trained) / "checkpoints/last.ckpt"))
    # the history goes on as well, so that the curves show the whole run
    whole = (run_folder(trained) / "surgery.csv").read_text()
    assert (resumed.parents[1] / "surgery.csv").read_text() == whole


def test_test_scores_three_sets_and_prints_the_papers_table(trained, rgbx, vt5000_root, capsys):
    best = run_folder(trained) / "checkpoints/best.ckpt"
    argv = tiny(CONFIG, vt5000_root, "--ckpt_path", str(best), "--output", "out")
    assert rgbx("test", *argv, "--save_predictions", "true") == 0
    printed = capsys.readouterr().out
    for word in ("SAMSOD", "VT5000", "VT1000", "VT821", "TCINet", "published", ".934", "seeded"):
        assert word in printed
    result = json.loads(Path("out/test.json").read_text())
    assert {k: set(v) for k, v in result["numbers"].items()} == {
        "VT5000": {"all"},
        "VT1000": {"all"},
        "VT821": {"all"},
        "overall": {"all"},
    }
    names = {"S", "maxF", "meanF", "adpF", "wF", "maxE", "meanE", "adpE", "MAE", "IoU", "Dice"}
    for split in result["numbers"].values():
        assert set(split["all"]) == names
        assert all(0 <= value <= 1 for value in split["all"].values())
    for split, count in (("VT5000", 4), ("VT1000", 2), ("VT821", 2)):
        assert len(list(Path("out/maps", split).glob("*.png"))) == count
    assert Path("out/curves.png").is_file() and Path("out/sheet.png").is_file()
    assert "seeded" in result["protocol"]["choice"]
    rows = list(csv.DictReader(Path("out/images.csv").read_text().splitlines()))
    assert [row["split"] for row in rows] == ["VT5000"] * 4 + ["VT1000"] * 2 + ["VT821"] * 2
    assert all(Path("out", row[key]).is_file() for row in rows for key in ("prediction", "truth"))
    assert rgbx("report", "out", "-o", "page") == 0
    assert "(1 run, 8 images, " in capsys.readouterr().out


def test_the_python_forward_gives_the_maps_of_the_command_line(trained, rgbx, vt5000_root):
    best = run_folder(trained) / "checkpoints/best.ckpt"
    argv = tiny(CONFIG, vt5000_root, *COMMON, "--ckpt_path", str(best), "--output", "out")
    assert rgbx("predict", *argv) == 0
    from rgbx.data import VT5000

    data = VT5000(str(vt5000_root), size=(64, 96), num_workers=0)
    data.setup("predict")
    batch = next(iter(data.predict_dataloader()))
    model = SAMSOD.load_from_checkpoint(best, map_location="cpu").eval()
    with torch.no_grad():
        out = model(batch["rgb"], batch["x"])
    wanted = sum(out.values()).sigmoid()[0, 0]
    assert tuple(batch["size"][0]) == tuple(wanted.shape), "no resizing in between"
    (path,) = Path("out/maps").rglob(f"{batch['name'][0]}.png")
    stored = np.asarray(Image.open(path)).astype(float) / 255
    assert np.abs(stored - wanted.numpy()).max() <= 0.5 / 255 + 1e-6


def test_images_of_ones_own_need_no_class_names(trained, rgbx, vt5000_root, folder_root, recwarn):
    best = run_folder(trained) / "checkpoints/best.ckpt"
    argv = tiny(CONFIG, vt5000_root, "--ckpt_path", str(best), "--output", "out")
    argv += ["--data", "FolderRGBX", "--data.root", str(folder_root), "--data.soft_masks", "false"]
    assert rgbx("predict", *argv) == 0
    assert len(list(Path("out/maps").rglob("*.png"))) == 16
    assert Path("out/sheet.png").is_file()
    # a checkpoint brings its weights: nothing starts from random ones
    assert not [w for w in recwarn if "RANDOM" in str(w.message)]


def test_choosing_on_test_is_said_in_the_table(rgbx, vt5000_root, tmp_path, capsys):
    argv = tiny(CONFIG, vt5000_root, "--data.choose_on_test", "true")
    assert rgbx("fit", *argv, "--trainer.max_epochs", "1") == 0
    best = run_folder(tmp_path) / "checkpoints/best.ckpt"
    capsys.readouterr()
    # said by the checkpoint: the option is not given again
    assert rgbx("test", *tiny(CONFIG, vt5000_root), "--ckpt_path", best, "--output", "out") == 0
    assert "TEST SET" in capsys.readouterr().out
    assert "TEST SET" in json.loads(Path("out/test.json").read_text())["protocol"]["choice"]


def numbers(folder: str, split: str) -> dict[str, float]:
    return json.loads(Path(folder, "test.json").read_text())["numbers"][split]["all"]


def protocol(folder: str) -> dict[str, str]:
    return json.loads(Path(folder, "test.json").read_text())["protocol"]


def test_the_authors_choice_is_validated_as_it_is_tested(rgbx, vt5000_root, tmp_path, capsys):
    argv = tiny("paper/samsod_vt5000.yaml", vt5000_root)
    assert rgbx("fit", *argv, "--trainer.max_epochs", "3") == 0
    folder = tmp_path / "runs/paper/samsod_vt5000/version_0"
    logged = list(csv.DictReader((folder / "metrics.csv").open()))
    found = [float(row["val/MAE"]) for row in logged if row.get("val/MAE")]
    capsys.readouterr()
    for name in ("best", "last"):
        where = ("--ckpt_path", folder / f"checkpoints/{name}.ckpt", "--output", name)
        assert rgbx("test", *argv, *where) == 0
    assert len(found) == 3
    assert numbers("best", "VT821")["MAE"] == pytest.approx(min(found), abs=1e-6)
    assert numbers("last", "VT821")["MAE"] == pytest.approx(found[-1], abs=1e-6)
    choice = protocol("best")["choice"]
    assert "TEST SET VT821" in choice and "smallest val/MAE" in choice
    assert protocol("last")["choice"] == "nothing: the last epoch"
    assert "CHECKPOINT CHOSEN ON: THE TEST SET VT821" in capsys.readouterr().out
    kept = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)
    assert kept["rgbx"]["data"]["inputs"]["resize"] == "pil"


def test_without_validation_the_last_epoch_is_the_checkpoint(rgbx, vt5000_root, tmp_path, capsys):
    # both callbacks of this file have the mode "min"
    argv = tiny("paper/samsod_vt5000.yaml", vt5000_root, "--data.choose_on", "null")
    argv += ["--data.val_share", "0"]
    assert rgbx("fit", *argv, "--trainer.max_epochs", "2", "--data.batch_size", "3") == 0
    folder = tmp_path / "runs/paper/samsod_vt5000/version_0/checkpoints"
    best, last = (torch.load(folder / f"{n}.ckpt", weights_only=True) for n in ("best", "last"))
    assert best["epoch"] == last["epoch"] == 1
    assert best["global_step"] == 6  # 8 pairs in batches of 3, 3 and 2
    assert same(weights(folder / "best.ckpt"), weights(folder / "last.ckpt"))
    capsys.readouterr()
    where = ("--ckpt_path", folder / "best.ckpt", "--output", "out")
    assert rgbx("test", *argv, *where) == 0
    assert protocol("out")["choice"] == "nothing: the last epoch"
    assert "the last epoch" in " ".join(capsys.readouterr().out.split())


def test_stopping_by_validation_needs_one(rgbx, vt5000_root, capsys):
    argv = tiny(CONFIG, vt5000_root, "--data.val_share", "0", "--trainer.callbacks+=EarlyStopping")
    argv += ["--trainer.callbacks.monitor", "val/MAE"]
    assert rgbx("fit", *argv) == 1
    error = capsys.readouterr().err
    assert all(word in error for word in ("EarlyStopping", "val/MAE", "data.val_share"))
    assert "Traceback" not in error


def test_overall_scores_all_images_as_one_set(trained, rgbx, vt5000_root, capsys):
    best = run_folder(trained) / "checkpoints/best.ckpt"
    argv = tiny(CONFIG, vt5000_root, "--ckpt_path", str(best), "--output", "out")
    assert rgbx("test", *argv) == 0
    printed = capsys.readouterr().out
    assert "overall" in printed and ".935" in printed  # Table I of the paper, SAMSOD-large
    counts = {"VT5000": 4, "VT1000": 2, "VT821": 2}
    overall = numbers("out", "overall")
    for name in ("S", "MAE", "wF", "adpF", "meanF", "meanE", "IoU"):  # means over the images
        weighted = sum(n * numbers("out", split)[name] for split, n in counts.items()) / 8
        assert overall[name] == pytest.approx(weighted, abs=1e-9)
    curves = list(csv.DictReader(Path("out/curves.csv").read_text().splitlines()))
    for name, curve in (("maxF", "F"), ("maxE", "E")):
        mean = [0.0] * 256
        for row in curves:
            if row["split"] != "overall":
                level = round(255 * float(row["threshold"]))
                mean[level] += counts[row["split"]] / 8 * float(row[curve])
        assert overall[name] == pytest.approx(max(mean), abs=2e-6)
    assert {row["split"] for row in curves} == {*counts, "overall"}
    assert "VT5000, VT1000, VT821" in protocol("out")["overall"]
    capsys.readouterr()
    assert rgbx("table", "out", "--splits", "overall", "--metrics", "maxF") == 0
    table = " ".join(capsys.readouterr().out.split())
    assert "on 8 images, the published rows on 4321" in table


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_trains(precision, rgbx, vt5000_root, tmp_path):
    argv = tiny(CONFIG, vt5000_root, "--trainer.precision", precision)
    assert rgbx("fit", *argv, "--trainer.max_epochs", "1", "--model.clip", "1.0") == 0
    state = weights(run_folder(tmp_path) / "checkpoints/last.ckpt")
    assert all(v.dtype == torch.float32 and torch.isfinite(v).all() for v in state.values())


# As in test_ddp.py: Adam in float64, where rounding is far below its eps, float32 with SGD.
ADAM = ["--trainer.precision", "64-true"]
SGD = ["--trainer.precision", "32-true", "--model.optimizer", "torch.optim.SGD"]
SGD += ["--model.optimizer.init_args.lr", "0.05"]


@pytest.fixture(scope="module")
def many_root(tmp_path_factory):
    """32 training scenes: 4 global batches of 8."""
    from rgbx.data.synthetic.layouts import write_vt5000

    root = tmp_path_factory.mktemp("data") / "RGBT"
    write_vt5000(root, counts={"train": 32, "test": 2}, size=(64, 96), seed=1)
    return root


@pytest.mark.parametrize(
    ("accumulate", "clip", "optimizer"),
    [(1, "null", ADAM), (2, "0.5", SGD)],
    ids=["adam", "sgd-accumulated-clipped"],
)
def test_two_processes_equal_one_on_the_same_global_batch(
    many_root, tmp_path, accumulate, clip, optimizer
):
    common = ["--model.accumulate", str(accumulate), "--model.clip", clip, *optimizer]
    common += ["--trainer.max_epochs", str(accumulate), "--data.choose_on_test", "true"]
    one = fit(tmp_path / "one", many_root, *common, "--data.batch_size", "8", config=CONFIG)
    common += ["--data.batch_size", "4"]
    two = fit(tmp_path / "two", many_root, *common, config=CONFIG, processes=2)
    assert one["global_step"] == two["global_step"] == 4
    worst = max((one["state_dict"][k] - v).abs().max() for k, v in two["state_dict"].items())
    print(f"largest difference {worst:.2e}")
    assert worst < 1e-6
    start = SAMSOD(encoder="tiny").state_dict()
    moved = max((start[k] - v).abs().max() for k, v in one["state_dict"].items())
    assert moved > 1e-3


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (["--trainer.accumulate_grad_batches", "4"], "set model.accumulate to 4"),
        (["--trainer.gradient_clip_val", "1.0"], "set model.clip to 1.0"),
        (["--model.surgery", "PCgrad"], "There is no surgery 'PCgrad'; known are PCGrad, Sum"),
        (["--model.surgery", "torchjd.aggregation.SDMGradWeighting"], "needs the gradients"),
        (["--model.encoder", "hiera_xl"], "hiera_xl"),
        (["--data.size", "[64, 80]"], "multiples of 32; the next valid size is [64, 96]"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_errors_get_one_sentence(rgbx, vt5000_root, capsys, extra, expected):
    assert rgbx("fit", *tiny(CONFIG, vt5000_root, *extra), "--trainer.fast_dev_run", "true") == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1 and expected in errors[0], errors


@pytest.mark.parametrize(
    "surgery", ["torchjd.aggregation.UPGradWeighting", "Mean", '{"class_path": "PCGrad"}', "null"]
)
def test_other_surgeries_by_class_path(rgbx, vt5000_root, surgery):
    pytest.importorskip("torchjd")
    argv = tiny(CONFIG, vt5000_root, "--model.surgery", surgery)
    assert rgbx("fit", *argv, "--trainer.fast_dev_run", "true") == 0
