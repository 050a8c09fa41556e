"""Reading what a run logged: ``metrics.csv`` and ``surgery.csv``, whole or cut off."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rgbx.report.lines import cut_off, read_lines

__all__ = ["Log", "read_log", "read_training"]

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


def read_log(path: Path) -> Log:
    """Read a CSV file whose lines have a ``step``; lines that cannot be read are left out.

    Args:
        path: The file; a missing one gives an empty log with a note.
    """
    log = Log()
    if not path.is_file():
        log.notes.append(f"no {path.name}")
        return log
    heading, rows, log.notes = read_lines(path)
    if heading and "step" not in heading:
        log.notes = [f"{path.name} has no column `step`"]
        return log
    damaged = sum(not _add(log, row) for row in rows)
    if damaged:
        log.notes.append(cut_off(path, damaged))
    if heading and not log.lines:
        log.notes.append(f"{path.name} has no numbers")
    return log


def _add(log: Log, row: Mapping[str, str]) -> bool:
    """Take one line over; False if it is none."""
    try:
        numbers = {name: float(text) for name, text in row.items() if text}
    except ValueError:
        return False
    step = numbers.pop("step", math.nan)
    epoch = numbers.pop("epoch", math.nan)
    if not math.isfinite(step):
        return False
    log.steps = max(log.steps, int(step) + 1)
    if math.isfinite(epoch):
        log.epochs = max(log.epochs, int(epoch) + 1)
    for name, value in numbers.items():
        steps, values = log.lines.setdefault(name, ([], []))
        steps.append(step)
        values.append(value if math.isfinite(value) else math.nan)
    return True


def read_training(folder: Path) -> Log:
    """``metrics.csv`` of a run folder, with a note where the run ended before its last epoch."""
    log = read_log(folder / "metrics.csv")
    trainer = _settings(folder / "config.yaml").get("trainer")
    trainer = trainer if isinstance(trainer, dict) else {}
    epochs, steps = trainer.get("max_epochs"), trainer.get("max_steps")
    if log.epochs and isinstance(epochs, int) and log.epochs < epochs:
        log.notes.append(f"metrics.csv ends in epoch {log.epochs} of {epochs}")
    elif log.steps and isinstance(steps, int) and log.steps < steps and not epochs:
        log.notes.append(f"metrics.csv ends at step {log.steps} of {steps}")
    if not any((folder / "checkpoints").glob("*.ckpt")):
        log.notes.append("no checkpoint")
    return log


def _settings(path: Path) -> dict[str, Any]:
    """A configuration file; empty if it is missing or damaged."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}
