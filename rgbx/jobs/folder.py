"""What is on disk of a job: where it stands, with which settings, and who runs it."""

import csv
import fcntl
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rgbx.disk import whole_file

__all__ = ["STATE", "JobFolder", "State", "try_lock"]

STATE = "state.json"
_FORMER = "row.json"  # its name in ablations of earlier versions
State = Literal["new", "interrupted", "trained", "done", "failed", "changed"]

#: settings that change no number
_NEUTRAL = ("data.num_workers", "trainer.enable_progress_bar", "trainer.enable_model_summary")


@dataclass(frozen=True)
class JobFolder:
    """The folder of one job: a row of an ablation with one seed, or a trial of a sweep.

    It holds ``state.json`` (status; settings and reason where they are known; exit, the status of
    a process that ended by itself), ``.lock`` (held while a process is at work, with its id),
    ``overlay.yaml``, logs, and the run itself in ``version_0``: always the same folder, so that a
    resumed run keeps its best checkpoint.
    """

    path: Path

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.path / "version_0"

    @property
    def last(self) -> Path | None:
        """The checkpoint to resume from, if there is one."""
        path = self.run / "checkpoints" / "last.ckpt"
        return path if path.is_file() else None

    @property
    def chosen(self) -> Path | None:
        """The checkpoint to test: the best one where the configuration keeps it, else the last."""
        best = self.run / "checkpoints" / "best.ckpt"
        return best if best.is_file() else self.last

    @property
    def test(self) -> Path | None:
        """Scores of the chosen checkpoint, if it was tested."""
        found = sorted(self.run.glob("test_*/test.json"))
        return found[0] if found else None

    def record(self) -> dict[str, Any] | None:
        """What ``state.json`` says; empty if there is none, None if it is damaged."""
        path = self.path / STATE
        if not path.is_file():
            path = self.path / _FORMER
        if not path.is_file():
            return {}
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            return {
                **record,
                "status": record["status"],
                "settings": dict(record.get("settings", {})),
            }
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, status: str, settings: Mapping[str, Any], **more: Any) -> None:
        """Write ``state.json`` whole or not at all."""
        self.path.mkdir(parents=True, exist_ok=True)
        record = {"status": status, **more, "settings": dict(settings)}
        text = json.dumps(record, indent=2, default=str) + "\n"
        with whole_file(self.path / STATE) as draft:
            draft.write_text(text, encoding="utf-8")

    def state(self, settings: Mapping[str, Any]) -> tuple[State, str]:
        """Where the row stands, and in one clause why.

        Args:
            settings: what it would be run with now.
        """
        record = self.record()
        if record is None:
            return "changed", f"{STATE} is damaged"
        if not record:
            return "new", ""
        difference = _difference(record["settings"], json.loads(json.dumps(settings, default=str)))
        if difference and not (self.last or self.test):
            return "new", ""  # it came to nothing, so nothing is lost
        if difference:
            return "changed", difference
        if record["status"] == "done" and self.test:
            return "done", ""
        if record["status"] in ("done", "trained") and self.chosen:
            return "trained", ""
        if record["status"] == "failed":
            return "failed", str(record.get("reason", ""))
        return "interrupted", ""

    def set_aside(self) -> Path:
        """Rename the folder, so that the row starts anew and nothing is lost; returns where to."""
        number = 1
        while (target := self.path.with_name(f"{self.path.name}_before_{number}")).exists():
            number += 1
        self.path.rename(target)
        return target

    # ------------------------------------------------------------------ one process at a time
    @property
    def busy(self) -> bool:
        """Whether a process, perhaps of a command that was killed, is at work on it."""
        lock = self.path / ".lock"
        if not lock.is_file():
            return False
        with lock.open("a", encoding="utf-8") as file:
            return not try_lock(file.fileno())

    @property
    def owner(self) -> int:
        """Id of the process that is or was at work; 0 if there was none."""
        lock = self.path / ".lock"
        text = lock.read_text(encoding="utf-8").strip() if lock.is_file() else ""
        return int(text) if text.isdigit() else 0

    @property
    def exit_status(self) -> int | None:
        """How the process ended; None if it was interrupted or is still at work."""
        status = (self.record() or {}).get("exit")
        return None if status is None else int(status)

    def note_owner(self, process: int) -> None:
        """Write down who is at work, for the message of others."""
        (self.path / ".lock").write_text(str(process), encoding="utf-8")

    # ------------------------------------------------------------------ logs over interruptions
    def keep_metrics(self) -> None:
        """Before a run goes on: put its ``metrics.csv`` by, which the logger would delete."""
        self.join_metrics()
        metrics = self.run / "metrics.csv"
        if metrics.is_file():
            metrics.replace(self.run / "metrics_before.csv")

    def join_metrics(self) -> None:
        """After it: what was logged before the resumed step, then what was logged since."""
        before, after = self.run / "metrics_before.csv", self.run / "metrics.csv"
        if not before.is_file():
            return
        old, new = _read_csv(before), _read_csv(after) if after.is_file() else []
        start = min((int(row["step"]) for row in new), default=None)
        kept = [row for row in old if start is None or int(row["step"]) < start]
        columns = list(dict.fromkeys(key for row in (*kept, *new) for key in row))
        with whole_file(after) as draft, draft.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows((*kept, *new))
        before.unlink()


def _read_csv(path: Path) -> list[dict[str, str]]:
    """Complete lines alone: the last one may be cut off."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if None not in row.values()]
    return [row for row in rows if row.get("step", "").isdigit()]


def try_lock(descriptor: int) -> bool:
    """Take the lock of an open file, if nobody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Which settings differ, at most three in words; empty if none does."""
    keys = dict.fromkeys([*before, *now])
    found = [
        f"{key} was {_text(before, key)} and is {_text(now, key)}"
        for key in keys
        if key not in _NEUTRAL and _text(before, key) != _text(now, key)
    ]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(found[:3]) + more


def _text(settings: Mapping[str, Any], key: str) -> str:
    return json.dumps(settings[key]) if key in settings else "not set"
