"""The Optuna study behind a local sweep: what to try next, and what became of every trial.

A trial that was cut off with the sweep stays RUNNING in the study and is taken up again under the
same number, so that a study holds each trial once however often it was interrupted.
"""

import importlib.util
import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rgbx.errors import RGBXError
from rgbx.jobs.sweep.file import SweepFile
from rgbx.jobs.sweep.grid import next_combination
from rgbx.jobs.sweep.record import State, TrialRecord, record_of
from rgbx.jobs.sweep.space import Parameter

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

__all__ = ["SweepStudy", "require_optuna"]

_NAME = "rgbx sweep"


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
        plain = json.loads(json.dumps(settings, default=str))
        try:
            storage.parent.mkdir(parents=True, exist_ok=True)
            self._storage = optuna.storages.RDBStorage(f"sqlite:///{storage.resolve()}")
            self._study = self._open()
            if self._is_unused(storage, plain):  # Optuna keeps the ranges of a study for good
                optuna.delete_study(study_name=_NAME, storage=self._storage)
                self._study = self._open()
            self._study.set_user_attr("settings", plain)
        except (OSError, SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
            reason = " ".join(str(getattr(error, "orig", None) or error).split())
            raise RGBXError(f"The study {storage} cannot be used: {reason}.") from error

    def _open(self) -> Any:
        return self._optuna.create_study(
            storage=self._storage,
            study_name=_NAME,
            direction="maximize" if self._file.metric.maximize else "minimize",
            pruner=self._pruner(),
            load_if_exists=True,
        )

    # ------------------------------------------------------------------ reading
    def records(self) -> list[TrialRecord]:
        """All trials by number."""
        void = self._void
        return [record_of(trial, void) for trial in self._study.get_trials(deepcopy=False)]

    def importances(self) -> dict[str, float]:
        """Share of each parameter in the differences between trials (PED-ANOVA), largest first.

        Empty where nothing can be said: fewer than two trials were done, or all scored the same.
        """
        done = [r for r in self.records() if r.state == "done"]
        if len({r.best(self._file.metric.maximize) for r in done}) < 2:
            return {}
        importance = self._optuna.importance
        evaluator = importance.PedAnovaImportanceEvaluator()
        found = importance.get_param_importances(self._study, evaluator=evaluator)
        if not all(math.isfinite(share) for share in found.values()) or not any(found.values()):
            return {}
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
        return record_of(self._storage.get_trial(self._trial_id(number)), self._void)

    @property
    def _void(self) -> list[int]:
        return list(self._study.user_attrs.get("void", ()))

    def _trial_id(self, number: int) -> int:
        study = self._storage.get_study_id_from_name(_NAME)
        return self._storage.get_trial_id_from_study_id_trial_number(study, number)

    def _set(self, number: int, key: str, value: Any) -> None:
        self._storage.set_trial_user_attr(self._trial_id(number), key, value)

    def _is_unused(self, storage: Path, settings: Mapping[str, Any]) -> bool:
        """Whether the study is of another sweep, and holds no score that would be lost.

        Raises:
            RGBXError: it does hold one.
        """
        before = self._study.user_attrs.get("settings")
        records = self.records()
        if before is None:
            if records:
                raise RGBXError(f"The study {storage} was not begun by `rgbx sweep`.")
            return False
        keys = [key for key in settings if before.get(key) != settings[key]]
        if keys and any(record.values for record in records):
            raise RGBXError(
                f"The study {storage} was begun with another {keys[0]} ({_short(before, keys[0])}, "
                f"now {_short(settings, keys[0])}), so its trials cannot be compared with new "
                "ones: give another --output, or go back to the old sweep."
            )
        return bool(keys)

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


def _short(settings: Mapping[str, Any], key: str) -> str:
    text = json.dumps(settings.get(key))
    return text if len(text) <= 60 else f"{text[:57]}..."
