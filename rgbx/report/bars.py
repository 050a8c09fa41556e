"""Tables whose numbers are bars: classes, day and night, kinds of prompts."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rgbx.metrics.catalogue import metric_info
from rgbx.results import MEAN, Run, Unit, has_prompts, kind_label, unit_of
from rgbx.results.protocols import Place, by_protocol

__all__ = ["BarTable", "class_bars", "prompt_bars", "subset_bars"]

_OF_SUBSETS = (("miou", "miou_image"), ("S", "maxF", "MAE"), ("mDice", "mIoU"), ("BER",))
_OF_PROMPTS = ("mSF", "mIoU", "mBIoU")


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
    """IoU of every class, for each data set and split."""
    tables = []
    for dataset, split, own in _places(runs):
        own = [run for run in own if run.result.classes.get(split, {}).get("all")]
        for group, title in _groups(own, dataset, split, ("miou",)):
            scores = [
                {score.name: score for score in run.result.classes[split]["all"]} for run in group
            ]
            pixels = sum(score.support for score in scores[0].values())
            rows = tuple(
                (
                    name,
                    f"{100 * score.support / pixels:.2g} %" if pixels else "",
                    tuple(one[name].iou if name in one else math.nan for one in scores),
                )
                for name, score in scores[0].items()
            )
            columns = tuple((run.name, "") for run in group)
            note = "IoU in percent; behind each class its share of the labelled pixels."
            tables.append(BarTable(title, "Class", columns, rows, note))
    return tables


def subset_bars(runs: Sequence[Run]) -> list[BarTable]:
    """Day, night and all, for each data set, split and headline score."""
    tables = []
    for dataset, split, own in _places(runs):
        own = [run for run in own if len(run.result.numbers[split]) > 1]
        metrics = _metrics(own, split)
        for metric in metrics:
            for group, title in _groups(own, dataset, split, (metric,)):
                numbers = [run.result.numbers[split] for run in group]
                names = dict.fromkeys(name for one in numbers for name in one)
                rows = tuple(
                    (name, "", tuple(one.get(name, {}).get(metric, math.nan) for one in numbers))
                    for name in sorted(names, key=lambda name: name != "all")
                )
                columns = tuple((run.name, "") for run in group)
                unit, less = unit_of(metric), not metric_info(metric).higher_is_better
                note = f"{metric}{' in percent' * (unit == 'percent')}{'; less is better' * less}."
                title_of = f"{title}: {metric}"
                tables.append(BarTable(title_of, "Subset", columns, rows, note, unit))
    return tables


def prompt_bars(runs: Sequence[Run]) -> list[BarTable]:
    """Stability and IoU by kind of prompt, for the mean of the splits or for each."""
    tables = []
    for dataset, split, own in _places([run for run in runs if has_prompts(run.result)]):
        if split != MEAN and any(MEAN in run.result.numbers for run in own):
            continue
        names = dict.fromkeys(n for run in own for n in run.result.numbers[split].get("all", {}))
        kinds = dict.fromkeys(name.rpartition("/")[0] for name in names if "/" in name)
        for group, title in _groups(own, dataset, split, tuple(names)):
            numbers = [run.result.numbers[split]["all"] for run in group]
            shown = [s for s in _OF_PROMPTS if any(f"{kind}/{s}" in names for kind in kinds)]
            rows = tuple(
                (
                    kind_label(kind),
                    "",
                    tuple(one.get(f"{kind}/{s}", math.nan) for one in numbers for s in shown),
                )
                for kind in kinds
            )
            columns = tuple((run.name, score) for run in group for score in shown)
            note = (
                "Percent. mSF: how much the masks of one object agree, whatever the prompt of a "
                "kind; one prompt (a tight box) has none."
            )
            tables.append(BarTable(title, "Prompt", columns, rows, note))
    return tables


def _places(runs: Sequence[Run]) -> Iterator[tuple[str, str, list[Run]]]:
    """Data set, split, and the runs that were tested there."""
    places = dict.fromkeys(
        (run.result.data.dataset, split) for run in runs for split in run.result.numbers
    )
    for dataset, split in places:
        own = [run for run in runs if run.result.data.dataset == dataset]
        yield dataset, split, [run for run in own if split in run.result.numbers]


def _groups(
    runs: Sequence[Run], dataset: str, split: str, metrics: Sequence[str]
) -> Iterator[tuple[list[Run], str]]:
    """Runs of one protocol, and what to call them: others may not stand next to them."""
    if not runs:
        return
    place = dataset if split == "test" else f"{dataset}, {split}"
    groups = by_protocol(runs, {Place(dataset, split, metric) for metric in metrics})
    for number, group in enumerate(groups, 1):
        suffix = f", protocol {number} of {len(groups)}" if len(groups) > 1 else ""
        yield list(group), f"{place}{suffix}"


def _metrics(runs: Sequence[Run], split: str) -> list[str]:
    names = {
        name for run in runs for scores in run.result.numbers[split].values() for name in scores
    }
    return [name for family in _OF_SUBSETS for name in family if name in names]
