"""The sentences below a benchmark table: protocols, origin of the rows, what forbids comparing."""

from collections.abc import Iterable, Sequence

from rgbx.metrics.catalogue import INPUT
from rgbx.results.protocols import images_of
from rgbx.results.published import Published, PublishedRow, PublishedTable
from rgbx.results.records import TestResult
from rgbx.results.render.tables import printed

__all__ = [
    "ablation_notes",
    "choice_notes",
    "inferred_notes",
    "protocol_notes",
    "published_notes",
    "size_warning",
]


def choice_notes(result: TestResult) -> list[str]:
    """What chose the checkpoint, where the run knows; in capitals when it was the test set.

    Then how train and test were divided, where the data set has several ways.
    """
    notes = []
    choice = result.protocol.get("choice")
    if choice:
        note = f"Checkpoint chosen on: {choice}."
        notes.append(note.upper() if "TEST SET" in choice else note)
    split = result.protocol.get("split")
    return notes + [f"Split: {split}."] * bool(split)


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


def size_warning(result: TestResult, table: PublishedTable, named: bool = False) -> list[str]:
    """Generated or partial data carries the data set's name but not its numbers.

    Args:
        result: The run.
        table: What it is compared with.
        named: Name the split, as the table shows several.
    """
    images = images_of(result, table.split)
    if not table.possible_images or images in table.possible_images:
        return []
    where = f" of {table.split}" if named else ""
    return [
        f"NOT COMPARABLE: this run was scored on {images} images{where}, the published rows on "
        f"{' or '.join(map(str, table.possible_images))}."
    ]


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
    notes += _row_notes(rows_printed) + inferred_notes(rows)
    return notes + _cost_notes(published, rows_printed)


def inferred_notes(rows: Iterable[PublishedRow]) -> list[str]:
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
