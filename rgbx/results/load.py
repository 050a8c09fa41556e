"""Reading a paper's ``published.yaml``, and refusing numbers that cannot be."""

import dataclasses
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import yaml

from rgbx.errors import RGBXError
from rgbx.metrics.catalogue import is_metric
from rgbx.results.decode import DecodeError, decode
from rgbx.results.published import Published, PublishedRow, PublishedTable
from rgbx.results.records import TestResult

__all__ = ["load_published", "published_of"]

_LARGEST = {"percent": 100, "fraction": 1}


def load_published(paper_dir: str | Path) -> Published | None:
    """Read and check ``published.yaml`` of a paper.

    Args:
        paper_dir: Name of a folder below ``rgbx/models``; or a folder or a file elsewhere.

    Returns:
        The paper's numbers, or None if the folder has no ``published.yaml``.

    Raises:
        RGBXError: If the file is no YAML, a key is unknown or missing, or a number impossible.
    """
    models = resources.files("rgbx") / "models"
    found = models / paper_dir if isinstance(paper_dir, str) else paper_dir
    file = found if found.is_file() else found / "published.yaml"
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


def published_of(result: TestResult) -> Published | None:
    """The printed numbers of the paper that a result belongs to, if they are on this machine."""
    return load_published(Path(result.published) if result.published else result.paper)


def _check(published: Published) -> None:
    for name in ("trainable_millions", "frames_per_second"):
        _check_positive(name, getattr(published, name))
    for method, cost in published.costs.items():
        _check_positive(f"costs.{method}", dataclasses.asdict(cost))
    for table in (*published.comparisons, *published.ablations):
        where = f"table {table.table}, {table.dataset}"
        methods = [row.method for row in table.rows]
        if len(set(methods)) != len(methods):
            raise DecodeError(f"{where} lists a method twice")
        for row in table.rows:
            place = f"{where}, {row.method}"
            _check_metrics(row, place, published.own_metrics)
            _check_row(row, place, published.unit_of(table))
    for table in published.comparisons:
        _check_own(table.rows, f"table {table.table}, {table.dataset}")
    _check_places(published.comparisons)


def _check_positive(where: str, values: dict[str, float | None]) -> None:
    for key, value in values.items():
        if value is not None and not value > 0:
            raise DecodeError(f"{where}.{key} is {value}, not above 0")


def _check_row(row: PublishedRow, where: str, unit: str) -> None:
    if row.scores and (row.assumed or row.values):
        raise DecodeError(f"{where} has scores, so it takes neither assumed nor values")
    if not (row.scores or row.assumed):
        raise DecodeError(f"{where} has neither scores nor assumed and values")
    _check_origin(row, where)
    if not row.scores and "all" not in row.values:
        raise DecodeError(f"{where}: values has no 'all'")
    largest = _LARGEST[unit]
    for key, value in {**row.values, **row.scores, **row.classes}.items():
        if not 0 <= value <= largest:
            limits = f"not between 0 and {largest}"
            unit_name = " percent" if unit == "percent" else ", as fractions are"
            raise DecodeError(f"{where}: {key} is {value}, {limits}{unit_name}")


def _check_metrics(row: PublishedRow, where: str, known: Sequence[str]) -> None:
    for metric in row.scores or filter(None, (row.assumed,)):
        if not is_metric(metric) and metric not in known:
            key = "scores names" if row.scores else "assumed is"
            raise DecodeError(f"{where}: {key} {metric!r}, which rgbx does not report")


def _check_origin(row: PublishedRow, where: str) -> None:
    for score, others in row.maybe.items():
        if score not in row.scores:
            raise DecodeError(f"{where}: maybe names {score!r}, which scores has not")
        for other in others:
            if not is_metric(other) or other in row.scores:
                raise DecodeError(f"{where}: {score} is maybe {other!r}, which it cannot be")
    if row.inferred and not row.note:
        raise DecodeError(f"{where} is inferred, so it needs a note that says from what")


def _check_own(rows: Sequence[PublishedRow], where: str) -> None:
    """At most one own row, or several variants that their settings tell apart."""
    own = [row.settings for row in rows if row.own]
    variants = all(own) and all(a != b for i, a in enumerate(own) for b in own[:i])
    if len(own) > 1 and not variants:
        raise DecodeError(f"{where} has several own rows that their settings do not tell apart")


def _check_places(comparisons: Sequence[PublishedTable]) -> None:
    places = [(t.dataset, t.split, t.supervision) for t in comparisons]
    for place in places:
        if places.count(place) > 1:
            dataset, split, supervision = place
            raise DecodeError(
                f"there are two comparisons for {dataset} {split} with {supervision} supervision"
            )
