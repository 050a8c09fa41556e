"""Two processes are one process on the same global batch, and both hold the same parameters."""

import pytest
import torch
from lightning.pytorch import seed_everything

from tests.optim.test_manual import Batches
from tests.optim.toy import Toy, Uneven, data, train_ranks, trainer, vector
from tests.processes import two_ranks

RUNS = {
    "4-steps": {"accumulate": 1, "clip": None, "count": 32, "epochs": 1, "uneven": False},
    "accumulated-and-clipped": {
        "accumulate": 2,
        "clip": 0.5,
        "count": 40,
        "epochs": 1,
        "uneven": False,
    },
    "20-steps": {"accumulate": 1, "clip": 1.0, "count": 40, "epochs": 4, "uneven": False},
    "rank-1-rests": {"accumulate": 2, "clip": None, "count": 32, "epochs": 3, "uneven": True},
}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> dict[str, list[dict]]:
    """What both ranks held after each of the runs, which the same two processes make in turn."""
    folder = tmp_path_factory.mktemp("ranks")
    two_ranks(train_ranks, folder, list(RUNS.values()), cwd=folder)
    return {
        name: [torch.load(folder / f"{rank}_{index}.pt", weights_only=True) for rank in (0, 1)]
        for index, name in enumerate(RUNS)
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_two_processes_equal_one_on_the_same_global_batch(name, ranks, tmp_path):
    first, second = ranks[name]
    assert torch.equal(first["vector"], second["vector"]), "ranks drifted apart"
    accumulate, clip, count, epochs, uneven = RUNS[name].values()
    seed_everything(0)
    module = Uneven() if uneven else Toy()
    start = vector(module)
    module.accumulate, module.clip = accumulate, clip
    x, y = data(count).tensors
    # rank 0 has the even images, rank 1 the odd ones: eight in a row are two times four
    batches = Batches([(x[i : i + 8], y[i : i + 8]) for i in range(0, count, 8)])
    run = trainer(tmp_path, max_epochs=epochs)
    run.fit(module, batches)
    assert run.global_step == first["steps"] == -(-count // 8 // accumulate) * epochs
    assert (first["vector"] - start).abs().max() > 0.01
    worst = float((first["vector"] - vector(module)).abs().max())
    print(f"largest difference {worst:.1e}")
    assert worst < 1e-6
