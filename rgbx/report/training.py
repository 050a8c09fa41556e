"""Numbers by step or threshold: ``metrics.csv``, ``surgery.csv`` and ``curves.csv``."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from rgbx.report.lines import cut_off, read_lines

__all__ = ["Log", "read_curves", "read_log", "read_training"]

Line = tuple[list[float], list[float]]


@dataclass
class Log:
    """Numbers by step.

    Attributes:
        lines: Name -> steps and values of equal length; NaN where a value was none.
        notes: What is missing or damaged, as sentences without their full stop.
        epochs: Number of epochs that were begun, 0 if unknown.
        steps: The last step plus one, 0 if there is none.
    """

    lines: dict[str, Line] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    epochs: int = 0
    steps: int = 0

    def add(self, row: Mapping[str, str], key: str) -> bool:
        """Take one line of a file over; False if it is none."""
        try:
            numbers = {name: float(text) for name, text in row.items() if text}
        except ValueError:
            return False
        step, epoch = numbers.pop(key, math.nan), numbers.pop("epoch", math.nan)
        if not math.isfinite(step):
            return False
        self.steps = max(self.steps, int(step) + 1)
        if math.isfinite(epoch):
            self.epochs = max(self.epochs, int(epoch) + 1)
        for name, value in numbers.items():
            steps, values = self.lines.setdefault(name, ([], []))
            steps.append(step)
            values.append(value if math.isfinite(value) else math.nan)
        return True


def read_log(path: Path) -> Log:
    """Read a CSV file whose lines have a ``step``; lines that cannot be read are left out.

    Args:
        path: The file; a missing one gives an empty log with a note.
    """
    rows, notes = read_lines(path, "step")
    log = Log(notes=notes)
    log.notes += cut_off(path, sum(not log.add(row, "step") for row in rows))
    if not log.lines and not log.notes:
        log.notes.append(f"{path.name} has no numbers")
    return log


def read_curves(path: Path) -> tuple[dict[str, Log], list[str]]:
    """Split -> scores by threshold of a ``curves.csv``, and what is wrong with it."""
    rows, notes = read_lines(path, "split", "threshold")
    logs: dict[str, Log] = {}
    damaged = 0
    for row in rows:
        log = logs.setdefault(row.pop("split"), Log())
        damaged += "" in row.values() or not log.add(row, "threshold")
    return logs, notes + cut_off(path, damaged)


def read_training(folder: Path) -> Log:
    """``metrics.csv`` of a run folder, with a note where the run ended before its last epoch."""
    log = read_log(folder / "metrics.csv")
    try:
        trainer = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["trainer"]
        epochs, steps = trainer.get("max_epochs"), trainer.get("max_steps")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, LookupError, TypeError, AttributeError):
        epochs = steps = None  # missing or damaged
    if log.epochs and isinstance(epochs, int) and log.epochs < epochs:
        log.notes.append(f"metrics.csv ends in epoch {log.epochs} of {epochs}")
    elif log.steps and isinstance(steps, int) and log.steps < steps and not epochs:
        log.notes.append(f"metrics.csv ends at step {log.steps} of {steps}")
    if not any((folder / "checkpoints").glob("*.ckpt")):
        log.notes.append("no checkpoint")
    return log
