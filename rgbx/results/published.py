"""Numbers that papers print, from each paper's ``published.yaml``."""

import dataclasses
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from rgbx.errors import RGBXError
from rgbx.results.decode import DecodeError, decode

__all__ = ["Published", "PublishedRow", "PublishedTable", "load_published"]

#: Names under which rgbx reports scores; a published number is believed to be one of them.
METRICS = (
    *("miou", "macc", "acc", "miou_fg", "miou_drop0", "miou_image"),
    *("S", "maxF", "meanF", "adpF", "wF", "maxE", "meanE", "adpE", "MAE"),
    *("mIoU", "mBIoU", "mSF", "BER", "mDice"),
)


@dataclasses.dataclass(frozen=True)
class PublishedRow:
    """One method's numbers as a paper prints them.

    Attributes:
        method: Name of the method.
        believed: The rgbx metric that the number is believed to be; papers seldom say.
        values: Subset ("all", "day", ...) -> number in percent.
        own: Whether this is the paper's own method.
        note: What a reader must know before comparing.
        classes: Class name -> IoU in percent, where printed.
        settings: For an ablation, the model's arguments that make this row.
    """

    method: str
    believed: str
    values: dict[str, float]
    own: bool = False
    note: str = ""
    classes: dict[str, float] = dataclasses.field(default_factory=dict)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class PublishedTable:
    """One data set's part of a table in the paper.

    Attributes:
        table: Number of the table in the paper.
        dataset: Name of the data module's class.
        split: Split of the data set.
        metric: The metric's name as printed.
        decimals: Decimals as printed.
        rows: The methods.
        images: Images in the split, where known; a run on another number is not comparable.
        note: What a reader must know before comparing.
    """

    table: str
    dataset: str
    split: str
    metric: str
    decimals: int
    rows: tuple[PublishedRow, ...]
    images: int | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Published:
    """All numbers of one paper.

    Attributes:
        paper: Short name of the paper.
        title: Its title.
        unit: Unit of all scores.
        trainable_millions: Method -> trainable parameters in millions, as printed.
        frames_per_second: Input size (w x h) -> speed, as printed.
        comparisons: Its comparisons with other methods.
        ablations: Its ablations.
    """

    paper: str
    title: str
    unit: Literal["percent"]
    trainable_millions: dict[str, float]
    frames_per_second: dict[str, float]
    comparisons: tuple[PublishedTable, ...]
    ablations: tuple[PublishedTable, ...] = ()

    def comparison(self, dataset: str, split: str) -> PublishedTable | None:
        """The comparison on one split of a data set, or None if the paper has none."""
        found = (t for t in self.comparisons if (t.dataset, t.split) == (dataset, split))
        return next(found, None)


def load_published(paper_dir: str | Path) -> Published | None:
    """Read and check ``published.yaml`` of a paper.

    Args:
        paper_dir: Name of a folder below ``rgbx/models``, or a folder elsewhere.

    Returns:
        The paper's numbers, or None if the folder has no ``published.yaml``.

    Raises:
        RGBXError: If the file is no YAML, a key is unknown or missing, or a number impossible.
    """
    models = resources.files("rgbx") / "models"
    folder = models / paper_dir if isinstance(paper_dir, str) else paper_dir
    file = folder / "published.yaml"
    if not file.is_file():
        return None
    try:
        published = decode(Published, yaml.safe_load(file.read_text(encoding="utf-8")))
        _check(published)
    except yaml.YAMLError as error:
        raise RGBXError(f"{file} is not readable YAML: {' '.join(str(error).split())}.") from error
    except DecodeError as error:
        raise RGBXError(f"{file} cannot be used: {error}.") from error
    return published


def _check(published: Published) -> None:
    for name in ("trainable_millions", "frames_per_second"):
        for key, value in getattr(published, name).items():
            if not value > 0:
                raise DecodeError(f"{name}.{key} is {value}, not above 0")
    for table in (*published.comparisons, *published.ablations):
        where = f"table {table.table}, {table.dataset}"
        methods = [row.method for row in table.rows]
        if len(set(methods)) != len(methods):
            raise DecodeError(f"{where} lists a method twice")
        for row in table.rows:
            _check_row(row, f"{where}, {row.method}")
    for table in published.comparisons:
        if sum(row.own for row in table.rows) != 1:
            raise DecodeError(f"table {table.table}, {table.dataset} has not exactly one own row")


def _check_row(row: PublishedRow, where: str) -> None:
    if row.believed not in METRICS:
        raise DecodeError(f"{where}: believed is {row.believed!r}, which rgbx does not report")
    if "all" not in row.values:
        raise DecodeError(f"{where}: values has no 'all'")
    for key, value in {**row.values, **row.classes}.items():
        if not 0 <= value <= 100:
            raise DecodeError(f"{where}: {key} is {value}, not between 0 and 100 percent")
