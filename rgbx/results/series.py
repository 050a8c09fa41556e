"""Which runs stand in one table, and which of them are one row: those that differ in the seed."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rgbx.results.columns import family_of
from rgbx.results.find import Run

__all__ = ["JoinedRow", "joined_rows", "parts_of"]

_OF_DATA = ("num_classes", "class_names")  # decided by the data set, not by the model
_SHOWN = 3  # settings in a label


@dataclass(frozen=True)
class JoinedRow:
    """One model in a table.

    Attributes:
        label: Its name, with what tells it from others of its class.
        runs: Data set -> the runs on it, one per seed.
    """

    label: str
    runs: dict[str, tuple[Run, ...]]


def joined_rows(runs: Sequence[Run]) -> list[JoinedRow]:
    """Rows in the order of their first run.

    Runs are repetitions of each other if name, model, arguments, data set, labels, settings and
    kind of checkpoint ("best", "last") agree and their seeds differ; the same checkpoint tested
    twice counts once, the later test. Two trainings with the same seed stay apart. One model on
    several data sets is one row if each has one series of runs.
    """
    series: dict[str, list[Run]] = {}
    for run in runs:
        series.setdefault(_key(run, whole=True), []).append(run)
    apart = [part for group in series.values() for part in _by_seed(_newest(group))]
    models: dict[str, list[list[Run]]] = {}
    for part in apart:
        models.setdefault(_key(part[0], whole=False), []).append(part)
    rows = []
    for parts in models.values():
        datasets = [part[0].result.data.dataset for part in parts]
        if len(set(datasets)) == len(datasets):
            rows.append(parts)
        else:
            rows += [[part] for part in parts]
    labels = _labels([row[0][0] for row in rows])
    return [
        JoinedRow(label, {part[0].result.data.dataset: tuple(part) for part in row})
        for label, row in zip(labels, rows, strict=True)
    ]


def _newest(runs: Sequence[Run]) -> list[Run]:
    """Each checkpoint once, as its latest test saw it."""
    latest: dict[tuple[str, int | None], Run] = {}
    for run in runs:
        key = (run.result.checkpoint.sha256 or str(run.path), run.result.seed)
        if key not in latest or latest[key].result.date < run.result.date:
            latest[key] = run
    return list(latest.values())


def _by_seed(runs: Sequence[Run]) -> list[list[Run]]:
    """All runs together, or each alone if seeds repeat or are unknown."""
    seeds = [run.result.seed for run in runs]
    if len(set(seeds)) < len(seeds) or (len(seeds) > 1 and None in seeds):
        return [[run] for run in runs]
    return [sorted(runs, key=lambda run: run.result.seed or 0)]


def _key(run: Run, whole: bool) -> str:
    """What repetitions share; without ``whole``, what one model shares over data sets."""
    facts: dict[str, Any] = _facts(run, training=whole)
    facts["name"] = run.name
    facts["class"] = run.result.model.class_path
    if whole:
        facts["dataset"] = run.result.data.dataset
    return json.dumps(facts, sort_keys=True, default=str)


def _facts(run: Run, training: bool) -> dict[str, Any]:
    """What may tell two rows of one class apart, as flat keys."""
    result = run.result
    facts = {
        key: value for key, value in result.model.hyper_parameters.items() if key not in _OF_DATA
    }
    if isinstance(facts.get("weights"), Mapping) and facts["weights"].get("path"):
        facts["weights"] = Path(str(facts["weights"]["path"])).name
    if training:
        known = {f"model.{key}" for key in facts}
        facts |= {k: v for k, v in result.settings.items() if k not in known}
    if result.data.supervision != "full":
        facts["labels"] = result.data.supervision
    if "ablation" in result.protocol:
        facts["input"] = result.protocol["ablation"].partition(" (")[0]
    kind = re.match("[A-Za-z]*", result.checkpoint.file)
    facts["checkpoint"] = kind.group() if kind else ""
    return facts


def _labels(runs: Sequence[Run]) -> list[str]:
    """The given name or the class, with what differs between rows of the same name."""
    names = [run.name or run.result.method for run in runs]
    labels = list(names)
    for name in dict.fromkeys(names):
        places = [i for i, other in enumerate(names) if other == name]
        if len(places) > 1:
            details = _details([runs[i] for i in places])
            for place, detail in zip(places, details, strict=True):
                labels[place] = f"{name} ({detail})" if detail else name
    return labels


def _details(runs: Sequence[Run]) -> list[str]:
    """The settings that differ if they are few and tell the runs apart, else their folders."""
    facts = [_facts(run, training=True) for run in runs]
    texts = [{key: _text(value) for key, value in one.items()} for one in facts]
    keys = dict.fromkeys(key for one in texts for key in one)
    differing = [key for key in keys if len({one.get(key, "-") for one in texts}) > 1]
    if 0 < len(differing) <= _SHOWN:
        found = [
            ", ".join(f"{k.rpartition('.')[2]} {one[k]}" for k in differing if k in one)
            for one in texts
        ]
        if len(set(found)) == len(found):
            return found
    return _folders([run.path for run in runs])


def _folders(paths: Sequence[Path]) -> list[str]:
    """The parts of the paths that are not common to all of them at the start or the end."""
    parts = [path.resolve().parts for path in paths]
    start = 0
    while all(len(p) > start + 1 and p[start] == parts[0][start] for p in parts):
        start += 1
    end = 1
    while all(len(p) - end > start and p[-end] == parts[0][-end] for p in parts):
        end += 1
    return ["/".join(p[start : len(p) - end + 1]) for p in parts]


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return json.dumps(value, default=str) if not isinstance(value, str) else value


def parts_of(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs for one table each, in the order of their first run.

    Those of a table have scores of one kind, and its data sets are linked by models that were
    tested on several of them: a table whose rows have no column in common compares nothing.
    """
    families: dict[str, list[Run]] = {}
    for run in runs:
        families.setdefault(family_of(run.result), []).append(run)
    return [
        [run for run in members if run.result.data.dataset in linked]
        for members in families.values()
        for linked in _linked(members)
    ]


def _linked(runs: Sequence[Run]) -> list[set[str]]:
    """Data sets that rows reach from one another."""
    found = [{run.result.data.dataset} for run in runs]
    for row in joined_rows(runs):
        touched = [group for group in found if not group.isdisjoint(row.runs)]
        found = [group for group in found if group.isdisjoint(row.runs)]
        found.append(set().union(*touched))
    order = list(dict.fromkeys(run.result.data.dataset for run in runs))
    return sorted(found, key=lambda group: min(order.index(name) for name in group))
