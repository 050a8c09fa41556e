"""Time and memory of rgbx's image encoder against segment-anything's own, same weights.

    python tools/bench_encoder.py --encoder vit_b --size 1024 --repeats 3

Every measurement runs in a process of its own, ours and theirs in turns, so that a busy machine
disturbs both alike; medians are compared. Processor seconds (summed over the threads) are the
steadier figure when other programs run. Memory is the peak above the loaded model.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from measure import peak, reset_peak
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn

from rgbx.backbones.init import randomise
from rgbx.backbones.sam import SAMPreset, sam_preset
from rgbx.backbones.vit import ViT, join_qkv

#: (time ratio, memory ratio) aimed at for the forward pass on the CPU
TARGETS = {"forward": (0.65, 0.25)}


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    if options.worker:
        print(json.dumps(_measure(options)))
        return 0
    passes = ["forward", "backward"] if options.mode == "both" else [options.mode]
    for mode in passes:
        _compare(options, mode)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="vit_b")
    parser.add_argument("--size", type=int, default=1024, help="side of the square input, pixels")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3, help="processes per side")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--mode", default="both", choices=["both", "forward", "backward"])
    parser.add_argument("--worker", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    parser.add_argument("--save", type=Path, help=argparse.SUPPRESS)
    return parser


def _compare(options: argparse.Namespace, mode: str) -> None:
    """Run both sides in turns and print medians, ratios and differences."""
    results: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
    with tempfile.TemporaryDirectory() as folder:
        files = {side: Path(folder) / f"{side}.pt" for side in results}
        for _ in range(options.repeats):
            for side, runs in results.items():
                runs.append(_spawn(options, mode, side, files[side]))
        ours, theirs = (torch.load(file) for file in files.values())
    median = {
        side: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for side, runs in results.items()
    }
    ratio = {key: value / median["theirs"][key] for key, value in median["ours"].items()}
    print(
        f"\n{options.encoder} {options.batch} x 3 x {options.size} x {options.size}, "
        f"{options.dtype}, {options.device}, {options.threads} threads, {mode}"
        f"{' (forward + backward)' if mode == 'backward' else ''}, {options.repeats} runs each"
    )
    print(f"  {'':<7} {'wall s':>8} {'processor s':>12} {'peak MiB':>9}")
    for side, values in median.items():
        times = " ".join(f"{run['seconds']:.2f}" for run in results[side])
        memory = values["bytes"] / 2**20
        print(
            f"  {side:<7} {values['seconds']:8.2f} {values['processor']:12.2f} {memory:9.0f}"
            f"  (wall: {times})"
        )
    print(f"  ratio   {ratio['seconds']:8.3f} {ratio['processor']:12.3f} {ratio['bytes']:9.3f}")
    if mode in TARGETS and options.device == "cpu":
        print(f"  target  {TARGETS[mode][0]:8.3f} {'':12} {TARGETS[mode][1]:9.3f}")
    for name, tensor in ours.items():
        gap, largest = (tensor - theirs[name]).abs().max(), theirs[name].abs().max()
        print(f"  largest difference of the {name}: {gap:.2e} (largest value {largest:.2e})")


def _spawn(options: argparse.Namespace, mode: str, side: str, save: Path) -> dict[str, float]:
    kept = ("encoder", "size", "batch", "dtype", "device", "threads")
    command = [sys.executable, __file__, "--mode", mode, "--worker", side, "--save", str(save)]
    for name in kept:
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _measure(options: argparse.Namespace) -> dict[str, float]:
    """One side in this process: time of the second pass, peak bytes over both."""
    torch.set_num_threads(options.threads)
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    build = _ours if options.worker == "ours" else _theirs
    _pass(build(sam_preset("tiny"), 256).to(device, dtype), _images(1, 256, device, dtype), True)
    model = build(sam_preset(options.encoder), options.size).to(device, dtype)
    images = _images(options.batch, options.size, device, dtype)
    before = reset_peak(device)
    backward = options.mode == "backward"
    _pass(model, images, backward)
    model.zero_grad()
    start, used = time.perf_counter(), time.process_time()
    tensors = _pass(model, images, backward)
    seconds, used = time.perf_counter() - start, time.process_time() - used
    most = peak(device)
    torch.save(
        {name: tensor.detach().float().cpu() for name, tensor in tensors.items()}, options.save
    )
    return {"seconds": seconds, "processor": used, "bytes": most - before}


def _ours(preset: SAMPreset, size: int) -> nn.Module:
    model = ViT(_resized(preset, size)).eval()
    randomise(model)
    return model


def _theirs(preset: SAMPreset, size: int) -> nn.Module:
    model = ImageEncoderViT(
        img_size=size,
        patch_size=preset.patch,
        embed_dim=preset.dim,
        depth=preset.depth,
        num_heads=preset.heads,
        mlp_ratio=preset.mlp_ratio,
        out_chans=preset.out_dim,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=preset.window,
        global_attn_indexes=preset.global_blocks,
    ).eval()
    model.load_state_dict(join_qkv(_ours(preset, size).state_dict()))
    return model


def _resized(preset: SAMPreset, size: int) -> SAMPreset:
    """Position tables made for the measured size: segment-anything knows no other."""
    return replace(preset, pretrain_size=size)


def _images(batch: int, size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 3, size, size, generator=generator).to(device, dtype)


def _pass(model: nn.Module, images: Tensor, backward: bool) -> dict[str, Tensor]:
    """Run once and wait for it; the output, and the image's gradient after a backward."""
    if backward:
        images = images.clone().requires_grad_()
    with torch.set_grad_enabled(backward):
        tensors = {"output": model(images)}
    if backward:
        tensors["output"].float().square().mean().backward()
        tensors["gradient"] = images.grad if images.grad is not None else images
    if images.device.type == "cuda":
        torch.cuda.synchronize()
    return tensors


if __name__ == "__main__":
    sys.exit(main())
