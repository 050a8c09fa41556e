"""What a running trial has logged so far, read from its ``metrics.csv`` while it is written."""

import csv
import io
from pathlib import Path

__all__ = ["logged_names", "logged_values"]

#: of a run that goes on: what it logged before it was interrupted, and what since
_FILES = ("metrics_before.csv", "metrics.csv")


def logged_values(run: Path, name: str) -> list[float]:
    """The values of one score, in order; NaN where it is none.

    Args:
        run: folder of the run.
        name: column, such as ``val/miou``.
    """
    return [_number(row[name]) for row in _rows(run) if row.get(name)]


def logged_names(run: Path) -> list[str]:
    """Scores that were logged at least once, without ``epoch`` and ``step``."""
    found = {key for row in _rows(run) for key, value in row.items() if value}
    return sorted(found - {"epoch", "step"})


def _rows(run: Path) -> list[dict[str, str]]:
    before, after = (_read(run / name) for name in _FILES)
    start = min((int(row["step"]) for row in after), default=None)
    return [row for row in before if start is None or int(row["step"]) < start] + after


def _read(path: Path) -> list[dict[str, str]]:
    """Whole lines alone: the last one may be on its way."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    text = text[: text.rfind("\n") + 1]
    rows = csv.DictReader(io.StringIO(text))
    return [row for row in rows if (row.get("step") or "").isdigit()]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
