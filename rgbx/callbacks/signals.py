"""SIGTERM ends a command after the batch at work; SLURM's signal saves and requeues the job.

Lightning saves in the signal handler itself, wherever training is (a half-made step included),
and its ranks talk to each other there. Here a handler takes note, no more; after each batch all
ranks agree on what was heard.
"""

import contextlib
import signal
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import torch
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from lightning.pytorch.utilities.exceptions import SIGTERMException

from rgbx.callbacks.slurm import Job

__all__ = ["HeedSignals"]

_NOTHING, _REQUEUE, _STOP = range(3)
_GRACE = 30.0  # seconds that other ranks have to end by themselves


class HeedSignals(Callback):
    """Ends the command, or saves and requeues its job, at the end of a batch.

    Args:
        job: of SLURM, if the command is one.
    """

    def __init__(self, job: Job | None) -> None:
        self._job = job
        self._heard = _NOTHING
        self._trainer: Trainer | None = None
        self._ranks: list[subprocess.Popen[bytes]] = []

    @contextlib.contextmanager
    def listening(self, trainer: Trainer) -> Iterator[None]:
        """Hear SLURM's signal instead of Lightning, from the start to the end of a command."""
        environment = trainer._accelerator_connector.cluster_environment
        number = None
        if isinstance(environment, SLURMEnvironment) and environment.auto_requeue and self._job:
            number = environment.requeue_signal
        if number is None or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(number, self._requeue)
        try:
            yield
        finally:
            signal.signal(number, before)

    def wait_for_ranks(self) -> None:
        """See to it that the ranks this process started end before it does."""
        for rank in self._ranks:
            with contextlib.suppress(subprocess.TimeoutExpired):
                rank.wait(_GRACE)
            rank.kill()  # nothing, if it has ended
            rank.wait()

    # ------------------------------------------------------------------ handlers
    def _requeue(self, *_: Any) -> None:
        self._heard = max(self._heard, _REQUEUE)

    def _stop(self, number: int, _: Any) -> None:
        if self._heard != _STOP and self._trainer is not None:
            launcher = self._trainer.strategy.launcher
            if launcher is not None:
                launcher.kill(number)
        self._heard = _STOP

    # ------------------------------------------------------------------ Lightning's hooks
    def _listen(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hear SIGTERM instead of Lightning, which puts back what was before when it ends."""
        self._trainer = trainer
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._stop)

    on_sanity_check_start = on_train_start = _listen
    on_validation_start = on_test_start = on_predict_start = _listen

    def _after_batch(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Do what any rank was asked for.

        Raises:
            SIGTERMException: to end the command.
        """
        heard = self._heard
        if trainer.world_size > 1:
            mine = torch.tensor(heard, device=trainer.strategy.root_device)
            heard = int(trainer.strategy.reduce(mine, reduce_op="max"))
        if heard == _STOP:
            raise SIGTERMException
        if heard == _REQUEUE and trainer.training and self._job is not None:
            self._heard = _NOTHING
            self._job.save_and_requeue(trainer)

    on_train_batch_end = on_validation_batch_end = _after_batch
    on_test_batch_end = on_predict_batch_end = _after_batch

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Keep Lightning from killing this process because another rank ended as it was told."""
        launcher = trainer.strategy.launcher
        if isinstance(exception, SIGTERMException) and isinstance(
            launcher, _SubprocessScriptLauncher
        ):
            self._ranks = list(launcher.procs)
            launcher.procs.clear()
