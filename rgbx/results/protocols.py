"""Whether numbers may stand in one column: same data, same split, same protocol."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from rgbx.errors import RGBXError
from rgbx.results.find import Run
from rgbx.results.published import MEAN, OVERALL
from rgbx.results.records import TestResult

__all__ = ["Conflict", "Place", "by_protocol", "conflicts", "images_of", "refuse_conflicts"]

#: sentences of a protocol that hold for every score of prompts
_OF_PROMPTS = ("prompts", "confidence")
#: how predictions came to the size at which they were scored, which makes no other score
_ORIGIN = re.compile(
    r"(?<=at the size of each mask), "
    r"(logits resized bilinearly before the \w+|predictions read from files of that size)"
)
_SHOWN = 3  # conflicts in one sentence


@dataclass(frozen=True)
class Place:
    """Data set, split and metric: what a column of several subsets is about."""

    dataset: str
    split: str
    metric: str


@dataclass(frozen=True)
class Conflict:
    """Two runs that do not agree on what a number of a place is.

    Attributes:
        place: Where.
        what: "protocol", "prompts", "images", ...
        first: A run, and what it says.
        second: Another one, and what that says.
    """

    place: Place
    what: str
    first: tuple[Run, str]
    second: tuple[Run, str]


def conflicts(runs: Sequence[Run], shown: Collection[Place]) -> list[Conflict]:
    """Everything that forbids to rank these runs: each fact is compared with its first run's.

    Args:
        runs: The runs.
        shown: What is to be ranked; the rest may differ.
    """
    seen: dict[tuple[Place, str], tuple[Run, str]] = {}
    found: list[Conflict] = []
    for run in runs:
        for place, what, text in _facts(run.result):
            if place in shown:
                first = seen.setdefault((place, what), (run, text))
                if first[1] != text:
                    found.append(Conflict(place, what, first, (run, text)))
    return found


def by_protocol(runs: Sequence[Run], shown: Collection[Place]) -> list[list[Run]]:
    """The runs in groups that may be ranked, each run in the first group it agrees with."""
    groups: list[list[Run]] = []
    for run in runs:
        fitting = next((group for group in groups if not conflicts([*group, run], shown)), None)
        if fitting is None:
            groups.append([run])
        else:
            fitting.append(run)
    return groups


def refuse_conflicts(runs: Sequence[Run], shown: Collection[Place]) -> None:
    """Refuse to rank runs of different protocols.

    Raises:
        RGBXError: Names two files for each difference, what they say, and the way out.
    """
    found = conflicts(runs, shown)
    if not found:
        return
    texts: dict[tuple[str, str, str, str], list[Conflict]] = {}
    for one in found:
        pair = (str(one.first[0].path), str(one.second[0].path))
        texts.setdefault((*pair, one.first[1], one.second[1]), []).append(one)
    sentences = [_sentence(same) for same in list(texts.values())[:_SHOWN]]
    more = len(texts) - len(sentences)
    if more:
        sentences.append(f"and {more} more difference{'s' * (more > 1)}")
    raise RGBXError(
        "These runs follow different protocols and cannot be ranked in one table: "
        f"{'; '.join(sentences)}. Add --group for one table per protocol, or name fewer files."
    )


def images_of(result: TestResult, split: str) -> int | None:
    """Images that a split's scores rest on; of "mean" and "overall", those of all splits."""
    sizes = result.data.split_sizes
    if split not in (MEAN, OVERALL) or split in sizes:
        return sizes.get(split)
    return sum(sizes.get(name, 0) for name in result.numbers if name not in (MEAN, OVERALL))


def _facts(result: TestResult) -> Iterator[tuple[Place, str, str]]:
    """What has to agree, for every metric of every split: place, what, and the run's text."""
    protocol, data = result.protocol, result.data
    for split, subsets in result.numbers.items():
        general = {"images": f"{images_of(result, split)} images"}
        general["classes"] = ", ".join(data.class_names)
        if split in (MEAN, OVERALL):
            general[split] = protocol.get(split, "")
        for metric in dict.fromkeys(name for scores in subsets.values() for name in scores):
            facts = dict(general)
            text = protocol.get(metric) or protocol.get(metric.rpartition("/")[2], "")
            facts["protocol"] = _ORIGIN.sub("", text)
            if "/" in metric:
                facts |= {name: protocol[name] for name in _OF_PROMPTS if name in protocol}
            place = Place(data.dataset, split, metric)
            yield from ((place, what, text) for what, text in facts.items())


def _sentence(same: Sequence[Conflict]) -> str:
    """One difference, with the metrics that it concerns."""
    one = same[0]
    metrics = list(dict.fromkeys(c.place.metric for c in same))
    shown = ", ".join(metrics[:4]) + (", ..." if len(metrics) > 4 else "")
    (first, text), (second, other) = one.first, one.second
    where = f"{one.place.dataset} {one.place.split} ({shown})"
    if one.what == "images":
        return f"{where}: {first.path} was scored on {text}, {second.path} on {other}"
    what = "" if one.what == "protocol" else f" {one.what}"
    return f"{where}{what}: {first.path} says {_quoted(text)}, {second.path} {_quoted(other)}"


def _quoted(text: str) -> str:
    return f'"{text}"' if text else "nothing"
