"""The sentences below a table of several runs: protocol, seeds, choice, origin of printed rows."""

from collections.abc import Callable, Sequence

from rgbx.results.columns import JoinedColumn
from rgbx.results.notes import protocol_notes, published_notes
from rgbx.results.published import MEAN, OVERALL, Published, PublishedRow, PublishedTable
from rgbx.results.records import TestResult
from rgbx.results.series import JoinedRow

__all__ = ["joined_notes"]

_GENERAL = ("prompts", "confidence", MEAN)
_POOLED = (MEAN, OVERALL)


def joined_notes(
    rows: Sequence[JoinedRow],
    columns: Sequence[JoinedColumn],
    sources: Sequence[tuple[Published, PublishedTable]],
    printed: Sequence[PublishedRow],
    incomparable: Sequence[tuple[PublishedTable, int | None]],
) -> list[str]:
    """Everything a reader must know before comparing.

    Args:
        rows: What was measured.
        columns: What is shown of it.
        sources: The published tables that are shown.
        printed: Those of their rows that are shown.
        incomparable: Those of another number of images than the runs saw, and that number.
    """
    results = [run.result for row in rows for runs in row.runs.values() for run in runs]
    notes = [
        f"NOT COMPARABLE: the runs were scored on {images} images of {table.dataset} "
        f"{table.split}, the published rows on "
        f"{' or '.join(map(str, table.possible_images))}; each part is ranked on its own."
        for table, images in incomparable
    ]
    notes += _where_rows_differ(rows, lambda r: r.protocol.get("choice"), "Checkpoint chosen on")
    notes = [note.upper() if "TEST SET" in note else note for note in notes]
    notes += _seed_notes(rows)
    notes += _protocols(results, columns)
    notes += _where_rows_differ(rows, lambda r: r.protocol.get("input"), "input")
    notes += _where_rows_differ(rows, lambda r: r.protocol.get("ablation"), "Ablation")
    scribbled = [row.label for row in rows if _any(row, lambda r: r.data.supervision != "full")]
    if scribbled and len(scribbled) < len(rows):
        notes.append(f"Trained on scribbles: {', '.join(scribbled)}.")
    for paper in dict.fromkeys(paper.paper for paper, _ in sources):
        found = next(p for p, _ in sources if p.paper == paper)
        tables = [table for p, table in sources if p.paper == paper]
        own = [row for t in tables for row in t.rows if any(row is other for other in printed)]
        notes += published_notes(found, tables, own)
    return list(dict.fromkeys(notes))


def _seed_notes(rows: Sequence[JoinedRow]) -> list[str]:
    """How many seeds each row rests on, and which."""
    parts = []
    if not rows:
        return []
    for row in rows:
        seeds = {
            data: [str(run.result.seed) for run in runs if run.result.seed is not None]
            for data, runs in row.runs.items()
        }
        texts = dict.fromkeys(", ".join(found) or "unknown" for found in seeds.values())
        if len(texts) == 1:
            parts.append((row, f"{next(iter(texts))}", max(map(len, row.runs.values()))))
        else:
            text = "; ".join(f"{data} {', '.join(found)}" for data, found in seeds.items())
            parts.append((row, text, max(map(len, row.runs.values()))))
    if all(count == 1 for *_, count in parts):
        seeds_text = dict.fromkeys(text for _, text, _ in parts)
        which = f" ({next(iter(seeds_text))})" if len(seeds_text) == 1 else ""
        return [f"Seeds: one run per row{which}."]
    listed = "; ".join(
        f"{row.label} {count} run{'s' * (count > 1)} ({text})" for row, text, count in parts
    )
    return [f"Seeds: {listed}; several are given as mean ± sample standard deviation."]


def _protocols(results: Sequence[TestResult], columns: Sequence[JoinedColumn]) -> list[str]:
    """The sentence of each metric; with the data set where data sets have different ones."""
    notes: dict[str, list[str]] = {}
    for column in columns:
        result = next((r for r in results if _has(r, column)), None)
        if result is None:
            continue
        general = _GENERAL if "/" in column.metric else ()
        if column.split in _POOLED:
            general = (*general, column.split)
        for note in protocol_notes(result, [column.metric, *general]):
            notes.setdefault(note, []).append(column.dataset)
    heads = [note.partition(":")[0] for note in notes]
    return [
        f"{', '.join(dict.fromkeys(datasets))}, {note}"
        if heads.count(note.partition(":")[0]) > 1
        else note
        for note, datasets in notes.items()
    ]


def _has(result: TestResult, column: JoinedColumn) -> bool:
    return result.data.dataset == column.dataset and column.metric in result.numbers.get(
        column.split, {}
    ).get(column.subset, {})


def _where_rows_differ(
    rows: Sequence[JoinedRow], fact: Callable[[TestResult], str | None], title: str
) -> list[str]:
    """A fact once if all runs share it, else each with the rows that it holds for."""
    found: dict[str, dict[str, None]] = {}
    missing = False
    for row in rows:
        for runs in row.runs.values():
            for run in runs:
                text = fact(run.result)
                missing |= not text
                if text:
                    found.setdefault(text, {})[row.label] = None
    if len(found) == 1 and not missing:
        return [f"{title}: {next(iter(found))}."]
    return [f"{title}: {text} ({', '.join(labels)})." for text, labels in found.items()]


def _any(row: JoinedRow, holds: Callable[[TestResult], bool]) -> bool:
    return any(holds(run.result) for runs in row.runs.values() for run in runs)
