"""UniRGB-IR from the command line: sizes that are padded, resume, test, predict, mistakes."""

import json
import os
from pathlib import Path

import pytest
import torch

from rgbx.models.unirgb_ir.class_weights import enet_weights
from tests.cli.conftest import tiny
from tests.cli.test_training_life import same, weights

pytestmark = pytest.mark.slow

SEMANTIC, SALIENCY = "unirgb_ir_mfnet.yaml", "unirgb_ir_vt5000.yaml"
# 70 x 92: neither is a multiple of 16, nor of what 16 are multiples of
COMMON = ["--data.size", "[70, 92]", "--trainer.log_every_n_steps", "1"]
COMMON += ["--trainer.max_steps", "-1", "--trainer.max_epochs", "2"]
COMMON += ["--trainer.check_val_every_n_epoch", "1", "--trainer.accumulate_grad_batches", "1"]


def last(base: Path, config: str, version: int = 0) -> Path:
    return base / f"runs/{Path(config).stem}/version_{version}/checkpoints/last.ckpt"


def train(folder: Path, config: str, root: Path) -> Path:
    """Two epochs, uninterrupted."""
    from rgbx.cli import run

    previous = Path.cwd()
    os.chdir(folder)
    os.environ.pop("RGBX_RUN_VERSION", None)
    try:
        assert run(["fit", *tiny(config, root, *COMMON)]) == 0
    finally:
        os.chdir(previous)
        os.environ.pop("RGBX_RUN_VERSION", None)
    return folder


@pytest.fixture(scope="module")
def semantic(tmp_path_factory, mfnet_root):
    return train(tmp_path_factory.mktemp("semantic"), SEMANTIC, mfnet_root)


@pytest.fixture(scope="module")
def saliency(tmp_path_factory, vt5000_root):
    return train(tmp_path_factory.mktemp("saliency"), SALIENCY, vt5000_root)


def test_a_run_keeps_its_class_weights_and_logs_its_losses(semantic, mfnet_root):
    from rgbx.data import MFNet

    path = last(semantic, SEMANTIC)
    wanted = enet_weights(MFNet(str(mfnet_root)).class_frequencies("train"))
    assert torch.equal(weights(path)["class_weights"], wanted)
    header = (path.parents[1] / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train/ce", "train/aux", "train/loss", "val/miou"} <= set(header)


@pytest.mark.parametrize("config", [SEMANTIC, SALIENCY])
def test_resuming_repeats_the_uninterrupted_run_bit_for_bit(config, request, rgbx, tmp_path):
    task = "semantic" if config == SEMANTIC else "saliency"
    root = request.getfixturevalue("mfnet_root" if config == SEMANTIC else "vt5000_root")
    argv = tiny(config, root, *COMMON)
    assert rgbx("fit", *argv, "--trainer.callbacks+=tests.cli.stopping.StopAfterEpoch") == 0
    middle = last(tmp_path, config)
    assert torch.load(middle, weights_only=True)["epoch"] == 0
    assert rgbx("fit", *argv, "--ckpt_path", middle) == 0
    resumed = sorted(tmp_path.glob("runs/*/version_*/checkpoints/last.ckpt"))[-1]
    whole = weights(last(request.getfixturevalue(task), config))
    assert same(weights(resumed), whole)
    assert not same(weights(middle), whole)


def test_the_best_checkpoint_is_written_at_epochs_that_validate(rgbx, mfnet_root, tmp_path):
    epochs = ["--trainer.max_epochs", "5", "--trainer.check_val_every_n_epoch", "5"]
    argv = tiny(SEMANTIC, mfnet_root, *COMMON, *epochs, "--data.size", "[32, 48]")
    assert rgbx("fit", *argv) == 0
    best = last(tmp_path, SEMANTIC).with_name("best.ckpt")
    assert torch.load(best, weights_only=True)["epoch"] == 4


def test_semantic_test_and_predict(semantic, rgbx, mfnet_root, capsys):
    path = str(last(semantic, SEMANTIC))
    argv = tiny(SEMANTIC, mfnet_root, *COMMON, "--ckpt_path", path, "--output")
    assert rgbx("test", *argv, "tested", "--save_predictions", "true") == 0
    printed = capsys.readouterr().out
    assert "UniRGBIRSemantic" in printed and "IV-tuning (Swin-L)" in printed
    assert "not in the UniRGB-IR paper" in " ".join(printed.split())
    scores = json.loads(Path("tested/test.json").read_text())["numbers"]["test"]
    assert set(scores) == {"all", "day", "night"}
    assert rgbx("predict", *argv, "predicted") == 0
    assert len(list(Path("predicted/masks").glob("*.png"))) == 16


def test_saliency_test_scores_three_sets(saliency, rgbx, vt5000_root, capsys):
    path = str(last(saliency, SALIENCY))
    argv = tiny(SALIENCY, vt5000_root, *COMMON, "--ckpt_path", path, "--output", "tested")
    assert rgbx("test", *argv) == 0
    printed = capsys.readouterr().out
    assert "IV-tuning (EVA02-L)" in printed and ".930" in printed
    numbers = json.loads(Path("tested/test.json").read_text())["numbers"]
    assert set(numbers) == {"VT5000", "VT1000", "VT821", "overall"}
    assert all(0 <= scores["all"]["MAE"] <= 1 for scores in numbers.values())


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_trains(precision, rgbx, vt5000_root, tmp_path):
    argv = tiny(SALIENCY, vt5000_root, *COMMON, "--trainer.precision", precision)
    assert rgbx("fit", *argv, "--trainer.max_epochs", "1") == 0
    state = weights(last(tmp_path, SALIENCY))
    floating = [v for v in state.values() if v.is_floating_point()]
    assert all(v.dtype == torch.float32 and torch.isfinite(v).all() for v in floating)


@pytest.mark.parametrize("config", [SEMANTIC, SALIENCY])
def test_a_batch_of_one_trains_with_group_norm(config, request, rgbx):
    root = request.getfixturevalue("mfnet_root" if config == SEMANTIC else "vt5000_root")
    argv = tiny(config, root, *COMMON, "--model.norm", "gn", "--data.batch_size", "1")
    assert rgbx("fit", *argv, "--trainer.fast_dev_run", "true") == 0


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (["--model.class_weights", "[1, 2]"], "class_weights has 2 numbers, but there are 9"),
        (["--model.class_weights", "median"], "class_weights"),
        (["--model.norm", "ln"], "norm"),
        (["--model.encoder", "vit_t"], "There is no UniRGB-IR encoder 'vit_t'"),
        (["--data.batch_size", "1", "--data.size", "[32, 32]"], "set model.norm to gn"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_errors_get_one_sentence(rgbx, mfnet_root, capsys, extra, expected):
    argv = tiny(SEMANTIC, mfnet_root, *extra, "--trainer.fast_dev_run", "true")
    assert rgbx("fit", *argv) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1 and expected in errors[0], errors
