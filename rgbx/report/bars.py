"""Tables whose numbers are bars: classes, day and night, kinds of prompts."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rgbx.metrics.catalogue import metric_info
from rgbx.results import MEAN, Run, Unit, has_prompts, kind_label, unit_of
from rgbx.results.protocols import Place, by_protocol

__all__ = ["BarTable", "class_bars", "prompt_bars", "subset_bars", "titled"]

_OF_SUBSETS = ("miou", "miou_image", "S", "maxF", "MAE", "mDice", "mIoU", "BER", "AP50", "AP", "MR")
_OF_PROMPTS = ("mSF", "mIoU", "mBIoU")
T = TypeVar("T")


@dataclass(frozen=True)
class BarTable:
    """A table of rates, one column per run.

    Attributes:
        title: Above it.
        heading: Of the first column.
        columns: (name of the run, name of the score or empty).
        rows: Label, small print behind it, and one rate in [0, 1] or NaN per column.
        note: Below it.
        unit: In which the rates are written.
    """

    title: str
    heading: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, str, tuple[float, ...]], ...]
    note: str = ""
    unit: Unit = "percent"


def class_bars(runs: Sequence[Run]) -> list[BarTable]:
    """IoU or AP50 of every class, for each data set and split."""
    tables = []
    for where, own in _places(runs):
        scored = [run for run in own if run.result.classes.get(where[1], {}).get("all")]
        for title, group in _groups(scored, where, ("miou", "AP50")):
            scores = {run.name: run.result.classes[where[1]]["all"] for run in group}
            first = scores[group[0].name]
            shown = next(iter(first[0].values))
            heading, counted = ("IoU", "labelled pixels") if shown == "iou" else (shown, "boxes")
            note = f"{heading} in percent; behind each class its share of the {counted}."
            whole = sum(one.support for one in first)
            shares = {s.name: f"{100 * s.support / whole:.2g} %" if whole else "" for s in first}
            columns = {
                (name, ""): {one.name: one.values.get(shown, math.nan) for one in found}
                for name, found in scores.items()
            }
            tables.append(_table(title, "Class", shares, columns, note))
    return tables


def subset_bars(runs: Sequence[Run]) -> list[BarTable]:
    """Day, night and all, for each data set, split and headline score."""
    tables = []
    for where, own in _places(runs):
        numbers = {run.name: run.result.numbers[where[1]] for run in own}
        own = [run for run in own if len(numbers[run.name]) > 1]
        known = {n for run in own for scores in numbers[run.name].values() for n in scores}
        for metric in (name for name in _OF_SUBSETS if name in known):
            unit, less = unit_of(metric), not metric_info(metric).higher_is_better
            note = f"{metric}{' in percent' * (unit == 'percent')}{'; less is better' * less}."
            for title, group in _groups(own, where, (metric,)):
                columns = {
                    (run.name, ""): {
                        subset: scores.get(metric, math.nan)
                        for subset, scores in numbers[run.name].items()
                    }
                    for run in group
                }
                names = {subset: "" for rates in columns.values() for subset in rates}
                subsets = dict(sorted(names.items(), key=lambda item: item[0] != "all"))
                tables.append(_table(f"{title}: {metric}", "Subset", subsets, columns, note, unit))
    return tables


def prompt_bars(runs: Sequence[Run]) -> list[BarTable]:
    """Stability and IoU by kind of prompt, for the mean of the splits or for each."""
    note = (
        "Percent. mSF: how much the masks of one object agree, whatever the prompt of a kind; one "
        "prompt (a tight box) has none."
    )
    tables = []
    for where, own in _places([run for run in runs if has_prompts(run.result)]):
        if where[1] != MEAN and any(MEAN in run.result.numbers for run in own):
            continue
        numbers = {run.name: run.result.numbers[where[1]].get("all", {}) for run in own}
        names = dict.fromkeys(name for scores in numbers.values() for name in scores)
        kinds = {n.rpartition("/")[0]: kind_label(n.rpartition("/")[0]) for n in names if "/" in n}
        shown = [s for s in _OF_PROMPTS if any(f"{kind}/{s}" in names for kind in kinds)]
        for title, group in _groups(own, where, tuple(names)):
            columns = {
                (run.name, score): {
                    label: numbers[run.name].get(f"{kind}/{score}", math.nan)
                    for kind, label in kinds.items()
                }
                for run in group
                for score in shown
            }
            labels = dict.fromkeys(kinds.values(), "")
            tables.append(_table(title, "Prompt", labels, columns, note))
    return tables


def titled(where: tuple[str, str], groups: Sequence[T]) -> Iterator[tuple[str, T]]:
    """What to call groups of one data set and split, each of a protocol of its own."""
    place = where[0] if where[1] == "test" else ", ".join(where)
    for number, group in enumerate(groups, 1):
        yield place + (f", protocol {number} of {len(groups)}" * (len(groups) > 1)), group


def _places(runs: Sequence[Run]) -> Iterator[tuple[tuple[str, str], list[Run]]]:
    """Data set and split, and the runs that were tested there."""
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        for split in run.result.numbers:
            found.setdefault((run.result.data.dataset, split), []).append(run)
    yield from found.items()


def _groups(
    runs: Sequence[Run], where: tuple[str, str], metrics: Sequence[str]
) -> Iterator[tuple[str, list[Run]]]:
    """Runs of one protocol, and what to call them: others may not stand next to them."""
    return titled(where, by_protocol(runs, {Place(*where, metric) for metric in metrics}))


def _table(
    title: str,
    heading: str,
    labels: Mapping[str, str],
    columns: Mapping[tuple[str, str], Mapping[str, float]],
    note: str,
    unit: Unit = "percent",
) -> BarTable:
    rows = tuple(
        (label, aside, tuple(rates.get(label, math.nan) for rates in columns.values()))
        for label, aside in labels.items()
    )
    return BarTable(title, heading, tuple(columns), rows, note, unit)
