"""What a model costs as a row of a paper's table, above the rows that the paper printed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import floor, log10

from rgbx.profile.costs import Operations
from rgbx.profile.measured import Measured
from rgbx.results import Cost, Published, Row, Table

__all__ = ["Costs", "cost_table", "rounded"]

_COLUMNS = ("Model", "Params (M)", "Trainable (M)", "FLOPs (G)", "Memory (GB)", "FPS")
_DIGITS = 4


@dataclass(frozen=True)
class Costs:
    """What one model needs.

    Attributes:
        name: of the model, with its encoder.
        size: (height, width) of the network's input.
        what: was done in a pass: "image", or "image with a prompt".
        parameters: part -> number, see `RGBXModule.parameters_by_part`.
        operations: of one image.
        measured: speed and memory.
    """

    name: str
    size: tuple[int, int]
    what: str
    parameters: Mapping[str, int]
    operations: Operations
    measured: Measured

    @property
    def total(self) -> int:
        """All parameters."""
        return sum(self.parameters.values())

    @property
    def trainable(self) -> int:
        """Those that are trained."""
        return self.total - self.parameters["frozen"]


def cost_table(costs: Costs, published: Published | None) -> Table:
    """Two rows for the model, one for each way of counting operations, then the published ones."""
    millions = (rounded(costs.total / 1e6), rounded(costs.trainable / 1e6))
    memory = costs.measured.memory
    held = "-" if memory is None else f"{memory / 1e9:.2f}"
    needs = (held, rounded(costs.measured.frames_per_second))
    counted = {"MAC": costs.operations.macs, "2 x MAC": costs.operations.flops}
    rows = [
        Row((f"{costs.name}, {word}", *millions, rounded(number / 1e9), *needs), own=True)
        for word, number in counted.items()
    ]
    printed = list(_published_rows(published)) if published else []
    rows += [Row(cells, published=True, rule=not i) for i, cells in enumerate(printed)]
    height, width = costs.size
    return Table(
        f"{costs.name}: costs at {height} x {width} (height x width)",
        _COLUMNS,
        tuple(rows),
        notes=tuple(_notes(costs, bool(printed))),
    )


def rounded(number: float) -> str:
    """A positive number with four digits, more before the point: 0.08183, 224.2, 12345."""
    if not number > 0:
        return "0"
    return f"{number:.{max(0, _DIGITS - 1 - floor(log10(number)))}f}"


def _notes(costs: Costs, printed: bool) -> Iterator[str]:
    apart = rounded(costs.operations.products / 2e9)
    yield (
        f"FLOPs of one {costs.what}: products with an addition count as one (MAC) or two "
        "(2 x MAC). Papers seldom say which; many leave out the products inside attention, here "
        f"{apart} G MAC."
    )
    found = costs.measured
    yield (
        f"Memory and speed: {found.name}, precision {found.precision}, {found.batch} image"
        f"{'' if found.batch == 1 else 's'} at a time, median of {len(found.seconds)} passes."
    )
    if printed:
        yield "Published numbers are as printed, those of speed from the papers' own machines."


def _published_rows(published: Published) -> Iterator[tuple[str, ...]]:
    """The paper's own methods first; a dash for what it does not say."""
    own = list(
        dict.fromkeys(row.method for t in published.comparisons for row in t.rows if row.own)
    )
    for size, speed in published.frames_per_second.items():
        trainable = published.trainable_millions.get(own[0]) if own else None
        name = f"{own[0] if own else published.paper} at {size} (published)"
        yield (name, "-", _text(trainable), "-", "-", _text(speed))
    methods = dict.fromkeys((*published.costs, *published.trainable_millions))
    told = own[:1] if published.frames_per_second else []
    for method in sorted((m for m in methods if m not in told), key=lambda m: m not in own):
        cost = published.costs.get(method, Cost())
        trainable = published.trainable_millions.get(method)
        numbers = (cost.parameters_millions, trainable, cost.gflops, None, cost.frames_per_second)
        yield (f"{method} (published)", *map(_text, numbers))


def _text(number: float | None) -> str:
    return "-" if number is None else str(number)
