"""What Stable-SAM's plug-in costs, and what answering many prompts at once saves.

    python tools/bench_stable_sam.py --encoder tiny --size 256
    python tools/bench_stable_sam.py --encoder vit_b --size 1024 --repeats 3
    python tools/bench_stable_sam.py --encoder vit_l --size 1024 --device cuda --dtype bfloat16

* plug-in: time that it adds to a decode, over the time of encoder + one decode;
* evaluation: 81 prompts of an image (1 box, 20 noisy boxes, 20 x 1, 3 and 5 points) answered
  together, over 81 calls of the model with one prompt each.

Everything is measured in turns in one process, so that a busy machine disturbs all alike; medians
are compared. The 81 calls are the median call x 81 when `--calls` is smaller.
"""

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from rgbx.models.stable_sam import StableSAM
from rgbx.prompts import Prompt, evaluation_prompts

#: aimed at: share that the plug-in adds, time together over time one by one
TARGETS = {"plug-in": 0.02, "evaluation": 0.1}
KINDS = {"box": 1, "noisy_box": 20, "point_1": 20, "point_3": 20, "point_5": 20}


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    warnings.filterwarnings("ignore", "SAM .* starts from RANDOM weights")
    device, half = torch.device(options.device), options.dtype == "bfloat16"
    model = StableSAM(encoder=options.encoder, decode_batch=options.decode_batch).to(device).eval()
    rgb = torch.randn(1, 3, options.size, options.size, device=device)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, half):
        print(
            f"StableSAM {options.encoder}, {options.size} x {options.size}, {options.dtype}, "
            f"{options.device}, {options.threads} threads"
        )
        _plugin(model, rgb, options)
        _evaluation(model, rgb, options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="tiny")
    parser.add_argument("--size", type=int, default=256, help="side of the square input, pixels")
    parser.add_argument("--repeats", type=int, default=5, help="encoder passes, and evaluations")
    parser.add_argument("--decodes", type=int, default=25, help="timed decodes of each kind")
    parser.add_argument("--calls", type=int, default=81, help="timed calls with one prompt")
    parser.add_argument("--decode_batch", type=int)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser


def _plugin(model: StableSAM, rgb: Tensor, options: argparse.Namespace) -> None:
    """Encoder, decode without, decode with the plug-in."""
    size = (options.size, options.size)
    box: Prompt = {"box": torch.tensor([0.2, 0.3, 0.7, 0.8]) * options.size}
    embedding = model.embed(rgb)
    runs = _in_turns(
        {
            "without": lambda: model.network.decode(embedding, [box], size, plugin=False),
            "with": lambda: model.network.decode(embedding, [box], size),
        },
        options.decodes,
        rgb.device,
    )
    runs |= _in_turns({"encoder": lambda: model.embed(rgb)}, options.repeats, rgb.device)
    median = {name: statistics.median(times) for name, times in runs.items()}
    # pairs that ran one after the other: what disturbs both cancels out
    extra = statistics.median(b - a for a, b in zip(runs["without"], runs["with"], strict=True))
    share = extra / (median["encoder"] + median["without"])
    for name, seconds in median.items():
        print(f"  {name:<9} {1e3 * seconds:10.1f} ms  (from {1e3 * min(runs[name]):.1f})")
    print(
        f"  the plug-in adds {1e3 * extra:.1f} ms = {100 * share:.2f} % of encoder + one decode "
        f"(aim: at most {100 * TARGETS['plug-in']:g} %)"
    )


def _evaluation(model: StableSAM, rgb: Tensor, options: argparse.Namespace) -> None:
    """All prompts of an image together, and one by one."""
    side = options.size
    mask = torch.zeros(side, side)
    mask[side // 5 : side // 2, side // 4 : side // 4 * 3] = 1
    prompts = [p for kind, n in KINDS.items() for p in evaluation_prompts(mask, kind, n, "bench/0")]
    chosen = prompts[:: max(1, len(prompts) // options.calls)][: options.calls]
    together: list[float] = []
    single: list[float] = []
    for turn in range(options.repeats):
        together.append(_time(lambda: model(rgb, [prompts]), rgb.device))
        part = chosen[turn :: options.repeats]
        single += [_time(partial(model, rgb, [[prompt]]), rgb.device) for prompt in part]
    whole = statistics.median(together)
    alone = sum(single) / len(single) * len(prompts)
    print(
        f"  {len(prompts)} prompts together {whole:.2f} s, one by one {alone:.2f} s "
        f"({len(single)} calls timed): {whole / alone:.4f} = 1/{alone / whole:.1f} "
        f"(aim: at most {TARGETS['evaluation']:g})"
    )


def _in_turns(
    calls: dict[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, list[float]]:
    for call in calls.values():
        call()
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            found[name].append(_time(call, device))
    return found


def _time(call: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
