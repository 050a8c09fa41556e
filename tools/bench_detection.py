"""One step and one inference of UniRGB-IR's detector against torchvision's Faster R-CNN ResNet-50.

    python tools/bench_detection.py
    python tools/bench_detection.py --encoder tiny --size 256 320 --rounds 5

The yardstick is `torchvision.models.detection.fasterrcnn_resnet50_fpn`, random weights, on the
same number of pixels; it sees the visible image alone, has no cascade, keeps 1,000 proposals, and
is no target. Both take turns in one process; each round gives a ratio ours / theirs, and the median
counts. The parts of ours are timed one after the other in an inference of their own. What NMS and
RoIAlign cost is what an inference gets faster by when RoIAlign gives zeros at once (it runs beside
the heads, so that its own seconds say little), and the seconds of NMS.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torchvision.models.detection import fasterrcnn_resnet50_fpn

from rgbx import UniRGBIRDetection
from rgbx.models.unirgb_ir.detector import CascadeDetector
from rgbx.models.unirgb_ir.detector import cascade as cascade_module
from rgbx.models.unirgb_ir.detector import network as network_module
from rgbx.models.unirgb_ir.detector import rpn as rpn_module

SHARE = 0.15  # of an inference that NMS and RoIAlign may take


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    torch.manual_seed(0)
    device = torch.device(options.device)
    size = tuple(options.size)
    ours = UniRGBIRDetection(options.encoder, head=options.head, img_size=options.table, norm="gn")
    theirs = fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=4, min_size=min(size), max_size=max(size)
    )
    ours, theirs = ours.to(device), theirs.to(device)
    rgb, ir = (torch.randn(1, 3, *size, device=device) for _ in range(2))
    print(f"{options.encoder}, {options.head}, {size[1]} x {size[0]} pixels, {device}, ", end="")
    print(f"{torch.get_num_threads()} threads, {options.rounds} rounds")
    target = _targets(size, device)
    with _evaluating(ours, theirs):
        _compare("inference", lambda: ours(rgb, ir), lambda: theirs([rgb[0]]), options.rounds)
        _parts(ours, rgb, ir, options.rounds)
    step = (
        _step(ours, lambda: ours.losses(rgb, ir, [target], [0])),
        _step(theirs, lambda: theirs([rgb[0]], [target | {"labels": target["labels"] + 1}])),
    )
    _compare("training step", *step, options.rounds)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="vit_b", choices=["vit_b", "tiny"])
    parser.add_argument("--head", default="cascade", choices=["cascade", "fcos"])
    parser.add_argument("--size", type=int, nargs=2, default=(512, 640), metavar=("H", "W"))
    parser.add_argument("--table", type=int, default=1024, help="img_size of the model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def _targets(size: tuple[int, ...], device: torch.device) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    corner = torch.rand(8, 2, generator=generator) * 0.7
    boxes = torch.cat([corner, corner + 0.05 + 0.2 * torch.rand(8, 2, generator=generator)], 1)
    boxes = boxes * torch.tensor([size[1], size[0]] * 2)
    target = {"boxes": boxes, "labels": torch.arange(8) % 3, "ignore": torch.zeros(8).bool()}
    return {name: value.to(device) for name, value in target.items()}


@contextmanager
def _evaluating(*modules: nn.Module) -> Iterator[None]:
    for module in modules:
        module.eval()
    with torch.no_grad():
        yield
    for module in modules:
        module.train()


def _step(module: nn.Module, losses: Callable[[], dict[str, Tensor]]) -> Callable[[], object]:
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=1e-6)

    def run() -> None:
        optimizer.zero_grad()
        torch.stack(list(losses().values())).sum().backward()
        optimizer.step()

    return run


def _seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def _compare(
    name: str, ours: Callable[[], object], theirs: Callable[[], object], rounds: int
) -> None:
    _seconds(ours), _seconds(theirs)
    pairs = []
    for i in range(rounds):
        order = (ours, theirs) if i % 2 else (theirs, ours)
        taken = {run: _seconds(run) for run in order}
        pairs.append((taken[ours], taken[theirs]))
    first, second = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"{name:14} ours {first:8.3f} s   theirs {second:8.3f} s   ratio {ratio:6.2f}")


def _parts(model: UniRGBIRDetection, rgb: Tensor, ir: Tensor, rounds: int) -> None:
    """Medians of the parts of one inference, and the share of NMS and RoIAlign in it."""
    taken: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        taken["whole"].append(_seconds(lambda: model(rgb, ir)))
        with _free_pooling(), _counted() as counted:
            without = _seconds(lambda: model(rgb, ir))
        taken["NMS and RoIAlign"].append(taken["whole"][-1] - without + sum(counted))
        detector = model.network
        begin = time.perf_counter()
        tokens = detector.backbone(rgb, ir)[-1]
        edges = [("backbone", begin, begin := time.perf_counter())]
        maps = detector.neck(tokens)
        edges.append(("pyramid", begin, begin := time.perf_counter()))
        if isinstance(detector, CascadeDetector):
            objectness, deltas = detector.rpn_head(maps)
            proposals = detector.rpn_head.proposals(objectness, deltas, rgb.shape[-2:])
            edges.append(("proposals", begin, begin := time.perf_counter()))
            detector.roi_head(maps[:-1], proposals, rgb.shape[-2:])
        else:
            detector.fcos_head.decode(maps, rgb.shape[-2:])
        edges.append(("heads", begin, time.perf_counter()))
        for name, start, end in edges:
            taken[name].append(end - start)
    whole = statistics.median(taken["whole"])
    for name in ("backbone", "pyramid", "proposals", "heads", "NMS and RoIAlign"):
        if taken[name]:
            seconds = statistics.median(taken[name])
            aim = f"   aim below {SHARE:.0%}" if name.startswith("NMS") else ""
            print(f"  {name:18} {seconds:8.3f} s {seconds / whole:6.1%}{aim}")


@contextmanager
def _free_pooling() -> Iterator[None]:
    """RoIAlign costs nothing, and gives zeros."""
    known: dict[tuple[int, int], Tensor] = {}

    def zeros(features: Tensor, rois: Tensor, side: int, *_: object, **__: object) -> Tensor:
        key = (len(rois), features.shape[1])
        if key not in known:
            known[key] = features.new_zeros(*key, side, side)
        return known[key]

    with patch.object(cascade_module, "roi_align", zeros):
        yield


@contextmanager
def _counted() -> Iterator[list[float]]:
    """Collects the seconds of every NMS."""
    seconds: list[float] = []

    def timed(run: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def wrapped(*args: object, **kwargs: object) -> Tensor:
            begin = time.perf_counter()
            found = run(*args, **kwargs)
            seconds.append(time.perf_counter() - begin)
            return found

        return wrapped

    patches = [
        patch.object(module, "batched_nms", timed(module.batched_nms))
        for module in (rpn_module, network_module)
    ]
    for one in patches:
        one.start()
    try:
        yield seconds
    finally:
        for one in patches:
            one.stop()


if __name__ == "__main__":
    raise SystemExit(main())
