"""What a pass through a network costs: operations, time, memory."""

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

__all__ = [
    "Operations",
    "Passes",
    "count_operations",
    "measure_passes",
    "resident_memory",
]

_BUDGET = 10.0  # seconds that repetitions may take
_LEAST, _MOST = 3, 50
_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_PEAK_TO_CURRENT = "5"  # what the kernel wants to read there, see proc(5)
_WITH_WEIGHTS = ("aten.mm", "aten.addmm", "aten.baddbmm")
_CORNERS = 4  # cells around a sampled point


@dataclasses.dataclass(frozen=True)
class Operations:
    """Floating-point operations of a pass; a multiplication and an addition are two.

    Everything else (norms, activations, resizing, Fourier transforms) is not counted.

    Attributes:
        convolutions: transposed ones included.
        linear: products with weights.
        products: products of activations, nearly all of them attention's. Tools that look at
            layers alone miss them.
        sampling: reads between the cells of a map, weighed and added.
    """

    convolutions: int
    linear: int
    products: int
    sampling: int

    @property
    def flops(self) -> int:
        """All of them: 2 x MAC."""
        return self.convolutions + self.linear + self.products + self.sampling

    @property
    def macs(self) -> int:
        """Multiplications with an addition (MAC), which many papers print as FLOPs."""
        return self.flops // 2


def count_operations(run: Callable[[], object]) -> Operations:
    """Count the operations of a pass with torch's counter, extended to sampling.

    Args:
        run: makes the pass. On the meta device nothing is computed, and attention is counted as it
            is defined; kernels of other devices may do more than that.
    """
    aten = torch.ops.aten
    reads: dict[Any, Any] = {
        aten.grid_sampler_2d: _grid_reads,
        aten._embedding_bag: _bag_reads,
        aten._embedding_bag_forward_only: _bag_reads,
    }
    with (
        torch.no_grad(),
        _autocast_on_meta(),
        FlopCounterMode(display=False, custom_mapping=reads) as counter,
    ):
        run()
    sums = dict.fromkeys(("convolutions", "linear", "products", "sampling"), 0)
    for operator, flops in counter.get_flop_counts().get("Global", {}).items():
        sums["sampling" if operator in reads else _kind(str(operator))] += int(flops)
    return Operations(**sums)


def _kind(operator: str) -> str:
    if "conv" in operator:
        return "convolutions"
    return "linear" if operator in _WITH_WEIGHTS else "products"


@contextmanager
def _autocast_on_meta() -> Iterator[None]:
    """Let `torch.autocast` pass on the meta device, where there is no precision and it raises."""
    real = torch.autocast

    def autocast(device_type: str, *args: Any, **kwargs: Any) -> AbstractContextManager[Any]:
        return nullcontext() if device_type == "meta" else real(device_type, *args, **kwargs)

    with patch.object(torch, "autocast", autocast):
        yield


def _grid_reads(
    source: Sequence[int], grid: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any
) -> int:
    batch, channels, height, width = out_shape
    return 2 * _CORNERS * batch * channels * height * width


def _bag_reads(table: Sequence[int], rows: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * rows[0] * table[1]


@dataclasses.dataclass(frozen=True)
class Passes:
    """What repeated passes needed.

    Attributes:
        seconds: of each pass.
        peak: the most bytes held meanwhile: of a GPU by tensors, else by the process; None for
            devices that do not tell. A process that has run something before holds pages that the
            passes take again: its growth says nothing. Measure in a process of its own, as
            `rgbx.profile.measured.measured` does.
    """

    seconds: list[float]
    peak: int | None


def measure_passes(
    run: Callable[[], object], device: torch.device, passes: int | None = None
) -> Passes:
    """Repeat a pass; what is made in the first one and kept is not measured.

    Args:
        run: makes one pass.
        device: where; it is waited for.
        passes: how many; None: as many as fit into 10 seconds, 3 to 50.
    """
    once = _seconds(run, device)
    _forget_peak(device)
    if passes is None:
        if device.type != "cpu":  # the first pass there loads kernels
            once = _seconds(run, device)
        passes = max(_LEAST, min(_MOST, int(_BUDGET / max(once, 1e-6))))
    bar = tqdm(range(passes), desc="passes", leave=False, disable=None, delay=1)
    return Passes([_seconds(run, device) for _ in bar], _peak(device))


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    _wait_for(device)
    start = time.perf_counter()
    run()
    _wait_for(device)
    return time.perf_counter() - start


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def resident_memory() -> int:
    """Bytes of main memory that the process holds; where that is unknown, the most it ever held."""
    return _of_status("VmRSS") or _largest()


def _forget_peak(device: torch.device) -> None:
    """Forget what was held so far; that of a process can only be forgotten on Linux."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif device.type == "cpu" and _RESET.exists():
        try:
            _RESET.write_text(_PEAK_TO_CURRENT)
        except OSError:  # not allowed in some containers: the peak then includes what was before
            return


def _peak(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type != "cpu":
        return None
    return _of_status("VmHWM") or _largest()


def _of_status(key: str) -> int | None:
    """A number of the kernel's account of this process, in bytes; None without such an account."""
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return None


def _largest() -> int:
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
