"""Two processes are one process on the same global batch."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from rgbx.cli import main, run
from rgbx.models import TASeg
from tests.cli.conftest import tiny
from tests.processes import two_ranks

pytestmark = pytest.mark.slow


def fit(
    folder: Path,
    root: Path,
    *extra: str,
    config: str = "tasseg_mfnet.yaml",
    processes: int = 1,
    launched: bool = False,
) -> dict[str, Any]:
    """The last checkpoint of a run: of this process, or of two.

    Lightning starts the second process if `launched`. Otherwise both get their ranks as from its
    launcher, and save the time of importing everything twice.
    """
    folder.mkdir()
    argv = ["fit", *tiny(config, root), *extra]
    two = [*argv, "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    if processes == 2 and launched:
        _fit_by_two(two, folder)
    elif processes == 2:
        two_ranks(main, two, cwd=folder)
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.delenv("RGBX_RUN_VERSION", raising=False)
            assert run(argv) == 0
    (checkpoint,) = folder.rglob("runs/*/version_0/checkpoints/last.ckpt")
    return torch.load(checkpoint, weights_only=True)


def _fit_by_two(argv: list[str], folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    environment.pop("RGBX_RUN_VERSION", None)
    done = subprocess.run(
        [sys.executable, "-m", "rgbx", *argv],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-3000:]


# Adam's first steps are lr * sign(gradient) where a gradient is all rounding, so the shipped
# optimiser is compared in float64, where rounding is far below its eps, and float32 with SGD.
ADAMW = ["--trainer.precision", "64-true"]
SGD = ["--trainer.precision", "32-true", "--model.optimizer", "torch.optim.SGD"]
SGD += ["--model.optimizer.init_args.lr", "0.1"]


@pytest.mark.parametrize(
    ("accumulate", "optimizer", "launched"),
    [(1, ADAMW, True), (2, SGD, False)],
    ids=["adamw-launched", "sgd-accumulated"],
)
def test_two_processes_equal_one_on_the_same_global_batch(
    mfnet_root, tmp_path, accumulate, optimizer, launched
):
    common = ["--trainer.max_epochs", "2", "--trainer.gradient_clip_val", "0.5", *optimizer]
    common += ["--trainer.accumulate_grad_batches", str(accumulate)]
    one = fit(tmp_path / "one", mfnet_root, *common, "--data.batch_size", "4")
    common += ["--data.batch_size", "2"]
    two = fit(tmp_path / "two", mfnet_root, *common, processes=2, launched=launched)
    assert one["global_step"] == two["global_step"] == 4 // accumulate
    assert one["state_dict"].keys() == two["state_dict"].keys()
    worst = max((one["state_dict"][k] - v).abs().max() for k, v in two["state_dict"].items())
    print(f"largest difference {worst:.2e}")
    assert worst < 1e-6
    start = TASeg(encoder="tiny").state_dict()
    moved = "network.decoder.hypernetworks.1.layers.2.weight"
    assert (one["state_dict"][moved] - start[moved]).abs().max() > 1e-5
