"""What came of a sweep: trials by score, and how much each parameter matters."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rgbx.disk import whole_file
from rgbx.jobs.sweep.file import SweepFile
from rgbx.jobs.sweep.record import TrialRecord

__all__ = ["draw_importances", "ranked", "ranking_text", "write_importances", "write_ranking"]

_COLOUR = "#0072b2"  # as the first line of rgbx.visualization.curves
_DPI = 150


def ranked(records: Sequence[TrialRecord], maximize: bool) -> list[TrialRecord]:
    """Trials that were begun: by best score, those without one last."""

    def key(record: TrialRecord) -> tuple[bool, float, int]:
        best = record.best(maximize)
        return best is None, 0.0 if best is None else (-best if maximize else best), record.number

    begun = [record for record in records if record.state not in ("waiting", "void")]
    return sorted(begun, key=key)


def ranking_text(records: Sequence[TrialRecord], file: SweepFile) -> str:
    """The ranking as a table for the terminal, with the reasons of failures below it."""
    rows = _rows(records, file)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    failed = [record for record in records if record.state == "failed"]
    lines += [f"trial {record.number} failed: {record.reason}" for record in failed]
    return "\n".join(lines)


def write_ranking(records: Sequence[TrialRecord], file: SweepFile, path: Path) -> None:
    """The ranking as CSV, with folder and reason of each trial."""
    header, *rows = _rows(records, file)
    begun = ranked(records, file.metric.maximize)
    with whole_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*header, "cut_off", "reason", "folder"])
        for row, record in zip(rows, begun, strict=True):
            writer.writerow([*row, len(record.cuts), record.reason, record.folder])


def write_importances(importances: Mapping[str, float], path: Path) -> None:
    """Parameter and share as CSV, largest first."""
    with whole_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("parameter", "importance"))
        writer.writerows((name, f"{share:.6f}") for name, share in importances.items())


def draw_importances(importances: Mapping[str, float], title: str, path: Path) -> None:
    """A bar for every parameter, largest on top, as a PNG that is there whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names, shares = list(importances), list(importances.values())
    figure = Figure(figsize=(6.4, 1.2 + 0.4 * len(names)), dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    bars = axes.barh(names, shares, color=_COLOUR, height=0.6)
    axes.bar_label(bars, labels=[f"{100 * share:.0f} %" for share in shares], padding=4)
    axes.invert_yaxis()
    axes.set(title=title, xlabel="importance (PED-ANOVA)", xlim=(0, 1.12 * max(shares)))
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    with whole_file(path) as draft, draft.open("wb") as stream:
        canvas.print_png(stream)


def _rows(records: Sequence[TrialRecord], file: SweepFile) -> list[list[str]]:
    names = [parameter.name for parameter in file.varied]
    rows = [["rank", "trial", file.metric.name, "state", "validations", *names]]
    for rank, record in enumerate(ranked(records, file.metric.maximize), 1):
        best = record.best(file.metric.maximize)
        score, place = ("-", "-") if best is None else (f"{best:.6g}", str(rank))
        values = [_shown(file, record, name) for name in names]
        rows.append(
            [place, str(record.number), score, record.state, str(len(record.values)), *values]
        )
    return rows


def _shown(file: SweepFile, record: TrialRecord, name: str) -> str:
    if name not in record.drawn:
        return "-"
    parameter = next(p for p in file.varied if p.name == name)
    value: Any = parameter.value(record.drawn[name])
    if value is None or isinstance(value, bool):
        return json.dumps(value)  # as the configuration spells it
    return f"{value:.4g}" if isinstance(value, float) else str(value)
