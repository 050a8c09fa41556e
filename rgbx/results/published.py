"""The form of the numbers that papers print, one ``published.yaml`` for each paper."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from rgbx.metrics.catalogue import Unit, metric_info

__all__ = ["MEAN", "OVERALL", "Cost", "Published", "PublishedRow", "PublishedTable"]

MEAN = "mean"  # the pseudo split: unweighted mean of all splits
OVERALL = "overall"  # the pseudo split: the images of all splits as one set

Supervision = Literal["full", "scribble"]


@dataclasses.dataclass(frozen=True)
class PublishedRow:
    """One method's numbers as a paper prints them.

    A row has either one metric on several subsets (``assumed`` and ``values``) or several metrics
    on the whole split (``scores``).

    Attributes:
        method: Name of the method.
        assumed: The rgbx metric that the number is assumed to be; papers seldom say.
        values: Subset ("all", "day", ...) -> number in the paper's unit.
        scores: rgbx metric -> number in the paper's unit; metrics of prompts are KIND/SCORE, as in
            "noisy_box/mIoU".
        own: Whether this is the paper's own method; if it has several variants, ``settings`` tells
            them apart.
        note: What a reader must know before comparing.
        classes: Class name -> IoU in the paper's unit, where printed.
        settings: The model's arguments that make this row.
        maybe: Score -> other rgbx metrics that the printed number may be, where protocols differ
            by little; it is shown under these as well, and the note says why.
        inferred: The numbers are printed nowhere but computed from others, as the note says. They
            are marked, and not ranked among measured ones.
    """

    method: str
    assumed: str = ""
    values: dict[str, float] = dataclasses.field(default_factory=dict)
    scores: dict[str, float] = dataclasses.field(default_factory=dict)
    own: bool = False
    note: str = ""
    classes: dict[str, float] = dataclasses.field(default_factory=dict)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    maybe: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    inferred: bool = False

    def number(self, metric: str, subset: str) -> float | None:
        """What is printed for a metric on a subset, or None."""
        if subset == "all" and metric in self.scores:
            return self.scores[metric]
        for score, others in self.maybe.items():
            if subset == "all" and metric in others:
                return self.scores[score]
        return self.values.get(subset) if metric == self.assumed else None

    def made_by(self, arguments: Mapping[str, Any]) -> bool:
        """Whether a model with these arguments is the one of this row."""
        return _holds(arguments, self.settings)

    @property
    def headline(self) -> float:
        """By what rows are sorted, greatest first: the first score, or the overall number.

        Negative where less is better.
        """
        metric = next(iter(self.scores), self.assumed)
        number = self.scores[metric] if self.scores else self.values["all"]
        return number if metric_info(metric).higher_is_better else -number

    @property
    def origin(self) -> str:
        """What a table says of where the numbers come from."""
        return "inferred" if self.inferred else "published"


def _holds(arguments: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether arguments have the wanted values; a group of options may name some of its own."""
    for name, value in wanted.items():
        found = arguments.get(name, _holds)  # no value equals this function
        if isinstance(value, Mapping) and isinstance(found, Mapping):
            if not _holds(found, value):
                return False
        elif found != value:
            return False
    return True


@dataclasses.dataclass(frozen=True)
class PublishedTable:
    """One split's part of a table in the paper.

    Attributes:
        table: Number of the table in the paper.
        dataset: Name of the data module's class.
        split: Split of the data set, "mean" (unweighted) of all of them, or "overall" (all images).
        metric: The metric's name as printed.
        decimals: Decimals as printed.
        rows: The methods.
        images: Images in the split, where known; a run on another number is not comparable.
        supervision: Labels that the methods were trained on; shown next to runs on the same alone.
        note: What a reader must know before comparing.
        source: Where the numbers are printed if it is not in a table of this paper.
        unit: Unit of the scores if it is not the paper's.
        images_one_of: Numbers of images that are possible, where ``images`` is not known.
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
    unit: Unit | None = None
    images_one_of: tuple[int, ...] = ()

    @property
    def possible_images(self) -> tuple[int, ...]:
        """Numbers of images that the rows may rest on; empty where nothing is known."""
        return self.images_one_of if self.images is None else (self.images,)


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
        own_metrics: Scores that the catalogue does not know, of a model outside rgbx.
    """

    paper: str
    title: str
    unit: Unit
    comparisons: tuple[PublishedTable, ...]
    ablations: tuple[PublishedTable, ...] = ()
    trainable_millions: dict[str, float] = dataclasses.field(default_factory=dict)
    frames_per_second: dict[str, float] = dataclasses.field(default_factory=dict)
    costs: dict[str, Cost] = dataclasses.field(default_factory=dict)
    own_metrics: tuple[str, ...] = ()

    def comparison(
        self, dataset: str, split: str, supervision: Supervision = "full"
    ) -> PublishedTable | None:
        """The comparison on one split of a data set, or None if the paper has none."""
        wanted = (dataset, split, supervision)
        found = (t for t in self.comparisons if (t.dataset, t.split, t.supervision) == wanted)
        return next(found, None)

    def unit_of(self, table: PublishedTable) -> Unit:
        """Unit of a table's scores."""
        return table.unit or self.unit
