"""Where an interrupted training goes on, and what Lightning's checkpoints leave out of that.

Lightning counts batches and epochs, and after some interruptions it counts wrongly: an epoch that
`max_steps` cut short counts as whole, one whose last step was saved counts twice, and batches of
another size are other batches. Checkpoints therefore hold how many samples of the epoch were
trained, by which batches. Before Lightning reads its counters from a checkpoint they are set to
what that means now.
"""

from typing import Any, NamedTuple, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loops.progress import _ProcessedTracker
from lightning.pytorch.utilities import rank_zero_warn

__all__ = ["Position", "Resume", "Shape", "position_in"]

_KEY = "progress"  # of a checkpoint


class Shape(NamedTuple):
    """How an epoch is cut into batches.

    Args:
        samples: of the data set.
        batch: samples per process and batch.
        processes: that train together.
        batches: of an epoch on one rank, after ``limit_train_batches``.
        seed: of the order.
        window: batches per step of Lightning's optimiser.
        drop_last: a last, shorter batch is left out.
    """

    samples: int
    batch: int
    processes: int
    batches: int
    seed: int
    window: int
    drop_last: bool

    @property
    def step(self) -> int:
        """Samples per batch of all processes together."""
        return self.batch * self.processes

    @property
    def trained(self) -> int:
        """Samples that an epoch trains on."""
        return min(self.batches * self.step, self.samples)


class Position(NamedTuple):
    """Where training goes on, in today's batches.

    Args:
        epoch: number of whole epochs that were trained.
        batches: of the next one that count as done, on this rank.
        seen: samples of its order that were trained, over all ranks.
        exact: nothing is left out or done again.
    """

    epoch: int
    batches: int
    seen: int
    exact: bool = True


def position_in(progress: dict[str, Any], now: Shape) -> Position:
    """Where a run goes on whose epochs may have been cut into other batches until now.

    With the same batches it goes on with the next one. With others it goes on with the first
    sample that was not seen; what does not fill a batch in the end is left out, as in every epoch.
    Batches whose gradients have not reached a step yet are trained again where the step is now
    made of others.

    Args:
        progress: what `Resume` put into the checkpoint.
        now: how an epoch is cut into batches from here on.
    """
    before = Shape(**progress["shape"])
    epoch, batches, seen = progress["epoch"], progress["batches"], progress["seen"]
    pending = progress["pending"] if now.window != before.window else 0
    if not batches:
        return Position(epoch, 0, 0)
    if batches >= before.batches:
        return Position(epoch, now.batches, now.samples)
    if before._replace(window=now.window, batches=now.batches) == now:
        done = min(batches - pending, now.batches)
        return Position(epoch, done, seen - pending * now.step, exact=not pending)
    seen -= progress["pending"] * before.step
    if (before.samples, before.seed) != (now.samples, now.seed):
        seen = round(seen / before.trained * now.trained)  # another order: the share counts
    left = max(now.trained - seen, 0)
    rest = left // now.step if now.drop_last else -(-left // now.step)
    return Position(epoch, max(now.batches - rest, 0), seen, exact=False)


class Resume(Callback):
    """Notes in every checkpoint how far the training is, and lets it go on exactly there.

    A checkpoint inside an accumulation window also gets the gradients that wait for their step.

    Args:
        data: the data module; knows the `Shape` of an epoch and gets the `Position`.
    """

    def __init__(self, data: Any) -> None:
        self._data = data
        self._gradients: dict[str, torch.Tensor] = {}
        self._validated: tuple[int, int] | None = None
        self._first = Position(0, 0, 0)

    # ------------------------------------------------------------------ saving
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember it: a checkpoint that is saved now is not validated again."""
        if not trainer.sanity_checking:
            self._validated = _trained(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add ``progress``: plain numbers, and gradients in the middle of a window."""
        shape: Shape = self._data.shape
        epoch, batches = _trained(trainer)
        begun = self._first if self._first.epoch == epoch else Position(epoch, 0, 0)
        seen = begun.seen + (batches - begun.batches) * shape.step
        pending = 0
        if pl_module.automatic_optimization and batches < shape.batches:
            pending = min(batches % shape.window, max(batches - begun.batches, 0))
        loop = trainer.fit_loop.epoch_loop
        progress = cast(_ProcessedTracker, loop.batch_progress.current)
        unlogged = progress.processed > progress.completed or trainer.validating
        checkpoint[_KEY] = {
            "shape": shape._asdict(),
            "epoch": epoch,
            "batches": batches,
            "seen": seen,
            "pending": pending,
            "validated": self._validated == (epoch, batches),
            "logged": loop._batches_that_stepped + int(unlogged and not pending),
            "gradients": _waiting_gradients(trainer, pl_module) if pending else {},
        }

    # ------------------------------------------------------------------ going on
    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Find the position, and set Lightning's counters in the checkpoint to it."""
        loops = checkpoint["loops"]["fit_loop"]
        shape: Shape = self._data.shape
        progress = checkpoint.get(_KEY) or _from_counters(loops, shape)
        position = position_in(progress, shape)
        self._first = self._data.position = position
        self._gradients = progress["gradients"] if position.exact else {}
        if progress["validated"]:
            self._validated = (position.epoch, position.batches)
        _set_counters(loops, position, progress, shape)
        if not position.exact:
            rank_zero_warn(_how_inexact(progress, position, shape))
        # a strategy that restores late: the loader has begun already
        if trainer.fit_loop._data_fetcher is not None:
            for loader in trainer.fit_loop._combined_loader.flattened:  # type: ignore[union-attr]
                loader.sampler.start(position.epoch, position.seen)
            iter(trainer.fit_loop._data_fetcher)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the gradients back, and let the first batch be what it would have been."""
        loop = trainer.fit_loop.epoch_loop
        trainer.fit_loop._restarting = False  # its epochs end as all others do
        if not loop.restarting:
            return
        if not self._first.batches:
            loop.restarting = False  # with max_steps Lightning would go through an empty epoch
            return
        fetcher = trainer.fit_loop._data_fetcher
        assert fetcher is not None
        if loop._should_check_val_fx(fetcher) and not loop._should_accumulate():
            loop._batches_that_stepped -= 1  # Lightning comes by once more, for the validation
        parameters = dict(pl_module.named_parameters())
        for name, gradient in self._gradients.items():
            parameters[name].grad = gradient.to(parameters[name].device)
        self._gradients = {}


def _trained(trainer: Trainer) -> tuple[int, int]:
    """Whole epochs and batches of the next one that were trained."""
    epochs = cast(_ProcessedTracker, trainer.fit_loop.epoch_progress.current)
    progress = trainer.fit_loop.epoch_loop.batch_progress
    batches = cast(_ProcessedTracker, progress.current).processed
    if epochs.started > epochs.processed:
        return epochs.processed, batches
    if batches and not progress.is_last_batch:  # max_steps or a callback cut the epoch short
        return epochs.processed - 1, batches
    return epochs.processed, 0


def _waiting_gradients(trainer: Trainer, module: LightningModule) -> dict[str, torch.Tensor]:
    """Gradients of the batches since the last step: of all ranks, whose mean all go on with."""
    found = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            own = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
            found[name] = trainer.strategy.reduce(own.detach().clone(), reduce_op="mean")
    return found


def _from_counters(loops: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """Progress of a checkpoint without it, as earlier versions wrote them."""
    total = loops["epoch_loop.batch_progress"]["total"]["processed"]
    epoch, batches = divmod(total, max(shape.batches, 1))
    return {
        "shape": shape._asdict(),
        "epoch": epoch,
        "batches": batches,
        "seen": batches * shape.step,
        "pending": batches % shape.window,
        "validated": False,
        "logged": loops["epoch_loop.state_dict"]["_batches_that_stepped"],
        "gradients": {},
    }


def _set_counters(
    loops: dict[str, Any], position: Position, progress: dict[str, Any], shape: Shape
) -> None:
    """Lightning's counters at a position: between epochs, or after a batch and all its hooks."""
    epoch, batches = position.epoch, position.batches
    inside = int(batches > 0)
    counted = {
        **{"ready": epoch + inside, "started": epoch + inside},
        **{"processed": epoch, "completed": epoch},
    }
    loops["epoch_progress"] = {"total": dict(counted), "current": dict(counted)}
    names = ("ready", "started", "processed", "completed")
    total = loops["epoch_loop.batch_progress"]["total"]["processed"]
    loops["epoch_loop.batch_progress"] = {
        "total": dict.fromkeys(names, total),
        "current": dict.fromkeys(names, batches),
        "is_last_batch": bool(inside and batches >= shape.batches),
    }
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] = progress["logged"]
    # a validation that is due and was not done: begun, as Lightning sees it, and without a batch
    begun = int(inside and not progress["validated"])
    counted = {"ready": begun, "started": begun, "processed": 0, "completed": 0}
    loops["epoch_loop.val_loop.batch_progress"] = {
        "total": dict(counted),
        "current": dict(counted),
        "is_last_batch": False,
    }


def _how_inexact(progress: dict[str, Any], position: Position, now: Shape) -> str:
    """What is done where a run cannot go on as if it had not been interrupted."""
    before = Shape(**progress["shape"])
    where = f"Epoch {position.epoch} goes on after {position.seen} of its {now.trained} samples"
    left = max(now.trained - position.seen, 0) - (now.batches - position.batches) * now.step
    if now.step == before.step:
        return (
            f"{where}: {progress['pending']} batches whose gradients had not reached a step of "
            f"{before.window} batches are trained again, as a step has {now.window} now."
        )
    tail = f"; {left} that do not fill a batch are left out" if left > 0 else ""
    return f"{where}, with {now.step} per batch where there were {before.step}{tail}."
