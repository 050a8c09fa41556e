"""Sentences about the numbers that papers print: where they stand, and what papers leave open."""

from collections.abc import Iterable, Sequence

from rgbx.results.published import Published, PublishedRow, PublishedTable
from rgbx.results.records import TestResult
from rgbx.results.render.tables import printed

__all__ = ["ablation_notes", "published_notes"]


def ablation_notes(published: Published | None, result: TestResult, split: str) -> list[str]:
    """What the paper's ablation prints for this run's settings, if it is not the whole method."""
    if published is None:
        return []
    for table in published.ablations:
        if (table.dataset, table.split) != (result.data.dataset, split):
            continue
        for row in table.rows:
            if not row.own and row.settings and row.made_by(result.model.hyper_parameters):
                scores = row.scores or {row.assumed: row.values["all"]}
                text = ", ".join(
                    f"{metric} {printed(number, published.unit_of(table), table.decimals)}"
                    for metric, number in scores.items()
                )
                where = f"Table {table.table} of the {published.paper} paper"
                return [f"{where} prints for this run's settings ({row.method}): {text}."]
    return []


def published_notes(
    published: Published, tables: Sequence[PublishedTable], rows: Sequence[PublishedRow]
) -> list[str]:
    """Where the published rows come from, and what their paper leaves open.

    Args:
        published: The paper.
        tables: The parts of it that are shown.
        rows: Their rows, in the order shown.
    """
    printed_here = [t for t in tables if not t.source]
    numbers = " and ".join(
        dict.fromkeys(f"Table{'s' * (' ' in t.table)} {t.table}" for t in printed_here)
    )
    sources = [f"printed in {numbers} of the {published.paper} paper"] if numbers else []
    sources += dict.fromkeys(t.source for t in tables if t.source)
    notes = [f"published: {source}, not reproduced with rgbx." for source in sources]
    for metric in dict.fromkeys(row.assumed for row in rows if row.assumed):
        methods = _methods(row for row in rows if row.assumed == metric)
        notes.append(f"published and assumed to be {metric}: {methods}.")
    if any(table.supervision == "scribble" for table in tables):
        notes.append("Every method here was trained on scribbles, not on full masks.")
    notes += [f"{_capital(note)}." for note in dict.fromkeys(t.note for t in tables if t.note)]
    rows_printed = [row for row in rows if not row.inferred]
    notes += _row_notes(rows_printed) + _inferred_notes(rows)
    return notes + _cost_notes(published, rows_printed)


def _inferred_notes(rows: Iterable[PublishedRow]) -> list[str]:
    """What inferred rows are, and from what each was inferred."""
    inferred = [row for row in rows if row.inferred]
    general = "inferred: computed, printed nowhere and measured by nobody; not ranked."
    return [general, *_row_notes(inferred)] if inferred else []


def _row_notes(rows: Sequence[PublishedRow]) -> list[str]:
    notes = []
    for text in dict.fromkeys(row.note for row in rows if row.note):
        noted = [row for row in rows if row.note == text]
        notes.append(f"{_methods(noted)} ({noted[0].origin}): {text}.")
    return notes


def _cost_notes(published: Published, rows: Sequence[PublishedRow]) -> list[str]:
    notes = []
    for method in dict.fromkeys(row.method for row in rows if row.own):
        cost = published.costs.get(method)
        if cost is None:
            continue
        parts = (
            (cost.parameters_millions, "M parameters"),
            (cost.gflops, "GFLOPs"),
            (cost.frames_per_second, "frames per second"),
        )
        text = ", ".join(f"{value} {unit}" for value, unit in parts if value is not None)
        notes.append(f"{method} (published): {text}.")
    return notes


def _methods(rows: Iterable[PublishedRow]) -> str:
    return ", ".join(dict.fromkeys(row.method for row in rows))


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
