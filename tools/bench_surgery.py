"""What gradient surgery costs: one training step of SAMSOD in three ways.

    python tools/bench_surgery.py --encoder tiny --size 256 --batch 4
    python tools/bench_surgery.py --encoder hiera_t --size 256 --batch 2
    python tools/bench_surgery.py --encoder hiera_l --size 512 --device cuda --dtype bfloat16

* ours: per-group PCGrad as rgbx does it;
* summed: one backward pass through the sum of the losses, no surgery;
* released: the authors' way, three full backward passes, gradients cloned, flattened and copied.

Every measurement runs in a process of its own, the three in turns; medians are compared. Memory is
the peak of all steps above the loaded model.
"""

import argparse
import copy
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from measure import peak, reset_peak
from torch import Tensor

from rgbx.models.samsod import SAMSOD
from rgbx.optim import GroupedGradients, PCGrad

SIDES = ("ours", "summed", "released")
TARGETS = {"summed": {"seconds": 1.5, "bytes": 1.3}, "released": {"seconds": 0.85}}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="tiny")
    parser.add_argument("--size", type=int, default=256, help="side of the square input, pixels")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5, help="timed steps per process")
    parser.add_argument("--repeats", type=int, default=3, help="processes per side")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--worker", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        print(json.dumps(_measure(options)))
        return 0
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(options.repeats):
        for side in SIDES:
            runs[side].append(_spawn(options, side))
    _report(options, runs)
    return 0


def _spawn(options: argparse.Namespace, side: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--worker", side]
    for name in ("encoder", "size", "batch", "steps", "dtype", "device", "threads"):
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _report(options: argparse.Namespace, runs: Mapping[str, list[dict[str, float]]]) -> None:
    median = {
        side: {key: statistics.median(run[key] for run in found) for key in found[0]}
        for side, found in runs.items()
    }
    print(
        f"SAMSOD {options.encoder}, {options.batch} x {options.size} x {options.size}, "
        f"{options.dtype}, {options.device}, {options.threads} threads, "
        f"{options.repeats} processes x {options.steps} steps each"
    )
    print(f"  {'':<9} {'s / step':>9} {'peak MiB':>9}")
    for side, values in median.items():
        times = " ".join(f"{run['seconds']:.3f}" for run in runs[side])
        memory = values["bytes"] / 2**20
        print(f"  {side:<9} {values['seconds']:9.3f} {memory:9.0f}  (s: {times})")
    for side, targets in TARGETS.items():
        for key, target in targets.items():
            ratio = median["ours"][key] / median[side][key]
            what = "time" if key == "seconds" else "memory"
            print(f"  ours / {side}, {what}: {ratio:.3f} (aim: at most {target})")


def _measure(options: argparse.Namespace) -> dict[str, float]:
    """One side in this process: median time of a step, peak bytes."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    warnings.filterwarnings("ignore", "SAM 2 .* starts from RANDOM weights")
    device = torch.device(options.device)
    model = SAMSOD(encoder=options.encoder, surgery="PCGrad" if options.worker == "ours" else None)
    model.to(device).train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    shape = (options.batch, 3, options.size, options.size)
    batch = {
        "rgb": torch.randn(shape, device=device),
        "x": torch.rand(shape, device=device),
        "mask": (torch.rand(shape, device=device)[:, :1] > 0.5).float(),
        "name": [str(i) for i in range(options.batch)],
    }
    step = {"ours": _ours, "summed": _summed, "released": _released}[options.worker](model)

    def whole() -> float:
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=options.dtype == "bfloat16"):
            step(batch)
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    before = reset_peak(device)
    whole()
    seconds = statistics.median(whole() for _ in range(options.steps))
    return {"seconds": seconds, "bytes": peak(device) - before}


def _ours(model: SAMSOD) -> Callable[[dict[str, Any]], None]:
    gradients = GroupedGradients(model.named_parameters(), model.groups)
    weighting = PCGrad()

    def step(batch: dict[str, Any]) -> None:
        losses = model.training_losses(batch)
        cut, model._cut = model._cut, None
        gradients.add(losses, cut=cut)
        gradients.reduce()
        gradients.merge({name: weighting(gram) for name, gram in gradients.gramians().items()})

    return step


def _summed(model: SAMSOD) -> Callable[[dict[str, Any]], None]:
    def step(batch: dict[str, Any]) -> None:
        model.zero_grad()
        torch.stack(list(model.training_losses(batch).values())).sum().backward()

    return step


def _released(model: SAMSOD) -> Callable[[dict[str, Any]], None]:
    names = {n: p for n, p in model.named_parameters() if p.requires_grad}
    groups = [
        ([p for n, p in names.items() if pattern.replace("\\", "") in n], losses)
        for pattern, losses in model.groups.values()
    ]

    def step(batch: dict[str, Any]) -> None:
        losses = model.training_losses(batch)
        found: dict[str, dict[Tensor, Tensor]] = {}
        for name, loss in losses.items():
            model.zero_grad()
            loss.backward(retain_graph=True)
            found[name] = {
                p: torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in names.values()
            }
        for params, wanted in groups:
            rows = [torch.cat([found[name][p].flatten() for p in params]) for name in wanted]
            merged = _project(rows)
            sizes = [p.numel() for p in params]
            for p, part in zip(params, merged.split(sizes), strict=True):
                p.grad = part.view_as(p)

    return step


def _project(rows: list[Tensor]) -> Tensor:
    """PCGrad on flat vectors, on copies."""
    moved = copy.deepcopy(rows)
    for current in moved:
        for other in rows:
            inner = torch.dot(current, other)
            if inner < 0:
                current -= inner * other / other.norm() ** 2
    return torch.stack(moved).mean(0)


if __name__ == "__main__":
    sys.exit(main())
