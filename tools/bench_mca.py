"""What MCA-SAM costs beyond SAM-Adapter: evaluation time, and memory of the token-level loss.

    python tools/bench_mca.py --encoder tiny --size 256
    python tools/bench_mca.py --encoder vit_b --size 1024 --repeats 5
    python tools/bench_mca.py --encoder vit_h --size 1024 --device cuda --dtype bfloat16

* token loss: peak memory of its forward and backward pass alone, on random activations of all
  layers of the encoder, for K tokens of each image. Next to it, the same without recomputation, in
  which every layer's and image's K x K tables live until the backward pass;
* evaluation: both models answer the same image in turns in one process; the median of the ratios
  of neighbouring runs is printed. Only the SC branch can make a difference.
"""

import argparse
import ctypes
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from types import MethodType

import torch
from measure import peak, reset_peak
from torch import Tensor, nn

from rgbx.backbones.sam import sam_preset
from rgbx.blocks.contrastive import InfoNCE
from rgbx.models import MCASAM
from rgbx.models.mca_sam import Generator, TokenContrast
from rgbx.models.mca_sam.options import AdaptorConfig, ContrastConfig
from rgbx.models.mca_sam.watch import Watch

#: aimed at: share of time that MCA-SAM may cost beyond SAM-Adapter
TARGET = 0.02
TOKENS = (256, 1024, 4096)
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    warnings.filterwarnings("ignore", "SAM .* starts from RANDOM weights")
    print(
        f"MCASAM {options.encoder}, {options.size} x {options.size}, {options.dtype}, "
        f"{options.device}, {options.threads} threads"
    )
    if options.device == "cpu":
        # glibc: blocks of 64 KiB and more come from the system and go back to it when freed, so
        # that the memory of the process is that of its tensors
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 2**16)
    _token_loss(options)
    _evaluation(options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="tiny")
    parser.add_argument("--size", type=int, default=256, help="side of the square input, pixels")
    parser.add_argument("--repeats", type=int, default=15, help="timed pairs of evaluations")
    parser.add_argument("--tokens", type=int, nargs="+", default=list(TOKENS))
    parser.add_argument("--images", type=int, default=2, help="of the token loss's batch")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser


def _evaluation(options: argparse.Namespace) -> None:
    device, half = torch.device(options.device), options.dtype == "bfloat16"
    plain = MCASAM(
        encoder=options.encoder,
        adaptor=AdaptorConfig(sample_branch=False),
        contrast=ContrastConfig(token_weight=0.0, sample_weight=0.0),
    )
    whole = MCASAM(encoder=options.encoder)
    whole.network.sam = plain.network.sam  # one encoder in memory: caches favour nobody
    models = [model.to(device).eval() for model in (plain, whole)]
    rgb = torch.randn(1, 3, options.size, options.size, device=device)
    times: tuple[list[float], list[float]] = ([], [])
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, half):
        for turn in range(-1, options.repeats):
            for which in (0, 1) if turn % 2 else (1, 0):
                taken = _time(partial(models[which], rgb), device)
                if turn >= 0:  # the first pair warms up
                    times[which].append(taken)
    ratio = statistics.median(b / a for a, b in zip(*times, strict=True))
    for name, found in zip(("SAM-Adapter", "MCASAM"), times, strict=True):
        print(
            f"  evaluation, {name:<11} {1e3 * statistics.median(found):9.1f} ms  "
            f"(from {1e3 * min(found):.1f})"
        )
    print(
        f"  MCASAM / SAM-Adapter: {ratio:.4f}, median of {options.repeats} pairs "
        f"(aim: at most {1 + TARGET:g})"
    )


def _token_loss(options: argparse.Namespace) -> None:
    device, preset = torch.device(options.device), sam_preset(options.encoder)
    layers, width = range(preset.depth), max(1, preset.dim // 32)
    generator = Generator(preset.dim, width, layers).to(device)
    contrast = TokenContrast([(k, k) for k in layers], num_tokens="all").to(device)
    keeping = TokenContrast([(k, k) for k in layers], num_tokens="all").to(device)
    keeping._image = MethodType(_without_recomputing, keeping)  # type: ignore[method-assign]
    print(f"  token loss, {preset.depth} layers, {options.images} images: peak over its inputs")
    _peak(contrast, generator, 64, options.images, device)  # warms up
    for count in options.tokens:
        table = 4 * count * count
        used = _peak(contrast, generator, count, options.images, device)
        text = f"    K = {count:<5} {_mb(used):9.1f} MB = {used / table:5.1f} tables of K x K"
        if table * 2 * preset.depth * options.images < 4e9:
            kept = _peak(keeping, generator, count, options.images, device)
            text += f"; kept until the backward pass {_mb(kept):9.1f} MB"
        print(text)


def _without_recomputing(
    self: TokenContrast, before: Tensor, after: Tensor, lift: nn.Linear, places: Tensor | None
) -> InfoNCE:
    return self._compare(before, after, lift, places)


def _peak(
    contrast: TokenContrast, generator: Generator, count: int, images: int, device: torch.device
) -> int:
    """Bytes above what is there before the loss is computed."""
    dim, width = generator.token.lift(0).out_features, generator.token.lift(0).in_features
    positions = torch.arange(count, device=device).expand(images, -1)
    watch = Watch([layer for layer, _ in contrast.layers], positions)
    watch.patches = torch.randn(images, count, dim, device=device)
    for layer, _ in contrast.layers:
        watch.rows[layer] = torch.randn(images, count, width, device=device, requires_grad=True)
    before = reset_peak(device)
    contrast(generator, watch, 1).loss.backward()
    return peak(device) - before


def _mb(size: float) -> float:
    return size / 2**20


def _time(call: Callable[[], object], device: torch.device) -> float:
    """Seconds; on the CPU those of this process, which other processes do not lengthen."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    start = clock()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


if __name__ == "__main__":
    sys.exit(main())
