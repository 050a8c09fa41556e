"""Train, stop, resume, test, predict: on files on disk, through the command line."""

import json
import os
import shlex
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rgbx.cli import main
from rgbx.models import TASeg
from tests.cli.conftest import tiny
from tests.processes import start

pytestmark = pytest.mark.slow

COMMON = ["--trainer.max_epochs", "3", "--trainer.precision", "32-true", "--data.jitter", "0.4"]


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def run_folder(base: Path, version: int = 0) -> Path:
    return base / f"runs/tasseg_mfnet/version_{version}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, mfnet_root):
    """Three epochs, uninterrupted."""
    from rgbx.cli import run

    folder = tmp_path_factory.mktemp("trained")
    previous = Path.cwd()
    os.chdir(folder)
    os.environ.pop("RGBX_RUN_VERSION", None)
    try:
        assert run(["fit", *tiny("tasseg_mfnet.yaml", mfnet_root, *COMMON)]) == 0
    finally:
        os.chdir(previous)
        os.environ.pop("RGBX_RUN_VERSION", None)
    return folder


def test_a_run_leaves_logs_config_and_two_checkpoints(trained):
    run = run_folder(trained)
    names = {p.name for p in run.iterdir()}
    assert {"metrics.csv", "config.yaml", "checkpoints"} <= names
    assert any(n.startswith("events.out") for n in names)
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert not (trained / "runs/tasseg_mfnet/version_1").exists()
    last = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert last["epoch"] == 2
    assert last["global_step"] == 3 * 4
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"val/miou", "train/loss", "train/ce", "train/dice"} <= set(header)


def test_best_is_the_best_by_miou_and_last_the_last(trained):
    import csv

    run = run_folder(trained)
    with (run / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/miou"]]
    scores = [float(row["val/miou"]) for row in rows]
    best = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    assert best["epoch"] == int(np.argmax(scores))


def test_a_checkpoint_holds_only_what_was_trained(trained):
    checkpoint = torch.load(run_folder(trained) / "checkpoints/last.ckpt", weights_only=True)
    model = TASeg(encoder="tiny")
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    assert set(checkpoint["state_dict"]) == trainable | {"text_embeddings"}
    assert checkpoint["rgbx"]["model"] == "TASeg"
    assert len(checkpoint["rgbx"]["frozen_sha256"]) == 64


def test_resuming_repeats_the_uninterrupted_run_bit_for_bit(trained, rgbx, mfnet_root, tmp_path):
    argv = tiny("tasseg_mfnet.yaml", mfnet_root, *COMMON)
    stop = ["--trainer.limit_train_batches", "4"]
    assert rgbx("fit", *argv, *stop, "--trainer.callbacks+=tests.cli.stopping.StopAfterEpoch") == 0
    last = run_folder(tmp_path) / "checkpoints/last.ckpt"
    assert torch.load(last, weights_only=True)["epoch"] == 0
    assert rgbx("fit", *argv, "--ckpt_path", last) == 0
    resumed = sorted(tmp_path.glob("runs/tasseg_mfnet/version_*/checkpoints/last.ckpt"))[-1]
    assert same(weights(resumed), weights(run_folder(trained) / "checkpoints/last.ckpt"))


def test_resuming_in_the_middle_of_an_epoch_repeats_it_too(trained, rgbx, mfnet_root, tmp_path):
    argv = tiny("tasseg_mfnet.yaml", mfnet_root, *COMMON)
    assert rgbx("fit", *argv, "--trainer.callbacks+=tests.cli.stopping.SaveMidEpoch") == 0
    middle = tmp_path / "middle.ckpt"
    assert torch.load(middle, weights_only=True)["global_step"] == 6  # of 4 steps an epoch
    assert rgbx("fit", *argv, "--ckpt_path", middle) == 0
    resumed = sorted(tmp_path.glob("runs/tasseg_mfnet/version_*/checkpoints/last.ckpt"))[-1]
    assert same(weights(resumed), weights(run_folder(trained) / "checkpoints/last.ckpt"))


def test_kill_9_and_resume(trained, rgbx, mfnet_root, tmp_path):
    argv = tiny("tasseg_mfnet.yaml", mfnet_root, *COMMON)
    slow = ["--trainer.callbacks+=tests.cli.stopping.HangInSecondEpoch"]
    process = start(main, ["fit", *argv, *slow], cwd=tmp_path, log=tmp_path / "said")
    flag = tmp_path / "hanging"
    deadline = time.monotonic() + 600
    while not flag.exists() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert flag.exists(), "training never reached the second epoch"
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    last = run_folder(tmp_path) / "checkpoints/last.ckpt"
    assert rgbx("fit", *argv, "--ckpt_path", last) == 0
    resumed = sorted(tmp_path.glob("runs/tasseg_mfnet/version_*/checkpoints/last.ckpt"))[-1]
    assert same(weights(resumed), weights(run_folder(trained) / "checkpoints/last.ckpt"))


@pytest.fixture
def sigint():
    """Lightning ignores SIGINT once it was heeded."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_says_how_to_go_on_and_that_works(
    trained, rgbx, sigint, mfnet_root, tmp_path, capsys
):
    argv = tiny("tasseg_mfnet.yaml", mfnet_root, *COMMON)
    stop = "--trainer.callbacks+=tests.cli.stopping.InterruptInSecondEpoch"
    assert rgbx("fit", *argv, stop) == 130
    *_, said, command = capsys.readouterr().out.rstrip().splitlines()
    assert said == "Stopped in epoch 1. This goes on from the last checkpoint:"
    program, *going_on = shlex.split(command)
    last = run_folder(Path()) / "checkpoints/last.ckpt"
    assert (program, going_on) == ("rgbx", ["fit", *argv, stop, "--ckpt_path", str(last)])
    going_on.remove(stop)
    assert rgbx(*going_on) == 0
    resumed = run_folder(tmp_path, 1) / "checkpoints/last.ckpt"
    assert same(weights(resumed), weights(run_folder(trained) / "checkpoints/last.ckpt"))
    assert rgbx(*going_on[:-2], stop, f"--ckpt_path={last}") == 130  # it began in epoch 1 again
    command = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert command.count("--ckpt_path") == 1


def test_ctrl_c_before_the_first_checkpoint(rgbx, sigint, mfnet_root, capsys):
    stop = "--trainer.callbacks+=tests.cli.stopping.InterruptAtOnce"
    assert rgbx("fit", *tiny("tasseg_mfnet.yaml", mfnet_root, *COMMON, stop)) == 130
    said = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert said == "Stopped in epoch 0, before the first checkpoint."


def test_a_changed_value_wins_over_the_checkpoint(trained, rgbx, mfnet_root, tmp_path):
    last = run_folder(trained) / "checkpoints/last.ckpt"
    changed = ["--model.optimizer.init_args.lr", "1e-3", "--trainer.max_epochs", "4"]
    changed += ["--model.optimizer.init_args.weight_decay", "0.5", "--model.schedule", "Constant"]
    argv = tiny("tasseg_mfnet.yaml", mfnet_root, *COMMON, *changed, "--ckpt_path", str(last))
    assert rgbx("fit", *argv) == 0
    new = torch.load(run_folder(tmp_path) / "checkpoints/last.ckpt", weights_only=True)
    assert new["epoch"] == 3
    group = new["optimizer_states"][0]["param_groups"][0]
    assert (group["lr"], group["weight_decay"]) == (1e-3, 0.5)


def test_test_prints_the_table_and_leaves_the_run_intact(trained, rgbx, mfnet_root, capsys):
    run = run_folder(trained)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    best = run / "checkpoints/best.ckpt"
    argv = tiny("tasseg_mfnet.yaml", mfnet_root, "--ckpt_path", str(best), "--output", "out")
    assert rgbx("test", *argv, "--save_predictions", "true") == 0
    printed = capsys.readouterr().out
    for word in ("TASeg", "published", "RTFNet", "day", "night", "one confusion matrix"):
        assert word in printed
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before
    result = json.loads(Path("out/test.json").read_text())
    scores = result["numbers"]["test"]
    assert set(scores) == {"all", "day", "night"}
    assert all(0 <= scores[s]["miou"] <= 1 for s in scores)
    masks = sorted(Path("out/masks").glob("*.png"))
    assert len(masks) == 4 == len(list(Path("out/overlays").glob("*.png")))
    assert np.asarray(Image.open(masks[0])).max() < 9
    again = rgbx("test", *argv)
    assert again == 0
    assert json.loads(Path("out/test.json").read_text())["numbers"] == result["numbers"]


def test_python_forward_equals_the_command_line(trained):
    path = run_folder(trained) / "checkpoints/best.ckpt"
    model = TASeg.load_from_checkpoint(path, map_location="cpu").eval()
    stored = weights(path)
    state = model.state_dict()
    assert all(torch.equal(state[k], v) for k, v in stored.items())
    with torch.no_grad():
        logits = model(torch.zeros(1, 3, 64, 96), torch.zeros(1, 3, 64, 96))
    assert logits.shape == (1, 9, 64, 96)
    assert torch.isfinite(logits).all()


def test_predict_on_a_folder_without_labels_or_classes(trained, rgbx, folder_root, tmp_path):
    best = run_folder(trained) / "checkpoints/best.ckpt"
    images = tmp_path / "mine"
    for part in ("rgb", "x"):
        (images / part).mkdir(parents=True)
        for path in sorted((folder_root / "test" / part).iterdir())[:2]:
            (images / part / path.name).write_bytes(path.read_bytes())
    argv = tiny("tasseg_mfnet.yaml", images, "--data", "FolderRGBX", "--data.root", str(images))
    assert rgbx("predict", *argv, "--ckpt_path", str(best), "--output", "out") == 0
    names = {p.stem for p in (images / "rgb").iterdir()}
    assert {p.stem for p in Path("out/masks").iterdir()} == names
    assert {p.stem for p in Path("out/overlays").iterdir()} == names
    mask = Image.open(next(Path("out/masks").iterdir()))
    assert mask.size == Image.open(next((images / "rgb").iterdir())).size
    assert mask.getpalette()[3:6] == [64, 0, 128]  # MFNet's colour of a car, from the checkpoint


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_trains(precision, rgbx, mfnet_root, tmp_path):
    argv = tiny("tasseg_mfnet.yaml", mfnet_root, "--trainer.precision", precision)
    assert rgbx("fit", *argv, "--trainer.max_epochs", "1") == 0
    state = weights(run_folder(tmp_path) / "checkpoints/last.ckpt")
    assert all(v.dtype == torch.float32 and torch.isfinite(v).all() for v in state.values())


def test_wandb_offline_is_one_line(rgbx, mfnet_root, tmp_path):
    argv = tiny("tasseg_mfnet.yaml", mfnet_root, "--trainer.max_epochs", "1")
    logger = ["--trainer.logger", "WandbLogger", "--trainer.logger.offline", "true"]
    assert rgbx("fit", *argv, *logger, "--trainer.logger.project", "rgbx") == 0
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
