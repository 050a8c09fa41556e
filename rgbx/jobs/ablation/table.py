"""What an ablation would do, and the table of what it did."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rgbx.disk import write_text
from rgbx.jobs.ablation.file import Ablation, AblationRow
from rgbx.jobs.ablation.job import Job
from rgbx.results import AblationEntry, Run, Table, ablation_table, load_published, read_result
from rgbx.results.render.output import FORMATS, format_tables, print_tables

__all__ = ["print_plan", "show_table", "write_table"]

_STATES = {
    "new": "to be trained",
    "interrupted": "goes on",
    "trained": "to be tested",
    "done": "done",
    "failed": "failed, is tried again",
    "changed": "has other settings than before, needs --redo",
}


def print_plan(jobs: Sequence[Job]) -> None:
    """Where every job stands, and its command."""
    for job in jobs:
        state, why = job.folder.state(job.settings)
        print(f"{job.row.name}, seed {job.seed}: {_STATES[state]}{f' ({why})' if why else ''}")
        print(f"  rgbx fit {shlex.join(job.options)}")
    print()


def show_table(
    ablation: Ablation,
    rows: Sequence[AblationRow],
    jobs: Sequence[Job],
    configs: Sequence[tuple[Path, Mapping[str, Any]]],
) -> Table:
    """Print the table of what there is, next to the paper's.

    Args:
        ablation: The file.
        rows: Those of its rows that are shown.
        jobs: Their jobs.
        configs: Configuration files and what they hold; they name the data set.

    Returns:
        The table.
    """
    entries = []
    for row in rows:
        runs, notes = _measured([job for job in jobs if job.row is row])
        note = "; ".join(part for part in (row.note.rstrip("."), *notes) if part)
        entries.append(AblationEntry(row.name, runs, row.published, note))
    table = ablation_table(
        ablation.title,
        entries,
        _dataset(jobs, configs),
        ablation.metrics,
        published=load_published(ablation.paper) if ablation.paper else None,
        table=ablation.table,
        splits=ablation.splits,
    )
    print_tables([table])
    return table


def _dataset(jobs: Sequence[Job], configs: Sequence[tuple[Path, Mapping[str, Any]]]) -> str:
    """Class of the data set: the last that was named, on the command line or in a file."""
    names = [str((content.get("data") or {}).get("class_path") or "") for _, content in configs]
    for job in jobs:
        names += [str(job.settings.get(key) or "") for key in ("data.class_path", "data")]
    return next((name for name in reversed(names) if name), "").rpartition(".")[2]


def write_table(table: Table, output: Path) -> None:
    """Write the table in every format."""
    paths = [output / f"table{suffix}" for suffix in FORMATS.values()]
    for kind, path in zip(FORMATS, paths, strict=True):
        write_text(path, format_tables([table], kind, table.title))
    print(f"written: {', '.join(map(str, paths))}")


def _measured(jobs: Sequence[Job]) -> tuple[tuple[Run, ...], list[str]]:
    """Results of a row's jobs, and what is to be said of those that have none."""
    runs, notes = [], []
    for job in jobs:
        state, why = job.folder.state(job.settings)
        if state == "done" and job.folder.test:
            runs.append(Run(job.folder.test, read_result(job.folder.test)))
        elif state == "failed" or (state == "trained" and _reason(job)):
            notes.append(f"seed {job.seed} failed: {why or _reason(job)}")
        elif state == "changed":
            notes.append(f"seed {job.seed} was run with other settings")
    return tuple(runs), notes


def _reason(job: Job) -> str:
    return str((job.folder.record() or {}).get("reason", ""))
