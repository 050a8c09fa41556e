"""Callbacks that cut runs short, for the resume tests."""

import os
import time
from pathlib import Path

from lightning.pytorch import Callback


class StopAfterEpoch(Callback):
    """Stops cleanly after the first epoch, with the schedule of the whole run."""

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = True


class SaveMidEpoch(Callback):
    """Saves ``middle.ckpt`` half-way through the second epoch, then stops the run there."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.current_epoch == 1 and batch_idx == 1:
            trainer.save_checkpoint("middle.ckpt")
            trainer.should_stop = True


class SaveEachBatch(Callback):
    """Saves ``batch_N.ckpt`` after the N-th batch of the run, and ``epoch_N.ckpt``."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        trainer.save_checkpoint(f"batch_{trainer.fit_loop.total_batch_idx + 1}.ckpt")

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.save_checkpoint(f"epoch_{trainer.current_epoch}.ckpt")


class SendSignal(Callback):
    """Sends this process a signal after the second batch of the second epoch.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int):
        self.number = number

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.current_epoch == 1 and batch_idx == 1:
            os.kill(os.getpid(), self.number)


class HangInSecondEpoch(Callback):
    """Waits to be killed in the middle of the second epoch."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.current_epoch == 1 and batch_idx == 1:
            Path("hanging").write_text(str(os.getpid()))
            time.sleep(600)


class InterruptInSecondEpoch(Callback):
    """What Ctrl-C does, in the middle of the second epoch."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.current_epoch == 1 and batch_idx == 1:
            raise KeyboardInterrupt


class InterruptAtOnce(Callback):
    """The same before anything was saved."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        raise KeyboardInterrupt
