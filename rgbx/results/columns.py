"""Which numbers a table of several runs shows, in the order of the papers."""

from collections.abc import Sequence
from dataclasses import dataclass

from rgbx.errors import RGBXError
from rgbx.metrics.catalogue import CATALOGUE, family_metrics, metric_info
from rgbx.results.families import kind_label, kind_of, score_of
from rgbx.results.find import Run
from rgbx.results.protocols import Place
from rgbx.results.published import MEAN, PublishedTable
from rgbx.results.records import TestResult

__all__ = [
    "Column",
    "columns_of",
    "comparisons_of",
    "family_of",
    "names_of",
    "refuse_unknown",
]

#: scores that papers print side by side; the families that a run has are shown
_MAPS = [m.name for m in CATALOGUE if m.family in ("saliency", "shadow", "polyp")]
_FAMILIES = (
    family_metrics("polyp", 1),
    family_metrics("shadow", 1),
    family_metrics("saliency", 2),
    family_metrics("classes", 1),
    family_metrics("instances", 1),
)


@dataclass(frozen=True)
class Column:
    """One column of numbers: data set, split, subset ("all", "day", ...) and metric."""

    dataset: str
    split: str
    subset: str
    metric: str

    @property
    def place(self) -> Place:
        """What its protocol is about."""
        return Place(self.dataset, self.split, self.metric)

    @property
    def heading(self) -> str:
        """Name of the score, with the subset if it is a part and an arrow if less is better."""
        score = score_of(self.metric)
        arrow = "↓" if not metric_info(self.metric).higher_is_better else ""
        return f"{score}{arrow}" if self.subset == "all" else f"{score}{arrow} {self.subset}"

    def group(self, several_sets: bool, several_splits: bool) -> str:
        """What stands above it: data set, split and kind of prompt, as far as they differ."""
        kind = kind_of(self.metric)
        named = self.split not in ("test", MEAN)
        parts = [self.dataset if several_sets or not (kind or named) else ""]
        parts.append(self.split if named and (several_splits or not kind) else "")
        parts.append(kind_label(kind) if kind else "")
        return " ".join(dict.fromkeys(part for part in parts if part))


def family_of(result: TestResult) -> str:
    """What kind of scores a result has; results of different kinds share no table."""
    names = {
        name.partition("@")[0]
        for subsets in result.numbers.values()
        for scores in subsets.values()
        for name in scores
    }
    if any("/" in name for name in names):
        return "prompts"
    if "miou" in names:
        return "classes"
    return "maps" if not names.isdisjoint(_MAPS) else "other"


def columns_of(
    runs: Sequence[Run],
    comparisons: Sequence[PublishedTable],
    metrics: Sequence[str] = (),
    splits: Sequence[str] = (),
) -> list[Column]:
    """The columns of a table, data set by data set and split by split.

    By default a split shows the scores that papers print for it where there is a published table,
    else those of the families that its runs have; whole-set and per-image mIoU always come
    together, as papers seldom say which they print. Of data sets whose mean was measured, the mean
    alone is shown. Kinds of prompts that papers print come first.

    Args:
        runs: Of one family.
        comparisons: Published tables of their data sets.
        metrics: Names of scores (without kind of prompt) to show instead; "all" shows every one.
        splits: Splits to show instead.
    """
    places: dict[tuple[str, str], dict[tuple[str, str], None]] = {}
    for run in runs:
        for split, subsets in run.result.numbers.items():
            names = places.setdefault((run.result.data.dataset, split), {})
            for subset in sorted(subsets, key=lambda name: name == "all"):
                names.update({(subset, metric): None for metric in subsets[subset]})
    with_mean = {dataset for dataset, split in places if split == MEAN}
    found: list[Column] = []
    for (dataset, split), names in places.items():
        if split not in splits if splits else dataset in with_mean and split != MEAN:
            continue
        printed = [t for t in comparisons if (t.dataset, t.split) == (dataset, split)]
        wanted = metrics or _default_metrics([metric for _, metric in names], printed)
        found += [
            Column(dataset, split, subset, metric)
            for subset, metric in _ordered(names, wanted, _kinds_of(printed))
        ]
    return found


def comparisons_of(tables: Sequence[PublishedTable], runs: Sequence[Run]) -> list[PublishedTable]:
    """Those of a paper's comparisons that belong next to the runs."""
    wanted = {
        (run.result.data.dataset, split, run.result.data.supervision)
        for run in runs
        for split in run.result.numbers
    }
    return [t for t in tables if (t.dataset, t.split, t.supervision) in wanted]


def _default_metrics(names: Sequence[str], printed: Sequence[PublishedTable]) -> list[str]:
    """Scores without their kind of prompt, in order."""
    scores = dict.fromkeys(score_of(name) for name in names)
    of_papers = dict.fromkeys(
        score_of(name)
        for table in printed
        for row in table.rows
        for name in (row.scores or (row.assumed,))
    )
    found = [name for name in of_papers if name in scores and not name.startswith("miou")]
    if not found:
        found = [name for family in _FAMILIES for name in family if name in scores]
    elif "miou" in scores:
        found = ["miou", "miou_image", *found]
    if any("/" in name for name in names):
        known = (*family_metrics("prompts"), *family_metrics("instances"))
        found = [name for name in scores if name in known]
    return found or list(scores)


def _kinds_of(printed: Sequence[PublishedTable]) -> list[str]:
    """Kinds of prompts in the first rows of published tables."""
    return [kind_of(name) for table in printed for name in table.rows[0].scores]


def _ordered(
    names: dict[tuple[str, str], None], wanted: Sequence[str], first: Sequence[str]
) -> list[tuple[str, str]]:
    """(subset, metric) pairs: by kind of prompt, then by score, then by subset."""
    there = dict.fromkeys(kind_of(metric) for _, metric in names)
    kinds = dict.fromkeys([*(kind for kind in first if kind in there), *there])
    scores = dict.fromkeys(score_of(metric) for _, metric in names)
    chosen = list(scores) if "all" in wanted else list(wanted)
    return [
        (subset, metric)
        for kind in kinds
        for score in chosen
        for subset, metric in names
        if metric == (f"{kind}/{score}" if kind else score)
    ]


def names_of(runs: Sequence[Run]) -> tuple[set[str], set[str]]:
    """Splits and scores (without kind of prompt) that any of the runs has."""
    numbers = [(s, n) for run in runs for s, v in run.result.numbers.items() for n in v.values()]
    return (
        {split for split, _ in numbers},
        {score_of(name) for _, found in numbers for name in found},
    )


def refuse_unknown(runs: Sequence[Run], metrics: Sequence[str], splits: Sequence[str]) -> None:
    """Check what is to be shown.

    Raises:
        RGBXError: A metric or split that no run has.
    """
    known_splits, scores = names_of(runs)
    scores_asked_for = [name for name in metrics if name != "all"]
    wanted = (("metric", scores_asked_for, scores), ("split", splits, known_splits))
    for what, names, known in wanted:
        for name in names:
            if name not in known:
                raise RGBXError(
                    f"No run has the {what} {name!r}; there are {', '.join(sorted(known))}."
                )
