"""Scores as tidy records, measured and printed alike: one row per number, for pandas and R."""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from rgbx.metrics.catalogue import metric_info
from rgbx.results.columns import comparisons_of
from rgbx.results.find import Run
from rgbx.results.load import published_of
from rgbx.results.protocols import images_of
from rgbx.results.published import Published, PublishedRow, PublishedTable

__all__ = ["Record", "measured_records", "printed_records", "records_of", "to_tidy_csv"]


@dataclass(frozen=True)
class Record:
    """One number.

    Attributes:
        model: name of the model or of the printed method.
        source: "rgbx" for what was measured, else "published" or "inferred".
        paper: short name of the paper that a printed number is from; the folder of the model's.
        data: name of the data set's class.
        split: of the data set, or "mean" or "overall".
        subset: "all", or a part of the split such as "night".
        class_name: of one class; empty for the score of all.
        metric: name of the score.
        value: rate in [0, 1]; NaN where nothing was measured.
        higher_is_better: direction of the score.
        images: number of images it rests on, None where not known.
        protocol: what was averaged over what.
        seed: of the run, None where not known.
        settings: what else makes the run, as JSON.
        decimals: of the rate as printed in a paper; None for what was measured.
    """

    model: str
    source: str
    paper: str
    data: str
    split: str
    subset: str
    class_name: str
    metric: str
    value: float
    higher_is_better: bool
    images: int | None
    protocol: str
    seed: int | None
    settings: str
    decimals: int | None = None


def measured_records(run: Run) -> Iterator[Record]:
    """The numbers of one test, the scores of its classes after those of all."""
    result = run.result
    common: dict[str, Any] = {
        "model": run.name or result.model.class_path.rpartition(".")[2],
        "source": "rgbx",
        "paper": result.paper,
        "data": result.data.dataset,
        "seed": result.seed,
        "settings": _json({**result.model.hyper_parameters, **result.settings}),
    }

    def record(split: str, subset: str, metric: str, value: float, name: str = "") -> Record:
        return Record(
            **common,
            split=split,
            subset=subset,
            class_name=name,
            metric=metric,
            value=value,
            higher_is_better=metric_info(metric).higher_is_better,
            # of a subset the file does not say how many images it has
            images=images_of(result, split) if subset == "all" else None,
            protocol=result.protocol.get(metric.rpartition("/")[2], ""),
        )

    for split, subsets in result.numbers.items():
        for subset, scores in subsets.items():
            for metric, value in scores.items():
                yield record(split, subset, metric, value)
            for one in result.classes.get(split, {}).get(subset, ()):
                for metric, value in one.values.items():
                    yield record(split, subset, metric, value, one.name)


def printed_records(
    paper: Published, table: PublishedTable, row: PublishedRow, maybe: bool = False
) -> Iterator[Record]:
    """The numbers that a paper prints for one method, as rates.

    Args:
        paper: The paper.
        table: Its table.
        row: The method's row in it.
        maybe: Give a number also under the other scores that it may be, see `PublishedRow.maybe`.
    """
    scale, places = (100, 2) if paper.unit_of(table) == "percent" else (1, 0)
    found = [("all", metric, number) for metric, number in row.scores.items()]
    found += [(subset, row.assumed, number) for subset, number in row.values.items()]
    others = row.maybe.items() if maybe else ()
    found += [("all", other, row.scores[name]) for name, names in others for other in names]
    for subset, metric, number in found:
        yield Record(
            model=row.method,
            source=row.origin,
            paper=paper.paper,
            data=table.dataset,
            split=table.split,
            subset=subset,
            class_name="",
            metric=metric,
            value=round(number / scale, 10),
            higher_is_better=metric_info(metric).higher_is_better,
            images=table.images if subset == "all" else None,
            protocol=row.note or table.note,
            seed=None,
            settings=_json(row.settings),
            decimals=table.decimals + places,
        )


def records_of(runs: Sequence[Run], published: str = "all") -> list[Record]:
    """All numbers of tests, then what their papers print for the same splits.

    Args:
        runs: results of tests.
        published: "all" printed rows, the papers' "own" methods, or "none".
    """
    found = [record for run in runs for record in measured_records(run)]
    papers = {(run.result.paper, run.result.published): run for run in runs}
    for run in papers.values() if published != "none" else ():
        paper = published_of(run.result)
        if paper is None:
            continue
        for table in comparisons_of(paper.comparisons, runs):
            rows = [row for row in table.rows if row.own or published == "all"]
            found += [record for row in rows for record in printed_records(paper, table, row)]
    return found


def to_tidy_csv(records: Iterable[Record]) -> str:
    """Records as CSV, one line each; what is not known or NaN is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Record))
    for record in records:
        writer.writerow("" if _empty(value) else value for value in asdict(record).values())
    return text.getvalue()


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, default=str, sort_keys=True) if values else ""
