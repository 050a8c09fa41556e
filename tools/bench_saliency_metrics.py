"""Time of SaliencyScores against PySODMetrics on the same maps, and how far the numbers differ.

    OMP_NUM_THREADS=1 python tools/bench_saliency_metrics.py
    python tools/bench_saliency_metrics.py --device cuda --repeats 50

Both sides run in one process, in turns, one image at a time, so that a busy machine disturbs both
alike; medians are compared. PySODMetrics gets the 8-bit map, rgbx the float map it was made from,
and makes the 8-bit map itself. "soft" is a blurred noisy map of one round object, "noise" is a
random map of a random mask, the worst case for the weighted F.
"""

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import py_sod_metrics
import torch
from torch import Tensor

from rgbx.metrics import SaliencyScores
from rgbx.metrics.saliency_maps import grey_levels

#: group of measures -> (measures, times as fast as PySODMetrics aimed at on the CPU)
GROUPS = {
    "S, E, F, MAE": (("S", "E", "F", "MAE"), 5.0),
    "S, E, F, MAE, wF": (("S", "E", "F", "MAE", "wF"), 2.0),
}

_CLASSES = {
    "S": py_sod_metrics.Smeasure,
    "E": py_sod_metrics.Emeasure,
    "F": py_sod_metrics.Fmeasure,
    "wF": py_sod_metrics.WeightedFmeasure,
    "MAE": py_sod_metrics.MAE,
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--repeats", type=int, default=25, help="images per side")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(argv)
    warnings.filterwarnings("ignore", message=".*FmeasureV2.*")
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    print(
        f"{options.height} x {options.width}, {options.device}, {options.threads} threads, "
        f"median of {options.repeats} images per side in turns"
    )
    for kind in ("soft", "noise"):
        pred, target = _images(kind, options.height, options.width)
        for label, (measures, aim) in GROUPS.items():
            _compare(f"{kind:5}  {label:16}", measures, aim, pred, target, options)
    return 0


def _images(kind: str, height: int, width: int) -> tuple[Tensor, Tensor]:
    """A float map in [0, 1] and its bool mask, (H, W) each."""
    random = np.random.default_rng(0)
    if kind == "noise":
        return torch.from_numpy(random.random((height, width), np.float32)), torch.from_numpy(
            random.random((height, width)) < 0.5
        )
    y, x = np.mgrid[:height, :width] / [[[height]], [[width]]]
    mask = ((y - 0.5) / 0.25) ** 2 + ((x - 0.47) / 0.23) ** 2 < 1
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 9)
    noisy = soft + random.normal(0, 0.03, soft.shape)
    return torch.from_numpy(noisy.clip(0, 1).astype(np.float32)), torch.from_numpy(mask)


def _compare(
    label: str,
    measures: tuple[str, ...],
    aim: float,
    pred: Tensor,
    target: Tensor,
    options: argparse.Namespace,
) -> None:
    """Time both sides in turns; print medians, their ratio and the largest difference."""
    image, mask = grey_levels(pred[None])[0].numpy(), target.numpy().astype(np.uint8) * 255
    pred, target = pred.to(options.device), target.to(options.device)

    scores = SaliencyScores(measures).to(options.device)
    references = [_CLASSES[name]() for name in measures]

    def ours() -> None:
        scores.update(pred, target)
        if pred.is_cuda:
            torch.cuda.synchronize()

    def theirs() -> None:
        for reference in references:
            reference.step(image, mask)

    times: dict[Callable[[], None], list[float]] = {ours: [], theirs: []}
    for _ in range(options.repeats):
        for side, seconds in times.items():
            start = time.perf_counter()
            side()
            seconds.append(time.perf_counter() - start)
    expected, got = _results(references, measures), scores.compute()
    difference = max(abs(got[name] - expected[name]) for name in expected)
    fast, slow = (statistics.median(seconds) * 1000 for seconds in times.values())
    target_text = f" (aim {aim:g} x)" if options.device == "cpu" else ""
    print(
        f"{label}  rgbx {fast:7.2f} ms  PySODMetrics {slow:7.2f} ms  "
        f"{slow / fast:5.1f} x as fast{target_text}, largest difference {difference:.1e}"
    )


def _results(references: list[Any], measures: tuple[str, ...]) -> dict[str, float]:
    """The scores of PySODMetrics under the names of rgbx."""
    scores: dict[str, float] = {}
    for name, reference in zip(measures, references, strict=True):
        for key, value in reference.get_results().items():
            if key in ("em", "fm"):
                scores |= {f"adp{name}": value["adp"], f"mean{name}": value["curve"].mean()}
                scores[f"max{name}"] = value["curve"].max()
            elif key != "pr":
                scores[name] = value
    return scores


if __name__ == "__main__":
    sys.exit(main())
