"""The file of an ablation: a configuration, and rows of what each changes in it."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rgbx.errors import RGBXError
from rgbx.jobs.settings import flat
from rgbx.results import load_published, tables_named
from rgbx.results.decode import DecodeError, decode
from rgbx.yaml_file import read_yaml

__all__ = ["Ablation", "AblationRow", "as_options", "read_ablation", "slug"]

#: decided by `rgbx ablate` itself
_OWN_KEYS = ("config", "ckpt_path", "seed_everything", "output", "trainer.logger")


@dataclasses.dataclass(frozen=True)
class AblationRow:
    """One row of the table.

    Attributes:
        name: What stands in the table, unique in the file.
        overrides: Dotted key of the configuration -> value.
        published: Name of the row in the paper's table, if it is another.
        runnable: False for a method that rgbx does not have; its printed numbers alone are shown.
        note: What a reader should know.
    """

    name: str
    overrides: dict[str, Any] = dataclasses.field(default_factory=dict)
    published: str = ""
    runnable: bool = True
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Ablation:
    """What an ablation file says.

    Attributes:
        title: Stands above the table.
        config: The configuration that the rows change, from the folder of the file.
        output: Folder of the runs and the table.
        metrics: Scores of the table, as test.json names them.
        rows: The rows, in the paper's order.
        paper: Folder name of the paper below ``rgbx/models``, for its printed numbers.
        table: Number of the paper's table.
        base: Changes that all rows share.
        splits: Splits to show; by default those of the paper.
    """

    title: str
    config: str
    output: str
    metrics: tuple[str, ...]
    rows: tuple[AblationRow, ...]
    paper: str = ""
    table: str = ""
    base: dict[str, Any] = dataclasses.field(default_factory=dict)
    splits: tuple[str, ...] = ()


def read_ablation(path: Path) -> Ablation:
    """Read and check an ablation file.

    Raises:
        RGBXError: It cannot be read, a key is unknown or missing, or rows cannot be told apart.
    """
    try:
        ablation = decode(Ablation, read_yaml(path, "ablation"))
        _check(ablation)
    except DecodeError as error:
        raise RGBXError(f"The ablation {path} cannot be used: {error}.") from error
    return ablation


def as_options(overrides: Mapping[str, Any]) -> list[str]:
    """Overrides as options of ``rgbx fit``: null, true and lists as JSON, text as it is."""
    found: list[str] = []
    for key, value in overrides.items():
        found += [f"--{key}", value if isinstance(value, str) else json.dumps(value)]
    return found


def slug(name: str) -> str:
    """A row's name as a folder name."""
    return re.sub(r"[^a-z0-9.]+", "_", name.lower().replace("+", " ")).strip("_.")


def _check(ablation: Ablation) -> None:
    if not ablation.rows:
        raise DecodeError("rows is empty")
    if not ablation.metrics:
        raise DecodeError("metrics is empty")
    folders: dict[str, str] = {}
    for row in ablation.rows:
        folder = slug(row.name)
        if not folder:
            raise DecodeError(f"the row {row.name!r} has no letter or digit in its name")
        if folder in folders:
            raise DecodeError(
                f"the rows {folders[folder]!r} and {row.name!r} would share the folder {folder}"
            )
        folders[folder] = row.name
        _check_keys(row.overrides, f"row {row.name!r}")
        if not row.runnable and row.overrides:
            raise DecodeError(f"row {row.name!r} is not runnable, so it takes no overrides")
    _check_keys(ablation.base, "base")
    _check_same(ablation)
    _check_published(ablation)


def _check_keys(overrides: Mapping[str, Any], where: str) -> None:
    for key in overrides:
        if key in _OWN_KEYS or key.startswith("trainer.logger"):
            raise DecodeError(f"{where} sets {key}, which `rgbx ablate` decides for every row")
        if not re.fullmatch(r"(model|data|trainer)(\.\w+)+", key):
            raise DecodeError(
                f"{where} sets {key!r}, which is no dotted key of model, data or trainer"
            )


def _check_same(ablation: Ablation) -> None:
    """Two rows that change the same things are a slip."""
    runnable = [row for row in ablation.rows if row.runnable]
    for i, row in enumerate(runnable):
        same = (o for o in runnable[:i] if flat(o.overrides) == flat(row.overrides))
        other = next(same, None)
        if other is not None:
            raise DecodeError(f"the rows {other.name!r} and {row.name!r} have the same overrides")


def _check_published(ablation: Ablation) -> None:
    """A printed row that a row names must be there."""
    if not ablation.paper:
        return
    published = load_published(ablation.paper)
    parts: Sequence[Any] = published.ablations + published.comparisons if published else ()
    datasets = dict.fromkeys(part.dataset for part in parts)
    known = {
        row.method
        for dataset in datasets
        for part in tables_named(published, ablation.table, dataset)
        for row in part.rows
    }
    if ablation.table and published is not None and not known:
        raise DecodeError(f"{published.paper} has no Table {ablation.table} in published.yaml")
    for row in ablation.rows:
        if row.published and row.published not in known:
            raise DecodeError(
                f"row {row.name!r} names the printed row {row.published!r}, which Table "
                f"{ablation.table} does not have; it has {', '.join(sorted(known))}"
            )
