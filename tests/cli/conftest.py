"""Running the command line in-process on tiny data."""

from pathlib import Path

import pytest

from rgbx.cli import run

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def tiny(config: str, root: Path, *extra: str) -> list[str]:
    """Options that turn any shipped experiment into one for a CPU and generated data."""
    own = []
    if "tasseg" in config:
        own = ["--model.text_encoder", "tiny", "--model.text_weights", "null"]
    if "stable_sam" in config:
        own = ["--model.points", "256", "--model.evaluation.prompts", "2"]
    if any(name in config for name in ("flir", "llvip", "kaist")):
        own = ["--model.img_size", "128", "--model.channels", "16", "--model.norm", "gn"]
        own += ["--model.rpn.proposals", "50", "--model.cascade.fc_dim", "16"]
    if "ByName" in (CONFIGS / config).read_text():
        own += ["--model.optimizer.num_blocks", "4"]
    if "lowshot" in config:
        own += ["--data.low_shot", "4"]
    if "scribble" in config:
        own = ["--data.scribbles", str(root / "scribbles")]
    return [
        "--config",
        str(CONFIGS / config),
        "--model.encoder",
        "tiny",
        "--model.weights",
        "null",
        *own,
        "--data.root",
        str(root),
        "--data.size",
        "[64, 96]",
        "--data.num_workers",
        "0",
        "--data.batch_size",
        "2",
        "--trainer.accelerator",
        "cpu",
        "--trainer.devices",
        "1",
        *extra,
    ]


def write_checkpoint(path: Path, **data) -> Path:
    """The least that counts as a checkpoint of rgbx; ``data`` is what it knows of its training."""
    import torch

    origin = {"version": "0", "model": "Toy", "frozen_sha256": "", "data": data}
    run = {"epoch": 2, "global_step": 30, "pytorch-lightning_version": "2.6.6"}
    torch.save(run | {"state_dict": {}, "rgbx": origin}, path)
    return path


@pytest.fixture
def rgbx(monkeypatch, tmp_path):
    """``rgbx(*argv) -> exit status``, run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RGBX_RUN_VERSION", raising=False)
    return lambda *argv: run([str(a) for a in argv])
