"""Scores of maps come in families and at two sizes: which of them share a table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rgbx.metrics.catalogue import INPUT, Unit, family_metrics, metric_info, plain_name
from rgbx.results.published import Published, PublishedTable

__all__ = [
    "ScoreGroup",
    "compact_metrics",
    "groups_of",
    "kind_label",
    "kind_of",
    "score_of",
    "unit_of",
    "units_shown",
]

_TITLES = {
    "saliency": "saliency scores",
    "shadow": "balanced error rate",
    "polyp": "Dice and IoU",
}


class ScoreGroup(NamedTuple):
    """The scores of one family at one size: the columns of one table.

    Attributes:
        family: The family.
        suffix: "@input" for scores at the size of the network's input, else "".
        metrics: Names in the result, in the order of the columns.
    """

    family: str
    suffix: str
    metrics: tuple[str, ...]

    @property
    def title(self) -> str:
        """What they are, for the title of a table that is one of several."""
        return f"{_TITLES[self.family]}{' at network size' * bool(self.suffix)}"


def groups_of(numbers: Mapping[str, float]) -> list[ScoreGroup]:
    """The families that a split was scored in, first at the size of the masks.

    Args:
        numbers: Metric -> value.

    Returns:
        A group for each family and size with scores; none for scores of classes and prompts.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for name in numbers:
        family = metric_info(name).family
        if family in _TITLES:
            found.setdefault((INPUT if name.endswith(INPUT) else "", family), []).append(name)
    groups = []
    for (suffix, family), names in sorted(found.items(), key=lambda item: item[0][0]):
        order = family_metrics(family).index
        names = sorted(names, key=lambda name: order(plain_name(name)))
        groups.append(ScoreGroup(family, suffix, tuple(names)))
    return groups


def compact_metrics(
    groups: Iterable[ScoreGroup], suffix: str, tables: Iterable[PublishedTable]
) -> list[str]:
    """The few scores that are shown where several splits stand side by side.

    Of saliency alone the four that the paper's rows print, or S, max F, max E and MAE.

    Args:
        groups: Of one of the splits.
        suffix: The size.
        tables: What the paper has for the splits.
    """
    groups = [group for group in groups if group.suffix == suffix]
    if len(groups) > 1 or any(group.family != "saliency" for group in groups):
        wanted = [name for group in groups for name in family_metrics(group.family, rank=1)]
    else:
        rows = [row for table in tables for row in table.rows]
        printed = max((list(row.scores) for row in rows), key=len, default=[])
        usual = family_metrics("saliency", rank=2)
        wanted = [name for name in printed if name in family_metrics("saliency")]
        wanted = wanted if len(wanted) == len(usual) else list(usual)
    measured = {plain_name(name): name for group in groups for name in group.metrics}
    return [measured.get(name, f"{name}{suffix}") for name in wanted]


def unit_of(metric: str, sources: Iterable[tuple[Published, PublishedTable]] = ()) -> Unit:
    """The unit that a score is shown in.

    Args:
        metric: Its name in the result.
        sources: Papers' tables of the split; the first that prints a score of the same family
            gives its unit.

    Returns:
        Without such a table the unit of the catalogue.
    """
    info = metric_info(metric)
    for paper, table in sources:
        names = {name for row in table.rows for name in (*row.scores, row.assumed) if name}
        if any(metric_info(name).family == info.family for name in names):
            return paper.unit_of(table)
    return info.unit


def units_shown(
    title: str, headings: Sequence[str], units: Sequence[Unit]
) -> tuple[str, tuple[str, ...]]:
    """Title and headings of the number columns, percent marked: once, or where units are mixed."""
    if "fraction" not in units:
        return f"{title} (%)", tuple(headings)
    marked = (f"{h}{' %' * (u == 'percent')}" for h, u in zip(headings, units, strict=True))
    return title, tuple(marked)


def kind_of(name: str) -> str:
    """The kind of prompt in "KIND/SCORE"; empty for other scores."""
    return name.rpartition("/")[0]


def score_of(name: str) -> str:
    """The score in "KIND/SCORE"; the name itself for other scores."""
    return name.rpartition("/")[2]


def kind_label(kind: str) -> str:
    """A kind of prompt as a heading: "point_3" is "3 points", "box" the "tight box"."""
    name, _, number = kind.partition("_")
    if name == "point" and number.isdigit():
        return f"{number} point{'s' * (number != '1')}"
    return "tight box" if kind == "box" else kind.replace("_", " ")
