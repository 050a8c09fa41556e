"""Tables of promptable segmentation: kinds of prompts side by side, as papers print them."""

from collections.abc import Iterator, Sequence

from rgbx.metrics.catalogue import is_metric
from rgbx.results.notes import (
    ablation_notes,
    choice_notes,
    protocol_notes,
    published_notes,
    size_warning,
)
from rgbx.results.published import MEAN, Published, PublishedTable
from rgbx.results.records import TestResult
from rgbx.results.render.tables import MISSING, Row, Table
from rgbx.results.rows import comparison_of, measured, published_cell, ranked, units_of

__all__ = ["has_prompts", "kind_label", "prompt_tables"]

_WIDEST = 9  # number columns next to method and source, within 80 characters
_GENERAL = (
    "prompts",
    "confidence",
    "input",
    MEAN,
)  # sentences of the protocol that hold for every score


def has_prompts(result: TestResult) -> bool:
    """Whether a result holds scores by kind of prompt (KIND/SCORE)."""
    return any(_scores(result, split) for split in result.numbers)


def kind_label(kind: str) -> str:
    """A kind of prompt as a heading: "point_3" is "3 points", "box" the "tight box"."""
    name, _, number = kind.partition("_")
    if name == "point" and number.isdigit():
        return f"{number} point{'s' * (number != '1')}"
    return "tight box" if kind == "box" else kind.replace("_", " ")


def prompt_tables(result: TestResult, published: Published | None) -> list[Table]:
    """This run next to published rows, kinds of prompts side by side; then data set by data set.

    The first tables are in the layout of the Stable-SAM paper's Table 2: under each kind of prompt
    its scores, for the mean of the data sets where the run has it, else for every split. Kinds that
    the paper prints come first; what does not fit next to them makes another table, whose published
    rows are those that have a number in it. With a mean, further tables of the same columns have a
    row for each data set.

    Args:
        result: The run; its numbers must be scores of prompts, see :func:`has_prompts`.
        published: The paper's numbers, or None for this run alone.

    Returns:
        Tables of at most 80 characters on the terminal, in percent. The first one's notes give
        the protocol and where published rows come from.
    """
    heads = [MEAN] if MEAN in result.numbers else list(result.numbers)
    others = [split for split in result.numbers if split not in heads]
    return [
        *(table for split in heads for table in _compared(result, published, split)),
        *(_by_set(result, published, others) if others else ()),
    ]


def _compared(result: TestResult, published: Published | None, split: str) -> Iterator[Table]:
    """Rows of methods for one split, as many tables as its kinds need."""
    comparison = comparison_of(result, published, split)
    notes = choice_notes(result)
    scores = _scores(result, split)
    if published and comparison:
        notes += size_warning(result, comparison)
    notes += protocol_notes(result, [*scores, *_GENERAL])
    if published and comparison:
        peers = ranked(comparison.rows, result)
        notes += published_notes(published, [comparison], peers)
    notes += _measured_notes(result, split) + ablation_notes(published, result, split)
    place = f"{result.data.dataset}, {_place(result, split)} (%)"
    for columns in _chunks(scores, comparison):
        rows = _rows(result, published, comparison, split, columns)
        groups = tuple(kind_label(_kind(name)) for name in columns)
        headings = ("Method", "Source", *(_score(name) for name in columns))
        yield Table(place, headings, tuple(rows), tuple(notes), text_columns=2, groups=groups)
        notes = []


def _rows(
    result: TestResult,
    published: Published | None,
    comparison: PublishedTable | None,
    split: str,
    columns: Sequence[str],
) -> list[Row]:
    units = units_of([(split, column) for column in columns], result, published)
    placed = list(zip(columns, units, strict=True))
    name = result.model.class_path.rpartition(".")[2]
    cells = [measured(result, split, (column, "all"), unit) for column, unit in placed]
    rows = [Row((name, "this run", *cells), own=True)]
    for peer in ranked(comparison.rows, result) if comparison else ():
        cells = [published_cell(comparison, peer.method, column, unit) for column, unit in placed]
        if any(cell != MISSING for cell in cells):
            rows.append(Row((peer.method, peer.origin, *cells)))
    return rows


def _by_set(result: TestResult, published: Published | None, splits: Sequence[str]) -> list[Table]:
    """This run alone, a row for each data set, in the columns of the first tables."""
    names = list(dict.fromkeys(name for split in splits for name in _scores(result, split)))
    return [
        Table(
            title=f"{result.data.dataset}, this run by data set (%)",
            columns=("Data set", *map(_score, columns)),
            rows=tuple(
                Row((split, *(measured(result, split, (c, "all"), "percent") for c in columns)))
                for split in splits
            ),
            groups=tuple(kind_label(_kind(name)) for name in columns),
        )
        for columns in _chunks(names, comparison_of(result, published, MEAN))
    ]


def _scores(result: TestResult, split: str) -> list[str]:
    """KIND/SCORE names of a split that a table shows, kind by kind."""
    names = result.numbers[split].get("all", {})
    return [name for name in names if "/" in name and is_metric(name)]


def _chunks(names: Sequence[str], comparison: PublishedTable | None) -> list[list[str]]:
    """The columns of each table: kinds stay whole, those that the paper's own row has come first.

    Papers print few of the kinds; they share their table with no other kind.
    """
    printed = comparison.rows[0].scores if comparison else {}
    first = dict.fromkeys(kind for kind in map(_kind, printed) if kind in set(map(_kind, names)))
    rest = dict.fromkeys(kind for kind in map(_kind, names) if kind not in first)
    chunks: list[list[str]] = []
    for kinds in (first, rest):
        columns: list[str] = []
        for kind in kinds:
            added = [name for name in names if _kind(name) == kind]
            if columns and len(columns) + len(added) > _WIDEST:
                chunks.append(columns)
                columns = []
            columns = columns + added
        chunks += [columns] if columns else []
    return chunks


def _measured_notes(result: TestResult, split: str) -> list[str]:
    """Numbers by kind of prompt that are no scores, such as routing weights: one sentence each."""
    found: dict[str, list[str]] = {}
    for name, value in result.numbers[split].get("all", {}).items():
        if "/" in name and not is_metric(name):
            found.setdefault(_score(name), []).append(f"{kind_label(_kind(name))} {value:.3f}")
    return [
        f"{name} ({result.protocol.get(name, 'measured')}): {', '.join(parts)}."
        for name, parts in found.items()
    ]


def _kind(name: str) -> str:
    return name.rpartition("/")[0]


def _score(name: str) -> str:
    return name.rpartition("/")[2]


def _place(result: TestResult, split: str) -> str:
    others = [name for name in result.numbers if name != MEAN]
    return f"mean of {len(others)} data sets" if split == MEAN else split
