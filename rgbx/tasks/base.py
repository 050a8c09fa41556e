"""What every rgbx model shares: optimiser set-up, checkpoints of trained parts, early refusals."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Optimizer

from rgbx.backbones.weights import Weights
from rgbx.errors import RGBXError
from rgbx.optim.build import build_optimizer
from rgbx.optim.by_name import ByName
from rgbx.optim.pace import Pace, put_settings
from rgbx.optim.schedules import Schedule
from rgbx.optim.seeds import mix_seeds
from rgbx.tasks.evaluated import Evaluated

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["OptimizerFactory", "RGBXModule", "as_config", "as_weights", "resize", "without_nan"]

Config = TypeVar("Config", bound="DataclassInstance")
#: what makes an optimiser: of parameters, or by their names
OptimizerFactory = Callable[[Iterable[Any]], Optimizer] | ByName


class RGBXModule(Evaluated):
    """Base of all papers.

    A subclass calls :meth:`keep_arguments` first thing in its constructor, lists arguments that do
    not change what its network computes in ``outside_forward``, builds its network, and implements
    ``training_losses`` (or a task base does). Everything that must not differ between papers lives
    here:

    * the optimiser sees trainable parameters only; the schedule is stepped per optimiser step;
    * a checkpoint holds the trained parameters, the identity of the frozen ones, and what the
      network was trained to see; it refuses arguments that make another function (see
      `rgbx.checkpoints.module.Checkpointed`);
    * on resume, the configuration wins over the optimiser settings stored in the checkpoint;
    * random numbers drawn during a step depend on (seed, step, rank) alone, so that a resumed run
      repeats an uninterrupted one bit for bit;
    * a loss that is not finite stops the run and names the step and the files.
    """

    #: sides of the network's input are multiples of this
    size_multiple: ClassVar[int] = 16

    def __init__(self, optimizer: OptimizerFactory, schedule: Schedule) -> None:
        super().__init__()
        self._optimizer_factory = optimizer
        self._schedule = schedule
        self._configured: list[dict[str, Any]] = []
        self._pace: Pace | None = None
        self._stored_pace: dict[str, int] | None = None
        self._seed: int | None = None
        self._checked_gradients = False
        self.evaluator: Any = None
        self.results: dict[str, dict[str, dict[str, Any]]] = {}

    def setup(self, stage: str) -> None:
        """Refuse an image size that the network cannot take before the first batch.

        Raises:
            RGBXError: names the next valid size.
        """
        super().setup(stage)
        size = tuple(getattr(self._data, "size", ()))
        if any(side % self.size_multiple for side in size):
            valid = [-(-side // self.size_multiple) * self.size_multiple for side in size]
            raise RGBXError(
                f"data.size is {list(size)}, but {type(self).__name__} needs multiples of "
                f"{self.size_multiple}; the next valid size is {valid}."
            )

    # ------------------------------------------------------------------ optimisation
    def training_losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Named scalar losses of one batch; their sum is minimised."""
        raise NotImplementedError(f"{type(self).__name__} has to define training_losses(batch)")

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor | None:
        """One batch: sum of the losses; each is logged as ``train/<name>``."""
        losses = self.training_losses(batch)
        self.refuse_bad_loss(losses, batch)
        total = torch.stack(list(losses.values())).sum()
        size = len(batch["rgb"])
        self.log_dict({f"train/{k}": v.detach() for k, v in losses.items()}, batch_size=size)
        self.log("train/loss", total.detach(), prog_bar=True, batch_size=size)
        return total

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW (or what the configuration says) on trainable parameters + per-step schedule.

        Raises:
            RGBXError: the run has no end, so that no schedule can be laid over it.
        """
        if self.trainer.max_epochs == self.trainer.max_steps == -1:
            raise RGBXError("trainer.max_epochs is -1: give trainer.max_steps, or some epochs.")
        trained = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        optimizer = build_optimizer(self._optimizer_factory, trained)
        self._configured = [
            {k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups
        ]
        if self.trainer.train_dataloader is None:  # as Lightning does to count an epoch's batches
            self.trainer.fit_loop.setup_data()
        steps = max(1, self.epoch_steps(int(self.trainer.num_training_batches)))
        self._pace = pace = Pace(steps, self.trainer.max_epochs, self.trainer.max_steps)

        # a closure, not a callable object: LambdaLR would store the object in checkpoints
        def factor(step: int) -> float:
            return pace.factor(self._schedule, step)

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def epoch_steps(self, batches: int, done: int = 0) -> int:
        """Optimiser steps of an epoch of so many batches, from the one after `done` on."""
        window = self.trainer.accumulate_grad_batches
        return math.ceil(batches / window) - done // window if done < batches else 0

    def on_train_start(self) -> None:
        """Put the configured settings over a checkpoint's, and go on with the epochs trained."""
        if not self.trainer.ckpt_path or self._pace is None:
            return
        scheduler: Any = self.lr_schedulers()
        if self._stored_pace is not None:
            place = getattr(self._data, "position", None)
            done = place.batches if place is not None else 0
            left = self.epoch_steps(int(self.trainer.num_training_batches), done)
            self._pace.resume(self._stored_pace, scheduler.last_epoch, place, left)
        put_settings(self.trainer.optimizers[0], scheduler, self._configured)

    def on_fit_start(self) -> None:
        """Print what is trained and what is frozen."""
        if self.trainer.is_global_zero:
            print(self.parameter_summary(), flush=True)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed this step's random numbers from (seed, epoch, batch, rank)."""
        if self._seed is None:  # before the first step: what seed_everything set
            self._seed = torch.initial_seed()
        torch.manual_seed(mix_seeds(self._seed, self.current_epoch, batch_idx, self.global_rank))

    def on_after_backward(self) -> None:
        """Refuse trainable parameters that no loss reaches (DDP would hang on them later)."""
        if self.trainer.global_step or self._checked_gradients:
            return
        self._checked_gradients = True
        idle = [n for n, p in self.named_parameters() if p.requires_grad and p.grad is None]
        if idle:
            raise RGBXError(
                f"{len(idle)} trainable parameters get no gradient from any loss, for example "
                f"{', '.join(idle[:3])}: freeze them or use them in the forward pass."
            )

    def refuse_bad_loss(self, losses: Mapping[str, Tensor], batch: Mapping[str, Any]) -> None:
        """Stop when a loss is NaN or infinite.

        Raises:
            RGBXError: names the optimiser step, the losses and the files of the batch.
        """
        bad = [name for name, loss in losses.items() if not torch.isfinite(loss)]
        if bad:
            files = ", ".join(str(p) for p in batch.get("path", batch.get("name", [])))
            raise RGBXError(
                f"The loss {', '.join(bad)} is not finite at step {self.trainer.global_step} "
                f"(epoch {self.current_epoch}); the batch was: {files}. Lower the learning rate, "
                "or look at these files with `rgbx check-data`."
            )

    # ------------------------------------------------------------------ checkpoints
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As the base; also how far the schedule is."""
        super().on_save_checkpoint(checkpoint)
        if self._pace is not None:
            checkpoint["pace"] = self._pace.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As the base; the schedule goes on from there."""
        super().on_load_checkpoint(checkpoint)
        self._stored_pace = checkpoint.get("pace")


def resize(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear (half-pixel centres) resize of (B,K,h,w) logits to ``size``, in float32 or wider."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)


def as_weights(value: Weights | Mapping[str, Any] | None) -> Weights | None:
    """A weight file from its plain form, as checkpoints store it."""
    return Weights(**value) if isinstance(value, Mapping) else value


def as_config(kind: type[Config], value: Config | Mapping[str, Any]) -> Config:
    """A group of options from its plain form, as checkpoints store it.

    Args:
        kind: a dataclass.
        value: one of it, or its fields by name; those that are missing have their defaults.

    Raises:
        RGBXError: there is no such field.
    """
    if isinstance(value, kind):
        return value
    value = dict(value) if isinstance(value, Mapping) else dict(vars(value))
    known = [field.name for field in fields(kind)]
    if unknown := [name for name in value if name not in known]:
        raise RGBXError(
            f"{kind.__name__} has no {', '.join(unknown)}: its options are {', '.join(known)}."
        )
    return kind(**value)


def without_nan(logits: Tensor) -> Tensor:
    """The logits as they are, (B,K,H,W): an argmax would take NaN for a class.

    Raises:
        RGBXError: they hold NaN, as after a training that ran away in its last step.
    """
    if logits.isnan().any():
        raise RGBXError(
            "The network's output holds NaN, so nothing can be scored: train with a lower "
            "learning rate, or evaluate with --trainer.precision 32-true."
        )
    return logits
