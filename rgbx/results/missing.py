"""Scores of a test with all modalities, without the visible image, and without X."""

import math
from collections.abc import Iterator

from rgbx.metrics.catalogue import metric_info
from rgbx.results.records import TestResult
from rgbx.results.render.tables import Row, Table, rate_text

__all__ = ["missing_tables"]

_LABELS = {"rgb": "without RGB", "x": "without X"}
_MOST = 6  # columns


def missing_tables(result: TestResult, name: str = "") -> Iterator[Table]:
    """One table per split; none if the test was not asked to leave modalities out.

    Args:
        result: of a test.
        name: of the run, for the title.
    """
    if not result.missing:
        return
    model = name or result.method
    for split, subsets in result.numbers.items():
        known = [metric for metric in subsets["all"] if metric_info(metric).rank <= 2]
        metrics = (known or list(subsets["all"]))[:_MOST]
        scores = {"all modalities": subsets["all"]}
        for modality, label in _LABELS.items():
            scores[label] = result.missing.get(modality, {}).get(split, {}).get("all", {})
        rows = tuple(
            Row(
                (
                    label,
                    *(
                        rate_text(found.get(metric, math.nan), metric_info(metric).unit)
                        for metric in metrics
                    ),
                ),
                own=label == "all modalities",
            )
            for label, found in scores.items()
        )
        title = f"{result.data.dataset} {split}, {model}: a modality is missing"
        note = result.protocol.get("missing", "")
        yield Table(title, ("Input", *metrics), rows, (note,) if note else ())
