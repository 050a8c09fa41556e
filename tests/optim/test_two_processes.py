"""Two processes are one process on the same global batch, and both hold the same parameters."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import seed_everything

from tests.optim.test_manual import Batches
from tests.optim.toy import Toy, data, trainer, vector


def two_processes(folder: Path, **options) -> list[dict]:
    script = Path(__file__).with_name("toy.py")
    environment = {**os.environ, "PYTHONPATH": str(script.parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(folder), json.dumps(options)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize(
    ("accumulate", "clip", "count", "epochs"),
    [(1, None, 32, 1), (2, 0.5, 40, 1), (1, 1.0, 40, 4)],
    ids=["4-steps", "accumulated-and-clipped", "20-steps"],
)
def test_two_processes_equal_one_on_the_same_global_batch(
    tmp_path, accumulate, clip, count, epochs
):
    ranks = two_processes(tmp_path, accumulate=accumulate, clip=clip, count=count, epochs=epochs)
    assert torch.equal(ranks[0]["vector"], ranks[1]["vector"]), "ranks drifted apart"
    seed_everything(0)
    module = Toy()
    start = vector(module)
    module.accumulate, module.clip = accumulate, clip
    x, y = data(count).tensors
    # rank 0 has the even pictures, rank 1 the odd ones: eight in a row are two times four
    batches = Batches([(x[i : i + 8], y[i : i + 8]) for i in range(0, count, 8)])
    run = trainer(tmp_path, max_epochs=epochs)
    run.fit(module, batches)
    assert run.global_step == ranks[0]["steps"] == -(-count // 8 // accumulate) * epochs
    assert (ranks[0]["vector"] - start).abs().max() > 0.01
    worst = float((ranks[0]["vector"] - vector(module)).abs().max())
    print(f"largest difference {worst:.1e}")
    assert worst < 1e-6
