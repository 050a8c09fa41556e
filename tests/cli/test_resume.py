"""A run that goes on is the uninterrupted run bit for bit, and its schedule follows the epochs."""

from pathlib import Path

import pytest
import torch

from rgbx.cli import run
from tests.cli.conftest import tiny

pytestmark = pytest.mark.slow

SCHEDULE = ["--model.schedule", "Poly", "--model.schedule.warmup_epochs", "0.5"]
FULL = ["--trainer.precision", "32-true", "--trainer.logger", "false"]
FULL += ["--trainer.enable_progress_bar", "false", "--trainer.limit_val_batches", "1"]
SAVE = "--trainer.callbacks=[{class_path: tests.cli.stopping.SaveEachBatch}]"
WINDOWS = {
    "tasseg_mfnet.yaml": ["--trainer.accumulate_grad_batches", "3"],
    "samsod_tiny_vt5000.yaml": ["--model.accumulate", "3"],
}


def fit(config: str, root: Path, folder: Path, *extra: str) -> None:
    """Train in a folder, four batches an epoch; every batch and epoch leaves a checkpoint there."""
    folder.mkdir()
    argv = tiny(config, root, *SCHEDULE, *FULL, SAVE, *extra)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("RGBX_RUN_VERSION", raising=False)
        assert run(["fit", *argv]) == 0


def load(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def rate(checkpoint: dict) -> float:
    return checkpoint["optimizer_states"][0]["param_groups"][0]["lr"]


def assert_same(found: dict, wanted: dict) -> None:
    """Weights, statistics, what the optimiser remembers, its rate and the counters."""
    assert found["global_step"] == wanted["global_step"]
    assert found["epoch"] == wanted["epoch"]
    assert rate(found) == rate(wanted)
    for part in (lambda c: c["state_dict"], lambda c: _flat(c["optimizer_states"][0]["state"])):
        assert part(found).keys() == part(wanted).keys()
        assert [k for k, v in part(wanted).items() if not torch.equal(v, part(found)[k])] == []


def _flat(state: dict) -> dict:
    return {(n, k): v for n, group in state.items() for k, v in group.items()}


@pytest.fixture(scope="module", params=list(WINDOWS), ids=["TASeg", "SAMSOD"])
def whole(request, tmp_path_factory):
    """Two epochs with windows of three batches, the last one short: not interrupted."""
    config = request.param
    root = request.getfixturevalue("mfnet_root" if "mfnet" in config else "vt5000_root")
    options = [*WINDOWS[config], "--trainer.max_epochs", "2"]
    if "samsod" in config:
        options += ["--data.choose_on_test", "true"]  # trains on all eight images
    folder = tmp_path_factory.mktemp("whole") / "run"
    fit(config, root, folder, *options)
    return config, root, folder, options


@pytest.mark.parametrize(
    ("start", "workers"),
    [("epoch_0", 2), ("batch_4", 2), ("batch_5", 0), ("batch_5", 2), ("batch_7", 2)],
)
def test_a_resumed_run_is_the_uninterrupted_one(whole, start, workers, tmp_path):
    """From the end of an epoch, its last batch, a window's middle, and behind a whole window."""
    config, root, folder, options = whole
    more = ["--data.num_workers", str(workers), "--ckpt_path", str(folder / f"{start}.ckpt")]
    fit(config, root, tmp_path / "again", *options, *more)
    assert_same(load(tmp_path / "again/epoch_1.ckpt"), load(folder / "epoch_1.ckpt"))


def test_the_checkpoints_within_a_window_hold_its_gradients(whole):
    config, _, folder, _ = whole
    waiting = load(folder / "batch_5.ckpt")
    if "samsod" in config:
        assert waiting["surgery"]["window"]["count"] == 1
    else:
        assert any(g.abs().max() > 0 for g in waiting["progress"]["gradients"].values())
    assert load(folder / "batch_7.ckpt")["progress"]["pending"] == 0


@pytest.fixture(scope="module")
def straight(tmp_path_factory, mfnet_root):
    """Four epochs of four steps."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    fit("tasseg_mfnet.yaml", mfnet_root, folder, "--trainer.max_epochs", "4")
    return folder


@pytest.mark.parametrize(
    ("start", "change", "steps"),
    [
        ("epoch_1", ("--data.batch_size", "4"), [10, 12]),
        ("epoch_1", ("--data.batch_size", "1"), [16, 24]),
        ("epoch_1", ("--trainer.accumulate_grad_batches", "2"), [10, 12]),
        ("batch_10", ("--data.batch_size", "4"), [11, 13]),
    ],
    ids=["larger", "smaller", "accumulated", "mid-epoch"],
)
def test_the_schedule_follows_the_epochs(straight, start, change, steps, mfnet_root, tmp_path):
    """Ends of epochs three and four: the rates of the run that always had its batches."""
    options = ["--trainer.max_epochs", "4", "--ckpt_path", str(straight / f"{start}.ckpt")]
    fit("tasseg_mfnet.yaml", mfnet_root, tmp_path / "again", *options, *change)
    for epoch, step in zip((2, 3), steps, strict=True):
        found = load(tmp_path / f"again/epoch_{epoch}.ckpt")
        assert found["global_step"] == step
        wanted = rate(load(straight / f"epoch_{epoch}.ckpt"))
        assert rate(found) == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    assert rate(found) == 0.0 < rate(load(straight / "epoch_2.ckpt"))
