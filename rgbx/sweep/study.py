"""The Optuna study behind a local sweep: what to try next, and what became of every trial.

A trial that was cut off with the sweep stays RUNNING in the study and is taken up again under the
same number, so that a study holds each trial once however often it was interrupted.
"""

import importlib.util
import json
import logging
import math
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rgbx.errors import RGBXError
from rgbx.sweep.file import SweepFile
from rgbx.sweep.grid import next_combination
from rgbx.sweep.space import Parameter

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

__all__ = ["State", "SweepStudy", "TrialRecord", "require_optuna"]

State = Literal["waiting", "running", "done", "stopped early", "failed", "void"]
_NAME = "rgbx sweep"


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


def require_optuna() -> None:
    """Refuse to go on without Optuna.

    Raises:
        RGBXError: says how to install it.
    """
    if importlib.util.find_spec("optuna") is None:
        raise RGBXError(
            "`rgbx sweep` needs Optuna, which is not installed: pip install 'rgbx[sweep]'."
        )


class SweepStudy:
    """An Optuna study in an SQLite file.

    Args:
        storage: The file; made if it is not there.
        file: The sweep.
        settings: What must not change while a study grows; plain values.
        seed: Of what is drawn.

    Raises:
        RGBXError: The file cannot be used, or holds another sweep.
    """

    def __init__(
        self, storage: Path, file: SweepFile, settings: Mapping[str, Any], seed: int
    ) -> None:
        import optuna
        from sqlalchemy.exc import SQLAlchemyError

        optuna.logging.set_verbosity(logging.ERROR)
        self._optuna = optuna
        self._file = file
        self._seed = seed
        try:
            storage.parent.mkdir(parents=True, exist_ok=True)
            self._storage = optuna.storages.RDBStorage(f"sqlite:///{storage.resolve()}")
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=_NAME,
                direction="maximize" if file.metric.maximize else "minimize",
                pruner=self._pruner(),
                load_if_exists=True,
            )
            self._refuse_another(storage, json.loads(json.dumps(settings, default=str)))
        except (OSError, SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
            reason = " ".join(str(getattr(error, "orig", None) or error).split())
            raise RGBXError(f"The study {storage} cannot be used: {reason}.") from error

    # ------------------------------------------------------------------ reading
    def records(self) -> list[TrialRecord]:
        """All trials by number."""
        void = self._void
        return [_record(trial, void) for trial in self._study.get_trials(deepcopy=False)]

    def importances(self) -> dict[str, float]:
        """Share of each parameter in the differences between trials (PED-ANOVA), largest first.

        Empty where nothing can be said: fewer than two trials were done, or all scored the same.
        """
        done = [r for r in self.records() if r.state == "done"]
        if len({r.best(self._file.metric.maximize) for r in done}) < 2:
            return {}
        found = self._optuna.importance.get_param_importances(self._study)
        return {name: float(share) for name, share in found.items()}

    # ------------------------------------------------------------------ writing
    def ask(self) -> TrialRecord | None:
        """The next trial; None if a grid has no more."""
        records = self.records()
        if self._file.method == "grid" and not any(r.state == "waiting" for r in records):
            combination = next_combination(
                self._file.varied, [r.drawn for r in records if r.state != "void"]
            )
            if combination is None:
                return None
            self._study.enqueue_trial(combination)
        self._study.sampler = self._sampler(len(records))
        distributions = {p.name: self._distribution(p) for p in self._file.varied}
        trial = self._study.ask(distributions)
        self._set(trial.number, "drawn", dict(trial.params))
        return self._read(trial.number)

    def again(self, record: TrialRecord) -> None:
        """Have a failed trial run once more, under a new number."""
        self._study.enqueue_trial(dict(record.drawn))
        self._study.set_user_attr("void", [*self._void, record.number])

    def begin(self, number: int, folder: Path) -> None:
        """Note where a trial lives."""
        self._set(number, "folder", str(folder.resolve()))

    def void(self, number: int) -> None:
        """Leave a trial out of all counts."""
        self._study.set_user_attr("void", [*self._void, number])
        self._study.tell(number, state=self._optuna.trial.TrialState.FAIL)

    def cut_off(self, record: TrialRecord, reason: str) -> None:
        """Note that a trial's process was ended from outside."""
        self._set(record.number, "cuts", [*record.cuts, reason])

    def report(self, number: int, step: int, value: float) -> bool:
        """Note a score; returns whether the trial should stop.

        Args:
            number: of the trial.
            step: number of the validation, from 1.
            value: its score.
        """
        trial = self._optuna.trial.Trial(self._study, self._trial_id(number))
        trial.report(value, step)
        return trial.should_prune()

    def finish(self, number: int, state: State, reason: str = "") -> None:
        """Note what became of a trial; its best score is its value."""
        record = self._read(number)
        states = self._optuna.trial.TrialState
        if reason:
            self._set(number, "reason", reason)
        if state == "done":
            self._study.tell(number, record.best(self._file.metric.maximize))
        else:
            self._study.tell(
                number, state=states.PRUNED if state == "stopped early" else states.FAIL
            )

    # ------------------------------------------------------------------ inside
    def _read(self, number: int) -> TrialRecord:
        return _record(self._storage.get_trial(self._trial_id(number)), self._void)

    @property
    def _void(self) -> list[int]:
        return list(self._study.user_attrs.get("void", ()))

    def _trial_id(self, number: int) -> int:
        study = self._storage.get_study_id_from_name(_NAME)
        return self._storage.get_trial_id_from_study_id_trial_number(study, number)

    def _set(self, number: int, key: str, value: Any) -> None:
        self._storage.set_trial_user_attr(self._trial_id(number), key, value)

    def _refuse_another(self, storage: Path, settings: Mapping[str, Any]) -> None:
        """Another sweep's study stays as it is, unless nothing was scored in it."""
        before = self._study.user_attrs.get("settings")
        records = self.records()
        if before is None and records:
            raise RGBXError(f"The study {storage} was not begun by `rgbx sweep`.")
        keys = [k for k in settings if (before or {}).get(k) != settings[k]]
        if before is not None and keys and any(r.values or r.state == "waiting" for r in records):
            raise RGBXError(
                f"The study {storage} was begun with another {keys[0]} ({_short(before, keys[0])}, "
                f"now {_short(settings, keys[0])}), so its trials cannot be compared with new "
                "ones: give another --output, or go back to the old sweep."
            )
        if keys:
            for record in records:
                if record.state == "running":
                    self.void(record.number)
            self._study.set_user_attr("void", [record.number for record in records])
            self._study.set_user_attr("settings", settings)

    def _pruner(self) -> Any:
        early = self._file.early
        if early is None:
            return self._optuna.pruners.NopPruner()
        return self._optuna.pruners.SuccessiveHalvingPruner(
            min_resource=early.first, reduction_factor=early.eta
        )

    def _sampler(self, trials: int) -> "BaseSampler":
        # seeded by trial: an interrupted sweep goes on as it would have, not from the start
        seed = (self._seed * 1_000_003 + trials) % 2**32
        if self._file.method == "bayes":
            return self._optuna.samplers.TPESampler(seed=seed)
        return self._optuna.samplers.RandomSampler(seed=seed)

    def _distribution(self, parameter: Parameter) -> "BaseDistribution":
        kinds = self._optuna.distributions
        if parameter.choices:
            return kinds.CategoricalDistribution(parameter.labels)
        if not parameter.step or parameter.log:
            return kinds.FloatDistribution(parameter.low, parameter.high, log=parameter.log)
        multiples, step = parameter.multiples, parameter.step
        return kinds.FloatDistribution(multiples[0] * step, multiples[-1] * step, step=step)


def _record(trial: "FrozenTrial", void: Container[int]) -> TrialRecord:
    notes = trial.user_attrs
    names: dict[str, State] = {
        "RUNNING": "running",
        "WAITING": "waiting",
        "COMPLETE": "done",
        "PRUNED": "stopped early",
        "FAIL": "failed",
    }
    fixed = trial.system_attrs.get("fixed_params", {})
    return TrialRecord(
        number=trial.number,
        state="void" if trial.number in void else names[trial.state.name],
        drawn=notes.get("drawn", fixed),
        values=tuple(value for _, value in sorted(trial.intermediate_values.items())),
        reason=notes.get("reason", ""),
        cuts=tuple(notes.get("cuts", ())),
        folder=notes.get("folder", ""),
        begun="drawn" in notes,
    )


def _short(settings: Mapping[str, Any], key: str) -> str:
    text = json.dumps(settings.get(key))
    return text if len(text) <= 60 else f"{text[:57]}..."
