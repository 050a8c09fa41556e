"""The form of the numbers that papers print, one ``published.yaml`` for each paper."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal

__all__ = [
    "MEAN",
    "METRICS",
    "SALIENCY",
    "Cost",
    "Published",
    "PublishedRow",
    "PublishedTable",
    "is_metric",
]

MEAN = "mean"  # the pseudo split: unweighted mean of all splits

#: Saliency scores in the order in which they are shown: the four that papers print come first.
SALIENCY = (
    *("S", "maxF", "maxE", "MAE"),
    *("meanF", "adpF", "wF", "meanE", "adpE", "IoU", "Dice"),
)
#: Names under which rgbx reports scores; a published number is believed to be one of them.
METRICS = (
    *("miou", "macc", "acc", "miou_fg", "miou_drop0", "miou_image"),
    *SALIENCY,
    *("mIoU", "mBIoU", "mSF", "BER", "mDice", "AP", "AP50"),
)
_KIND = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
Supervision = Literal["full", "scribble"]


def is_metric(name: str) -> bool:
    """Whether rgbx reports a score of this name: one of `METRICS`, or KIND/SCORE of prompts."""
    kind, slash, score = name.rpartition("/")
    return score in METRICS and (not slash or bool(_KIND.fullmatch(kind)))


@dataclasses.dataclass(frozen=True)
class PublishedRow:
    """One method's numbers as a paper prints them.

    A row has either one metric on several subsets (``believed`` and ``values``) or several metrics
    on the whole split (``scores``).

    Attributes:
        method: Name of the method.
        believed: The rgbx metric that the number is believed to be; papers seldom say.
        values: Subset ("all", "day", ...) -> number in the paper's unit.
        scores: rgbx metric -> number in the paper's unit; metrics of prompts are KIND/SCORE, as in
            "noisy_box/mIoU".
        own: Whether this is the paper's own method; if it has several variants, ``settings`` tells
            them apart.
        note: What a reader must know before comparing.
        classes: Class name -> IoU in the paper's unit, where printed.
        settings: The model's arguments that make this row.
    """

    method: str
    believed: str = ""
    values: dict[str, float] = dataclasses.field(default_factory=dict)
    scores: dict[str, float] = dataclasses.field(default_factory=dict)
    own: bool = False
    note: str = ""
    classes: dict[str, float] = dataclasses.field(default_factory=dict)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)

    def number(self, metric: str, subset: str) -> float | None:
        """What is printed for a metric on a subset, or None."""
        if subset == "all" and metric in self.scores:
            return self.scores[metric]
        return self.values.get(subset) if metric == self.believed else None

    def made_by(self, arguments: Mapping[str, Any]) -> bool:
        """Whether a model with these arguments is the one of this row."""
        return all(
            name in arguments and arguments[name] == value for name, value in self.settings.items()
        )

    @property
    def headline(self) -> float:
        """The number by which rows are sorted, best first: the first score, or the overall one."""
        return next(iter(self.scores.values())) if self.scores else self.values["all"]


@dataclasses.dataclass(frozen=True)
class PublishedTable:
    """One split's part of a table in the paper.

    Attributes:
        table: Number of the table in the paper.
        dataset: Name of the data module's class.
        split: Split of the data set, or "mean" (unweighted) of all of them.
        metric: The metric's name as printed.
        decimals: Decimals as printed.
        rows: The methods.
        images: Images in the split, where known; a run on another number is not comparable.
        supervision: Labels that the methods were trained on; shown beside runs on the same alone.
        note: What a reader must know before comparing.
        source: Where the numbers are printed if it is not in a table of this paper.
        unit: Unit of the scores if it is not the paper's.
    """

    table: str
    dataset: str
    split: str
    metric: str
    decimals: int
    rows: tuple[PublishedRow, ...]
    images: int | None = None
    supervision: Supervision = "full"
    note: str = ""
    source: str = ""
    unit: Literal["percent", "fraction"] | None = None


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one method needs, as printed; None where the paper has a dash.

    Attributes:
        parameters_millions: All parameters, in millions.
        gflops: For one image (pair), in 10^9.
        frames_per_second: On the paper's machine.
    """

    parameters_millions: float | None = None
    gflops: float | None = None
    frames_per_second: float | None = None


@dataclasses.dataclass(frozen=True)
class Published:
    """All numbers of one paper.

    Attributes:
        paper: Short name of the paper.
        title: Its title.
        unit: Unit of the scores: percent (77.6), or fraction of one (.934).
        comparisons: Its comparisons with other methods.
        ablations: Its ablations.
        trainable_millions: Method -> trainable parameters in millions, as printed.
        frames_per_second: Input size (w x h) -> speed of the own method, as printed.
        costs: Method -> what it needs.
    """

    paper: str
    title: str
    unit: Literal["percent", "fraction"]
    comparisons: tuple[PublishedTable, ...]
    ablations: tuple[PublishedTable, ...] = ()
    trainable_millions: dict[str, float] = dataclasses.field(default_factory=dict)
    frames_per_second: dict[str, float] = dataclasses.field(default_factory=dict)
    costs: dict[str, Cost] = dataclasses.field(default_factory=dict)

    def comparison(
        self, dataset: str, split: str, supervision: Supervision = "full"
    ) -> PublishedTable | None:
        """The comparison on one split of a data set, or None if the paper has none."""
        wanted = (dataset, split, supervision)
        found = (t for t in self.comparisons if (t.dataset, t.split, t.supervision) == wanted)
        return next(found, None)

    def unit_of(self, table: PublishedTable) -> Literal["percent", "fraction"]:
        """Unit of a table's scores."""
        return table.unit or self.unit
