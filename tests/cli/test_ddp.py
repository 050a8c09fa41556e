"""Two processes are one process on the same global batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rgbx.models import TASeg
from tests.cli.conftest import tiny


def fit(
    folder: Path, root: Path, *extra: str, config: str = "tasseg_mfnet.yaml"
) -> dict[str, torch.Tensor]:
    folder.mkdir()
    argv = tiny(config, root)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    environment.pop("RGBX_RUN_VERSION", None)
    done = subprocess.run(
        [sys.executable, "-m", "rgbx", "fit", *argv, *extra],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (checkpoint,) = folder.rglob("runs/*/version_0/checkpoints/last.ckpt")
    return torch.load(checkpoint, weights_only=True)


# Adam's first steps are lr * sign(gradient) where a gradient is all rounding, so the shipped
# optimiser is compared in float64, where rounding is far below its eps, and float32 with SGD.
ADAMW = ["--trainer.precision", "64-true"]
SGD = ["--trainer.precision", "32-true", "--model.optimizer", "torch.optim.SGD"]
SGD += ["--model.optimizer.init_args.lr", "0.1"]


@pytest.mark.parametrize(
    ("accumulate", "optimizer"), [(1, ADAMW), (2, SGD)], ids=["adamw", "sgd-accumulated"]
)
def test_two_processes_equal_one_on_the_same_global_batch(
    mfnet_root, tmp_path, accumulate, optimizer
):
    common = ["--trainer.max_epochs", "2", "--trainer.gradient_clip_val", "0.5", *optimizer]
    common += ["--trainer.accumulate_grad_batches", str(accumulate)]
    one = fit(tmp_path / "one", mfnet_root, *common, "--data.batch_size", "4")
    two = fit(
        *(tmp_path / "two", mfnet_root, *common, "--data.batch_size", "2"),
        *("--trainer.devices", "2", "--trainer.strategy", "ddp"),
    )
    assert one["global_step"] == two["global_step"] == 4 // accumulate
    assert one["state_dict"].keys() == two["state_dict"].keys()
    worst = max((one["state_dict"][k] - v).abs().max() for k, v in two["state_dict"].items())
    print(f"largest difference {worst:.2e}")
    assert worst < 1e-6
    start = TASeg(encoder="tiny").state_dict()
    moved = "network.decoder.hypernetworks.1.layers.2.weight"
    assert (one["state_dict"][moved] - start[moved]).abs().max() > 1e-5
