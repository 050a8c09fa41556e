"""The tables of one run, next to the rows that papers print: what `rgbx test` shows."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from rgbx.metrics.catalogue import INPUT, is_metric, metric_info
from rgbx.results.columns import Column
from rgbx.results.compare import Layout, compared, sources_of
from rgbx.results.families import compact_metrics, groups_of, kind_label, kind_of, score_of
from rgbx.results.find import Run
from rgbx.results.lines import Line, Sources, measured_line, published_lines
from rgbx.results.notes import notes_below
from rgbx.results.paper_notes import ablation_notes
from rgbx.results.published import MEAN, Published
from rgbx.results.records import TestResult
from rgbx.results.render.tables import TERMINAL, Table, width_of
from rgbx.results.series import JoinedRow

__all__ = ["benchmark_table", "benchmark_tables", "combined_tables", "has_prompts", "prompt_tables"]

_WIDEST = 9  # number columns next to method and source, within 80 characters


def benchmark_tables(
    result: TestResult, published: Published | None, split: str = "test"
) -> list[Table]:
    """:func:`benchmark_table` of every family of scores and every size that a split has."""
    groups = groups_of(result.numbers[split]["all"])
    if len(groups) < 2:
        return [benchmark_table(result, published, split)]
    columns = [[(metric, "all") for metric in group.metrics] for group in groups]
    return [
        benchmark_table(result, published, split, chosen, group.title)
        for group, chosen in zip(groups, columns, strict=True)
    ]


def benchmark_table(
    result: TestResult,
    published: Published | None,
    split: str = "test",
    columns: Sequence[tuple[str, str]] | None = None,
    title: str = "",
) -> Table:
    """This run first, then the paper's own row, then its peers, best first; inferred rows last.

    A published number stands in the column of the metric it is assumed to be, so that no column
    mixes protocols. Numbers have the unit of `rgbx.results.families.unit_of`: this run's as percent
    with two decimals or as fractions with three, published ones as printed. An arrow marks scores
    of which less is better. Rows without a number in any of the columns are left out.

    Args:
        result: The run.
        published: The paper's numbers, or None for this run alone.
        split: Split of the run.
        columns: (metric, subset) pairs. By default ``miou`` and ``miou_image`` for every subset and
            ``macc`` overall; for scores of maps those of the first family, the ones that papers
            print before the others; for other results every metric overall.
        title: What the columns are, if the split has several tables.

    Returns:
        A table with the columns Method, Source, then the numbers; its notes give the protocol of
        each column and the one each published row is assumed to use.
    """
    pairs = columns or _default_columns(result, split)
    found = [Column(result.data.dataset, split, subset, metric) for metric, subset in pairs]
    suffix = _common_suffix(found)
    named_set = len(result.numbers) > 1 and split != "test"
    where = split if named_set else f"{result.data.dataset} {split}"
    parts = (where, title or "at network size" * bool(suffix), suffix)
    layout = Layout(
        ", ".join(filter(None, parts)), ("Method", "Source"), [_heading(c, suffix) for c in found]
    )
    return _table(result, published, found, layout, ablation_notes(published, result, split))


def combined_tables(
    result: TestResult, published: Published | None, splits_per_table: int = 3
) -> list[Table]:
    """All splits of a test of maps side by side: a few scores under each split's name.

    Of saliency the four that the paper's rows print, or S, max F, max E and MAE; of several
    families two each. Rows are as in :func:`benchmark_table`, ranked by the first split of each
    table. Scores at network size make tables of their own.

    Args:
        result: The run; its numbers must be scores of maps.
        published: The paper's numbers, or None for this run alone.
        splits_per_table: At most so many splits stand side by side, fewer if a terminal of 80
            characters asks for it; more make further tables of about equal width.
    """
    splits, dataset = list(result.numbers), result.data.dataset
    size = -(-len(splits) // -(-len(splits) // splits_per_table))
    groups = groups_of(result.numbers[splits[0]]["all"])
    every = [Column(dataset, split, "all", "") for split in splits]
    printed = [table for _, table in _sources(result, published, every)]
    combined = []
    for suffix in dict.fromkeys(group.suffix for group in groups):
        metrics = compact_metrics(groups, suffix, printed)
        for chunk in (splits[i : i + size] for i in range(0, len(splits), size)):
            columns = [Column(dataset, s, "all", metric) for s in chunk for metric in metrics]
            end = f"; at network size, {suffix}" if suffix else ""
            layout = Layout(
                f"{dataset}: {', '.join(chunk)}{end}",
                ("Method",),
                [_heading(column, suffix) for column in columns],
                tuple(column.split for column in columns),
            )
            combined.append(_table(result, published, columns, layout))
    if size > 1 and any(width_of(table) > TERMINAL for table in combined):
        return combined_tables(result, published, size - 1)
    return combined


def has_prompts(result: TestResult) -> bool:
    """Whether a result holds scores by kind of prompt (KIND/SCORE)."""
    return any(_prompted(result, [split]) for split in result.numbers)


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
        Tables of at most 80 characters on the terminal, in percent. The notes of a split's first
        one give the protocol and where published rows come from.
    """
    heads = [MEAN] if MEAN in result.numbers else list(result.numbers)
    others = [split for split in result.numbers if split not in heads]
    tables = []
    for split in heads:
        where = f"mean of {len(others)} data sets" if split == MEAN else split
        more = _numbers_of_prompts(result, split) + ablation_notes(published, result, split)
        for number, names in enumerate(_chunks(result, published, [split], split)):
            columns = [Column(result.data.dataset, split, "all", name) for name in names]
            layout = _prompt_layout(f"{result.data.dataset}, {where}", ("Method", "Source"), names)
            table = _table(result, published, columns, layout, more)
            tables.append(dataclasses.replace(table, notes=()) if number else table)
    by_set = _chunks(result, published, others, MEAN)
    return tables + [_by_set(result, others, names) for names in by_set]


def _by_set(result: TestResult, splits: Sequence[str], names: Sequence[str]) -> Table:
    """This run alone, a row for each data set."""
    title = f"{result.data.dataset}, this run by data set"
    columns = [Column(result.data.dataset, "", "all", name) for name in names]
    run, lines = _run(result), []
    for split in splits:
        own = [Column(c.dataset, split, c.subset, c.metric) for c in columns]
        lines.append(measured_line(split, "", [run], own))
    return compared(_prompt_layout(title, ("Data set",), names), lines, columns, (), ())


def _prompt_layout(title: str, heads: tuple[str, ...], names: Sequence[str]) -> Layout:
    groups = tuple(kind_label(kind_of(name)) for name in names)
    return Layout(title, heads, [score_of(name) for name in names], groups)


def _run(result: TestResult) -> Run:
    return Run(Path("test.json"), result)


def _sources(result: TestResult, published: Published | None, columns: Sequence[Column]) -> Sources:
    return sources_of([published] if published else [], [_run(result)], columns)


def _table(
    result: TestResult,
    published: Published | None,
    columns: Sequence[Column],
    layout: Layout,
    more: Iterable[str] = (),
) -> Table:
    """The run, then the printed lines; without a column of sources labels say what is inferred."""
    run, sources = _run(result), _sources(result, published, columns)
    printed = published_lines(sources, columns, [run])
    name = result.method
    rows = [JoinedRow(name, {result.data.dataset: (run,)})]
    notes = [*notes_below(rows, columns, sources, printed, alone=True), *more]
    if len(layout.heads) == 1:
        name = "this run" + " (untrained)" * result.checkpoint.is_untrained
        printed = [
            Line(f"{x.label}{' (inferred)' * x.inferred}", x.source, x.records, x.rows)
            for x in printed
        ]
    lines = [measured_line(name, "this run", [run], columns), *printed]
    return compared(layout, lines, columns, sources, notes, "run")


def _default_columns(result: TestResult, split: str) -> list[tuple[str, str]]:
    numbers = result.numbers[split]
    groups = groups_of(numbers["all"])
    if groups:
        return [(metric, "all") for metric in groups[0].metrics]
    if "miou" not in numbers["all"]:
        return [(metric, "all") for metric in numbers["all"]]
    subsets = [*(name for name in numbers if name != "all"), "all"]
    both = [(metric, subset) for metric in ("miou", "miou_image") for subset in subsets]
    return [*both, ("macc", "all")]


def _common_suffix(columns: Sequence[Column]) -> str:
    """The suffix "@input" if all scores are at the size of the network's input."""
    return INPUT if all(column.metric.endswith(INPUT) for column in columns) else ""


def _heading(column: Column, suffix: str) -> str:
    metric = column.metric.removesuffix(suffix)
    name = metric if metric_info(metric).higher_is_better else f"{metric}↓"
    bare = bool(groups_of({metric: 0}))  # papers print one number of a map's score
    return name if bare and column.subset == "all" else f"{name} {column.subset}"


def _prompted(result: TestResult, splits: Sequence[str]) -> list[str]:
    """KIND/SCORE names that a table shows, kind by kind."""
    names = dict.fromkeys(name for s in splits for name in result.numbers[s].get("all", {}))
    return [name for name in names if "/" in name and is_metric(name)]


def _chunks(
    result: TestResult, published: Published | None, splits: Sequence[str], printed: str
) -> list[list[str]]:
    """The columns of each table: kinds stay whole, those that the paper's own row has come first.

    Papers print few of the kinds; they share their table with no other kind.
    """
    names = _prompted(result, splits)
    there = dict.fromkeys(map(kind_of, names))
    sources = _sources(result, published, [Column(result.data.dataset, printed, "all", "")])
    of_paper = dict.fromkeys(kind_of(n) for _, table in sources for n in table.rows[0].scores)
    first = [kind for kind in of_paper if kind in there]
    chunks: list[list[str]] = []
    for kinds in (first, [kind for kind in there if kind not in first]):
        columns: list[str] = []
        for kind in kinds:
            added = [name for name in names if kind_of(name) == kind]
            if columns and len(columns) + len(added) > _WIDEST:
                chunks.append(columns)
                columns = []
            columns = columns + added
        chunks += [columns] if columns else []
    return chunks


def _numbers_of_prompts(result: TestResult, split: str) -> list[str]:
    """Numbers by kind of prompt that are no scores, such as routing weights: one sentence each."""
    found: dict[str, list[str]] = {}
    for name, value in result.numbers[split].get("all", {}).items():
        if "/" in name and not is_metric(name):
            found.setdefault(score_of(name), []).append(f"{kind_label(kind_of(name))} {value:.3f}")
    return [
        f"{name} ({result.protocol.get(name, 'measured')}): {', '.join(parts)}."
        for name, parts in found.items()
    ]
