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
