"""Which charts a report has: training, thresholds, conflicts of gradients."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rgbx.report.bars import titled
from rgbx.report.find import Tested
from rgbx.report.svg import line_chart
from rgbx.report.training import Line, Log, read_curves
from rgbx.results.protocols import Place, by_protocol
from rgbx.visualization.curves import Panel

__all__ = ["Charts", "surgery_charts", "threshold_charts", "training_charts"]

#: scores of validation that decide which checkpoint is best come first
_FIRST = ("miou", "maxF", "mIoU", "mDice", "AP50", "AP", "MR", "BER", "meanF", "mSF", "mBIoU")
_WINDOWS = 60  # points per line of a noisy quantity; each is the mean over one stretch of the run


@dataclass(frozen=True)
class Charts:
    """Some charts, as HTML, under a heading of their own (empty for none); more are folded away."""

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
    for headline in _FIRST:
        first += [n for n in wanted if n.startswith("val/") and n.rpartition("/")[2] == headline]
        if len(first) > 5:
            break
    first = first[:6] or wanted[:3]
    drawn = {}
    for name in wanted:
        lines = {run: log.lines[name] for run, log in logs.items() if name in log.lines}
        drawn[name] = line_chart(Panel(name, "step", name, lines), styles)
    rest = tuple(chart for name, chart in drawn.items() if name not in first)
    return [Charts("", tuple(drawn[name] for name in first), rest)] if drawn else []


def threshold_charts(
    tests: Sequence[Tested], styles: Mapping[str, int]
) -> tuple[list[Charts], list[str]]:
    """Precision over recall, and F and E over the threshold, from ``curves.csv``.

    Tests of one data set and split are drawn over each other if they follow one protocol; those
    without ``test.json`` stand alone.

    Returns:
        The charts, and what could not be read, as sentences.
    """
    found: dict[tuple[str, str], dict[str, Mapping[str, Line]]] = {}
    notes = []
    for test in tests:
        if not (test.folder / "curves.csv").is_file():
            continue
        splits, problems = read_curves(test.folder / "curves.csv")
        notes += [f"{test.name}: {problem}." for problem in problems]
        dataset = test.run.result.data.dataset if test.run else test.name
        for split, log in splits.items():
            found.setdefault((dataset, split), {})[test.name] = log.lines
    charts = []
    for where, named in found.items():
        runs = [test.run for test in tests if test.name in named and test.run]
        shown = {Place(*where, metric) for metric in ("maxF", "maxE", "S", "AP50")}
        groups = [[run.name for run in group] for group in by_protocol(runs, shown)]
        known = {name for group in groups for name in group}
        groups += [[name] for name in named if name not in known]
        for title, group in titled(where, groups):
            panels = _threshold_panels({name: named[name] for name in group})
            charts.append(Charts(title, tuple(line_chart(panel, styles) for panel in panels)))
    return charts, notes


def _threshold_panels(named: Mapping[str, Mapping[str, Line]]) -> list[Panel]:
    whole = (0, 1)
    pairs = {
        name: (lines["recall"][1], lines["precision"][1])
        for name, lines in named.items()
        if {"recall", "precision"} <= set(lines)
    }
    panels = [Panel("Precision and recall", "recall", "precision", pairs, whole, whole)]
    for score in ("F", "E"):
        lines = {name: lines[score] for name, lines in named.items() if score in lines}
        panels.append(Panel(f"{score} by threshold", "threshold", score, lines, whole, whole))
    return [panel for panel in panels if panel.lines]


def surgery_charts(logs: Mapping[str, Log]) -> list[Charts]:
    """Cosines between the gradients of losses, share of conflicting pairs, ratio of the norms.

    Args:
        logs: Name of a run -> its ``surgery.csv``.
    """
    charts = []
    for run, log in logs.items():
        drawn = [
            line_chart(panel, {name: i for i, name in enumerate(panel.lines)}, True, _WINDOWS)
            for panel in _surgery_panels(log.lines)
        ]
        charts += [Charts(run, tuple(drawn))] if drawn else []
    return charts


def _surgery_panels(lines: Mapping[str, Line]) -> list[Panel]:
    cosines: dict[str, dict[str, Line]] = {}
    for name, line in lines.items():
        group, is_cosine, pair = name.partition("/cos_")
        if is_cosine:
            cosines.setdefault(group, {})[pair.replace("_", " / ")] = line
    panels = [
        Panel(f"{group}: cosine between gradients", "step", "cosine", own, (-1, 1))
        for group, own in cosines.items()
    ]
    shares = {n.partition("/")[0]: line for n, line in lines.items() if n.endswith("/conflict")}
    if shares:
        panels.append(Panel("Share of conflicting pairs", "step", "share", shares, (0, 1)))
    if not all(map(math.isnan, lines.get("ratio", ([], []))[1])):
        title = "Gradient norms, first modality to second"
        panels.append(Panel(title, "step", "ratio", {"ratio": lines["ratio"]}))
    return panels
