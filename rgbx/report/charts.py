"""Which charts a report has: training, thresholds, conflicts of gradients."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rgbx.report.find import Tested
from rgbx.report.lines import cut_off, read_lines
from rgbx.report.svg import line_chart
from rgbx.report.training import Log
from rgbx.results.protocols import Place, by_protocol
from rgbx.visualization.curves import Panel

__all__ = ["Charts", "surgery_charts", "threshold_charts", "training_charts"]

#: scores of validation that decide which checkpoint is best come first
_FIRST = ("miou", "maxF", "mIoU", "mDice", "BER", "meanF", "mSF", "mBIoU")

_WINDOWS = 60  # points per line of a noisy quantity; each is the mean over one stretch of the run

Line = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Charts:
    """Some charts under a heading of their own.

    Attributes:
        title: The heading; empty for none.
        charts: As HTML.
        more: Further ones, folded away.
    """

    title: str
    charts: tuple[str, ...]
    more: tuple[str, ...] = ()


def training_charts(logs: Mapping[str, Log], styles: Mapping[str, int]) -> list[Charts]:
    """Everything that was logged by step, the runs over each other.

    The total loss and the headline scores of validation come first, the rest is folded away.

    Args:
        logs: Name of a run -> its metrics.
        styles: Name of a run -> number of its colour.
    """
    names = dict.fromkeys(name for log in logs.values() for name in log.lines)
    wanted = [name for name in names if not name.startswith("surgery/")]
    first = [name for name in wanted if name == "train/loss"]
    scores = [name for name in wanted if name.startswith("val/")]
    for headline in _FIRST:
        first += [name for name in scores if name.rpartition("/")[2] == headline]
        if len(first) > 5:
            break
    first = list(dict.fromkeys(first))[:6] or wanted[:3]
    drawn = {name: _training_chart(name, logs, styles) for name in wanted}
    rest = tuple(chart for name, chart in drawn.items() if name not in first)
    return [Charts("", tuple(drawn[name] for name in first), rest)] if drawn else []


def _training_chart(name: str, logs: Mapping[str, Log], styles: Mapping[str, int]) -> str:
    lines = {run: log.lines[name] for run, log in logs.items() if name in log.lines}
    return line_chart(Panel(name, "step", name, lines), styles)


def threshold_charts(
    tests: Sequence[Tested], styles: Mapping[str, int]
) -> tuple[list[Charts], list[str]]:
    """Precision over recall, and F and E over the threshold, from ``curves.csv``.

    Tests of one data set and split are drawn over each other if they follow one protocol.

    Returns:
        The charts, and what could not be read, as sentences.
    """
    found: dict[tuple[str, str], dict[str, dict[str, list[float]]]] = {}
    notes = []
    for test in tests:
        path = test.folder / "curves.csv"
        if not path.is_file():
            continue
        splits, problems = _read_curves(path)
        notes += [f"{test.name}: {problem}." for problem in problems]
        dataset = test.run.result.data.dataset if test.run else test.name
        for split, columns in splits.items():
            found.setdefault((dataset, split), {})[test.name] = columns
    charts = []
    for (dataset, split), named in found.items():
        groups = _comparable(tests, named, dataset, split)
        for number, group in enumerate(groups, 1):
            panels = _threshold_panels({name: named[name] for name in group})
            title = dataset if split == "test" else f"{dataset}, {split}"
            title += f", protocol {number} of {len(groups)}" if len(groups) > 1 else ""
            charts.append(Charts(title, tuple(line_chart(panel, styles) for panel in panels)))
    return charts, notes


def _comparable(
    tests: Sequence[Tested], named: Mapping[str, object], dataset: str, split: str
) -> list[list[str]]:
    """Names of the tests in groups of one protocol; those without ``test.json`` stand alone."""
    runs = [test.run for test in tests if test.name in named and test.run]
    places = {Place(dataset, split, metric) for metric in ("maxF", "maxE", "S")}
    groups = [[run.name for run in group] for group in by_protocol(runs, places)] if runs else []
    known = {name for group in groups for name in group}
    return groups + [[name] for name in named if name not in known]


def _read_curves(path: Path) -> tuple[dict[str, dict[str, list[float]]], list[str]]:
    """Split -> column -> values, and what was wrong."""
    heading, rows, notes = read_lines(path)
    if heading and not {"split", "threshold"} <= set(heading):
        return {}, [f"{path} is no curves.csv of `rgbx test`"]
    found: dict[str, dict[str, list[float]]] = {}
    damaged = 0
    for row in rows:
        split = row.pop("split")
        try:
            numbers = {name: float(text) for name, text in row.items()}
        except ValueError:
            damaged += 1
            continue
        columns = found.setdefault(split, {name: [] for name in numbers})
        for name, value in numbers.items():
            columns[name].append(value)
    return found, notes + ([cut_off(path, damaged)] if damaged else [])


def _threshold_panels(named: Mapping[str, Mapping[str, list[float]]]) -> list[Panel]:
    columns = {name for lines in named.values() for name in lines}
    panels = []
    if {"precision", "recall"} <= columns:
        pairs = {n: (c["recall"], c["precision"]) for n, c in named.items() if "recall" in c}
        panels.append(Panel("Precision and recall", "recall", "precision", pairs, (0, 1), (0, 1)))
    for score in ("F", "E"):
        lines = {n: (c["threshold"], c[score]) for n, c in named.items() if score in c}
        if lines:
            title = f"{score} by threshold"
            panels.append(Panel(title, "threshold", score, lines, (0, 1), (0, 1)))
    return panels


def surgery_charts(logs: Mapping[str, Log]) -> list[Charts]:
    """Cosines between the gradients of losses, share of conflicting pairs, ratio of the norms.

    Args:
        logs: Name of a run -> its ``surgery.csv``.
    """
    charts = []
    for run, log in logs.items():
        panels = _surgery_panels(log.lines)
        drawn = tuple(
            line_chart(panel, {name: i for i, name in enumerate(panel.lines)}, True, _WINDOWS)
            for panel in panels
        )
        if drawn:
            charts.append(Charts(run, drawn))
    return charts


def _surgery_panels(lines: Mapping[str, Line]) -> list[Panel]:
    panels = []
    for group in dict.fromkeys(name.partition("/")[0] for name in lines if "/cos_" in name):
        cosines = {
            name.partition("/cos_")[2].replace("_", " / "): line
            for name, line in lines.items()
            if name.startswith(f"{group}/cos_")
        }
        title = f"{group}: cosine between gradients"
        panels.append(Panel(title, "step", "cosine", cosines, (-1, 1)))
    shares = {n.partition("/")[0]: line for n, line in lines.items() if n.endswith("/conflict")}
    if shares:
        panels.append(Panel("Share of conflicting pairs", "step", "share", shares, (0, 1)))
    if any(not math.isnan(value) for value in lines.get("ratio", ([], []))[1]):
        title = "Gradient norms, first modality to second"
        panels.append(Panel(title, "step", "ratio", {"ratio": lines["ratio"]}))
    return panels
