"""The sentences below a table: what forbids comparing, protocols, seeds, origin of the rows."""

from collections.abc import Callable, Sequence
from functools import partial

from rgbx.metrics.catalogue import INPUT
from rgbx.results.columns import Column
from rgbx.results.lines import Line, Sources
from rgbx.results.paper_notes import published_notes
from rgbx.results.protocols import images_of
from rgbx.results.published import MEAN, OVERALL, PublishedTable
from rgbx.results.records import TestResult
from rgbx.results.series import JoinedRow

__all__ = ["notes_below", "protocol_notes", "unequal_images"]


def notes_below(
    rows: Sequence[JoinedRow],
    columns: Sequence[Column],
    sources: Sources,
    lines: Sequence[Line],
    alone: bool = False,
) -> list[str]:
    """Everything a reader must know before comparing.

    Args:
        rows: What was measured.
        columns: What is shown of it.
        sources: The printed tables of the splits shown.
        lines: The printed lines that are shown.
        alone: Whether the rows are one run, whose seed is not said.
    """
    shown = {id(row) for line in lines for row in line.rows}
    sources = [(p, t) for p, t in sources if any(id(row) in shown for row in t.rows)]
    notes = _sizes(rows, columns, [table for _, table in sources], alone)
    notes += _where_rows_differ(rows, partial(_protocol, "choice"), "Checkpoint chosen on")
    notes = [note.upper() if "TEST SET" in note else note for note in notes]
    notes += _where_rows_differ(rows, partial(_protocol, "split"), "Split")
    notes += [] if alone else _seed_notes(rows)
    notes += _protocols(rows, columns)
    notes += _where_rows_differ(rows, partial(_protocol, "ablation"), "Ablation")
    scribbled = [row.label for row in rows if _any(row, lambda r: r.data.supervision != "full")]
    if scribbled and len(scribbled) < len(rows):
        notes.append(f"Trained on scribbles: {', '.join(scribbled)}.")
    for name in dict.fromkeys(paper.paper for paper, _ in sources):
        found = [(p, t) for p, t in sources if p.paper == name]
        of_paper = {id(row) for _, table in found for row in table.rows}
        own = [row for line in lines for row in line.rows if id(row) in of_paper]
        notes += published_notes(found[0][0], [table for _, table in found], own)
    return list(dict.fromkeys(notes))


def unequal_images(
    rows: Sequence[JoinedRow], tables: Sequence[PublishedTable]
) -> list[tuple[PublishedTable, int | None]]:
    """Printed tables of another number of images than the runs saw, and how many those were.

    Generated or partial data carries the data set's name but not its numbers.
    """
    found = []
    for table in tables:
        images = [
            images_of(run.result, table.split)
            for row in rows
            for run in row.runs.get(table.dataset, ())
            if table.split in run.result.numbers
        ]
        if table.possible_images and images and images[0] not in table.possible_images:
            found.append((table, images[0]))
    return found


def _sizes(
    rows: Sequence[JoinedRow],
    columns: Sequence[Column],
    tables: Sequence[PublishedTable],
    alone: bool,
) -> list[str]:
    datasets = {column.dataset for column in columns}
    several = len({(column.dataset, column.split) for column in columns}) > 1
    notes = []
    for table, images in unequal_images(rows, tables):
        where = f"{f'{table.dataset} ' * (len(datasets) > 1)}{table.split}"
        notes.append(
            f"NOT COMPARABLE: {'this run was' if alone else 'the runs were'} scored on {images} "
            f"images{f' of {where}' * several}, the published rows on "
            f"{' or '.join(map(str, table.possible_images))}"
            f"{'' if alone else '; each part is ranked on its own'}."
        )
    return notes


def _seed_notes(rows: Sequence[JoinedRow]) -> list[str]:
    """How many seeds each row rests on, and which."""
    if not rows:
        return []
    listed, texts = [], []
    for row in rows:
        seeds = {
            data: ", ".join(str(r.result.seed) for r in runs if r.result.seed is not None)
            for data, runs in row.runs.items()
        }
        if len(set(seeds.values())) == 1:
            text = next(iter(seeds.values())) or "unknown"
        else:
            text = "; ".join(f"{data} {found}" for data, found in seeds.items())
        count = max(map(len, row.runs.values()))
        texts.append(text)
        listed.append(f"{row.label} {count} run{'s' * (count > 1)} ({text})")
    if all(len(runs) == 1 for row in rows for runs in row.runs.values()):
        return [f"Seeds: one run per row{f' ({texts[0]})' * (len(set(texts)) == 1)}."]
    return [f"Seeds: {'; '.join(listed)}; several are given as mean ± sample standard deviation."]


def protocol_notes(result: TestResult, metrics: Sequence[str]) -> list[str]:
    """What was averaged over what, for each metric of the table; KIND/SCORE by its score."""
    names = [m if m in result.protocol else m.rpartition("/")[2] for m in metrics]
    known = [name for name in dict.fromkeys(names) if name in result.protocol]
    notes: dict[str, list[str]] = {}  # scores at network size may share a sentence
    for name in known:
        text = result.protocol[name]
        notes.setdefault(text if name.endswith(INPUT) else f"{name}: {text}", []).append(name)
    return [
        f"{', '.join(names)}: {text}." if names[0].endswith(INPUT) else f"{text}."
        for text, names in notes.items()
    ]


def _protocols(rows: Sequence[JoinedRow], columns: Sequence[Column]) -> list[str]:
    """The sentence of each metric, with the data set where data sets have different ones.

    Then what holds for every score: prompts, size of the input, what a mean is taken over.
    """
    results = [run.result for row in rows for runs in row.runs.values() for run in runs]
    shown: dict[int, list[Column]] = {}
    for column in columns:
        found = next((i for i, result in enumerate(results) if _has(result, column)), None)
        if found is not None:
            shown.setdefault(found, []).append(column)
    notes: dict[str, dict[str, None]] = {}
    for i, own in shown.items():
        for note in protocol_notes(results[i], [column.metric for column in own]):
            notes.setdefault(note, {})[own[0].dataset] = None
    heads = [note.partition(":")[0] for note in notes]
    sentences = [
        f"{', '.join(datasets)}, {note}" if heads.count(note.partition(":")[0]) > 1 else note
        for note, datasets in notes.items()
    ]
    prompted = any("/" in column.metric for column in columns)
    general = ["prompts", "confidence"] * prompted + ["input"]
    general += [name for name in (MEAN, OVERALL) if any(c.split == name for c in columns)]
    for name in general:
        sentences += _where_rows_differ(rows, partial(_protocol, name), name)
    return sentences


def _protocol(name: str, result: TestResult) -> str | None:
    return result.protocol.get(name)


def _has(result: TestResult, column: Column) -> bool:
    scores = result.numbers.get(column.split, {}).get(column.subset, {})
    return result.data.dataset == column.dataset and column.metric in scores


def _where_rows_differ(
    rows: Sequence[JoinedRow], fact: Callable[[TestResult], str | None], title: str
) -> list[str]:
    """A fact once if all runs share it, else each with the rows that it holds for."""
    found: dict[str, dict[str, None]] = {}
    missing = False
    for row in rows:
        for run in (run for runs in row.runs.values() for run in runs):
            text = fact(run.result)
            missing |= not text
            if text:
                found.setdefault(text, {})[row.label] = None
    if len(found) == 1 and not missing:
        return [f"{title}: {next(iter(found))}."]
    return [f"{title}: {text} ({', '.join(labels)})." for text, labels in found.items()]


def _any(row: JoinedRow, holds: Callable[[TestResult], bool]) -> bool:
    return any(holds(run.result) for runs in row.runs.values() for run in runs)
