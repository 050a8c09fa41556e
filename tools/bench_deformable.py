"""Time and memory of rgbx's deformable attention against the core of transformers' Deformable DETR.

    python tools/bench_deformable.py
    python tools/bench_deformable.py --sizes 1024 --batch 4 --rounds 31

Needs the extra `bench` (transformers). Sizes are those of UniRGB-IR with a ViT-B: 12 heads of 32
channels read 4 points in each of 3 maps (strides 8, 16, 32), a query per 16 x 16 pixels. Places
are the initial ring plus a normal std of one cell.

* Time: both cores in turns in one process, in an order that alternates; each round gives a ratio
  ours / theirs and the median of the ratios counts, so that a busy machine disturbs both alike.
  "processor" is the same of processor seconds, the steadier figure there. One thread unless
  `--threads` says more: when other programs want the processor, the threads of one program wait
  for each other at every operation, and what is measured is the number of operations.
* Memory on the CPU: peak resident memory of a process of its own for each core and pass, above
  the inputs, after a small warm-up; the result and, after a backward, the inputs' gradients are
  in it for both. On a GPU: peak of the allocator, likewise above the inputs.

"forward" runs under no_grad, "backward" is forward + backward to values, places and weights.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import accumulate

import torch
from measure import peak, reset_peak
from torch import Tensor

from rgbx.blocks import DeformableAttention, deformable_attention, reference_points

#: largest ratio ours / theirs aimed at on the CPU: time, and memory at 1024 pixels
TARGETS = {"time": 1.0, "memory": 0.5}
PASSES = ("forward", "backward")
HEADS, WIDTH, POINTS, STRIDES = 12, 32, 4, (8, 16, 32)

Levels = list[tuple[int, int]]
Core = Callable[[Tensor, Levels, Tensor, Tensor], Tensor]
Inputs = tuple[Tensor, Levels, Tensor, Tensor]


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    if find_spec("transformers") is None:
        sys.exit("transformers is not installed: pip install 'rgbx[bench]'.")
    torch.set_num_threads(options.threads)
    if options.worker:
        print(_peak_bytes(options))
        return 0
    gpu = ["cuda"] if torch.cuda.is_available() else []
    for device in options.device or ["cpu", *gpu]:
        for size in options.sizes:
            _compare(options, size, torch.device(device))
    if not gpu:
        print("\nno GPU here")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024], help="pixels")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--device", nargs="+", choices=["cpu", "cuda"], help="default: all here")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--worker", nargs=2, metavar=("SIDE", "PASS"), help=argparse.SUPPRESS)
    return parser


def _compare(options: argparse.Namespace, size: int, device: torch.device) -> None:
    """Print the figures of one device and size."""
    where = f"{options.threads} threads" if device.type == "cpu" else torch.cuda.get_device_name()
    print(f"\n{size} x {size} pixels, batch {options.batch}, {device}, {where}")
    inputs = _inputs(size, options.batch, device)
    cores: dict[str, Core] = {"ours": deformable_attention, "theirs": _theirs()}
    _agree(cores, inputs)
    print(f"  {'':9} {'ours ms':>9} {'theirs ms':>9} {'ratio':>6} {'processor':>9}", end="")
    print(f"   {'ours MiB':>9} {'theirs MiB':>10} {'ratio':>6}")
    for kind in PASSES:
        wall, processor = _rounds(cores, inputs, kind, options.rounds)
        memory = {side: _spawn(options, size, device, side, kind) / 2**20 for side in cores}
        ms = {side: 1e3 * statistics.median(times) for side, times in wall.items()}
        print(
            f"  {kind:9} {ms['ours']:9.1f} {ms['theirs']:9.1f} {_ratio(wall):6.3f} "
            f"{_ratio(processor):9.3f}   {memory['ours']:9.1f} {memory['theirs']:10.1f} "
            f"{memory['ours'] / memory['theirs']:6.3f}"
        )
    if device.type == "cpu":
        memory_aim = f", memory {TARGETS['memory']:g}" if size == 1024 else ""
        print(f"  aim: ratio of times at most {TARGETS['time']:g}{memory_aim}")


def _inputs(size: int, batch: int, device: torch.device) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    levels = [(size // stride, size // stride) for stride in STRIDES]
    reference = reference_points(size // 16, size // 16)
    layer = DeformableAttention(HEADS * WIDTH, HEADS, len(levels), POINTS, ratio=1.0)
    ring = layer.sampling_offsets.bias.detach().view(HEADS, len(levels), POINTS, 2)
    shape = (batch, len(reference), HEADS, len(levels), POINTS)
    offsets = ring + torch.randn(*shape, 2, generator=generator)
    sizes = torch.tensor([(w, h) for h, w in levels])[:, None]
    locations = reference[None, :, None, None, None] + offsets / sizes
    weights = torch.randn(shape, generator=generator).flatten(3).softmax(-1).view(shape)
    cells = sum(h * w for h, w in levels)
    value = torch.randn(batch, cells, HEADS, WIDTH, generator=generator)
    return value.to(device), levels, locations.to(device), weights.to(device)


def _theirs() -> Core:
    from transformers.models.deformable_detr.modeling_deformable_detr import (
        MultiScaleDeformableAttention,
    )

    core = MultiScaleDeformableAttention()

    def run(value: Tensor, levels: Levels, locations: Tensor, weights: Tensor) -> Tensor:
        shapes = torch.tensor(levels, device=value.device)
        starts = torch.tensor(list(accumulate((h * w for h, w in levels[:-1]), initial=0)))
        return core(value, shapes, levels, starts.to(value.device), locations, weights, 64)

    return run


def _run(core: Core, inputs: Inputs, kind: str) -> list[Tensor]:
    """The output, or the gradients; waits for a GPU."""
    value, levels, locations, weights = inputs
    if kind == "forward":
        with torch.no_grad():
            found = [core(value, levels, locations, weights)]
    else:
        leaves = [t.detach().requires_grad_() for t in (value, locations, weights)]
        out = core(leaves[0], levels, leaves[1], leaves[2])
        found = list(torch.autograd.grad(out, leaves, torch.ones_like(out)))
    if value.device.type == "cuda":
        torch.cuda.synchronize()
    return found


def _agree(cores: dict[str, Core], inputs: Inputs) -> None:
    """Print the largest differences; a first pass for the caches, too."""
    names = ("output", "d values", "d places", "d weights")
    ours, theirs = ([t for kind in PASSES for t in _run(c, inputs, kind)] for c in cores.values())
    gaps = [
        f"{name} {float((a - b).abs().max() / b.abs().max()):.1e}"
        for name, a, b in zip(names, ours, theirs, strict=True)
    ]
    print(f"  largest difference over largest value: {', '.join(gaps)}")


def _rounds(
    cores: dict[str, Core], inputs: Inputs, kind: str, rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Wall and processor seconds per core, one of each per round."""
    wall: dict[str, list[float]] = {side: [] for side in cores}
    processor: dict[str, list[float]] = {side: [] for side in cores}
    for turn in range(rounds):
        for side in sorted(cores, reverse=bool(turn % 2)):
            start, used = time.perf_counter(), time.process_time()
            _run(cores[side], inputs, kind)
            processor[side].append(time.process_time() - used)
            wall[side].append(time.perf_counter() - start)
    return wall, processor


def _ratio(times: dict[str, list[float]]) -> float:
    return statistics.median(a / b for a, b in zip(times["ours"], times["theirs"], strict=True))


def _spawn(
    options: argparse.Namespace, size: int, device: torch.device, side: str, kind: str
) -> int:
    """Peak bytes of one pass of one core in a process of its own."""
    command = [sys.executable, __file__, "--worker", side, kind, "--device", str(device)]
    command += [f"--{key}={getattr(options, key)}" for key in ("batch", "threads")]
    # freed blocks return to the system at once, so that resident memory is memory in use
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(
        [*command, "--sizes", str(size)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    return int(done.stdout.splitlines()[-1])


def _peak_bytes(options: argparse.Namespace) -> int:
    """Peak memory of one pass of one core in this process, above its inputs."""
    side, kind = options.worker
    device = torch.device(options.device[0])
    core: Core = deformable_attention if side == "ours" else _theirs()
    _run(core, _inputs(64, 1, device), kind)
    inputs = _inputs(options.sizes[0], options.batch, device)
    before = reset_peak(device)
    _run(core, inputs, kind)
    return peak(device) - before


if __name__ == "__main__":
    sys.exit(main())
