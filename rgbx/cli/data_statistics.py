"""What ``rgbx check-data --statistics true`` prints of a split."""

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rgbx.data.checks.check import Report
from rgbx.data.checks.split_statistics import SplitStatistics
from rgbx.models.unirgb_ir.class_weights import enet_weights

__all__ = ["print_statistics"]


def print_statistics(report: Report) -> None:
    """Print class shares with the ENet weights they give, and means and stds.

    Args:
        report: of a check that added up statistics; splits without usable samples are passed over.
    """
    console = Console()
    for split, checked in report.splits.items():
        if checked.statistics is not None and checked.statistics.samples:
            _print_split(console, split, checked.statistics)


def _print_split(console: Console, split: str, found: SplitStatistics) -> None:
    if found.class_frequencies:
        console.print(_classes(split, found))
    for name, moments in (("rgb", found.rgb), ("x", found.x)):
        for scale, decimals in ((255, 5), (1, 6)):
            if moments.count:
                mean, std = (_row(v * scale, decimals) for v in (moments.mean, moments.std))
                line = f"{name} of {split}, 0 to {scale}: mean {mean}, std {std}"
                console.print(escape(line), soft_wrap=True, highlight=False)


def _classes(split: str, found: SplitStatistics) -> Table:
    table = Table(title=f"classes of {split} ({found.samples} samples)")
    table.add_column("id", justify="right")
    table.add_column("class")
    table.add_column("frequency", justify="right")
    table.add_column("ENet weight", justify="right")
    shares = found.class_frequencies
    weights = enet_weights(shares).tolist()
    for i, (name, share, weight) in enumerate(zip(found.class_names, shares, weights, strict=True)):
        table.add_row(str(i), escape(name), f"{share:.5f}", f"{weight:.5f}")
    return table


def _row(values: Iterable[float], decimals: int) -> str:
    return f"[{', '.join(f'{value:.{decimals}f}' for value in values)}]"
