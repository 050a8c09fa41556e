"""One trial of a study: where it stands, what was drawn for it, what it scored."""

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["State", "TrialRecord", "record_of"]

State = Literal["waiting", "running", "done", "stopped early", "failed", "void"]

#: Optuna's states
_STATES: dict[str, State] = {
    "RUNNING": "running",
    "WAITING": "waiting",
    "COMPLETE": "done",
    "PRUNED": "stopped early",
    "FAIL": "failed",
}


@dataclass(frozen=True)
class TrialRecord:
    """One trial as the study holds it.

    Attributes:
        number: Counts from 0.
        state: What became of it; void ones were never begun, or are run again under another number.
        drawn: Parameter -> label or number that was drawn; constants are left out.
        values: Scores of its validations, in order; NaN is possible.
        reason: Why it failed.
        cuts: Why its process ended from outside, once for each time.
        folder: Where it lives; empty until its process was started.
        begun: Whether all of its parameters were drawn.
    """

    number: int
    state: State
    drawn: Mapping[str, Any]
    values: tuple[float, ...]
    reason: str
    cuts: tuple[str, ...]
    folder: str
    begun: bool

    @property
    def ended(self) -> bool:
        """Whether it counts as one of ``--count``."""
        return self.state in ("done", "stopped early", "failed")

    def best(self, maximize: bool) -> float | None:
        """The best finite score, if there is one."""
        finite = [value for value in self.values if math.isfinite(value)]
        if not finite:
            return None
        return max(finite) if maximize else min(finite)


def record_of(trial: "FrozenTrial", void: Container[int]) -> TrialRecord:
    """What Optuna holds of a trial.

    Args:
        trial: as Optuna gives it.
        void: numbers of trials that are left out.
    """
    notes = trial.user_attrs
    fixed = trial.system_attrs.get("fixed_params", {})
    return TrialRecord(
        number=trial.number,
        state="void" if trial.number in void else _STATES[trial.state.name],
        drawn=notes.get("drawn", fixed),
        values=tuple(value for _, value in sorted(trial.intermediate_values.items())),
        reason=notes.get("reason", ""),
        cuts=tuple(notes.get("cuts", ())),
        folder=notes.get("folder", ""),
        begun="drawn" in notes,
    )
