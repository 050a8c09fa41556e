"""Gradient surgery for any LightningModule whose training step yields several losses.

Lightning's automatic optimisation knows one loss. This mixin takes over the step: per-loss
gradients of named parameter groups, accumulation, one all-reduce, surgery, clipping, the fp16
scaler, the schedule. What the Trainer cannot do under manual optimisation (accumulation and
clipping) are options here.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from rgbx.errors import RGBXError
from rgbx.optim.checks import (
    refuse_infinite,
    refuse_optimizers,
    refuse_trainer_options,
    refuse_unoptimised,
    scalars,
)
from rgbx.optim.clip import clip_gradients
from rgbx.optim.cutting import Cutting
from rgbx.optim.gradients import GroupedGradients
from rgbx.optim.groups import check_groups, loss_names
from rgbx.optim.history import SurgeryHistory, surgery_statistics
from rgbx.optim.plateau import Watch, keep_watches, step_plateau
from rgbx.optim.surgery import build_weighting
from rgbx.optim.weightings import Weightings

__all__ = ["GradientSurgery"]

_TOTAL = "total"


class GradientSurgery(Cutting):
    """Mixin, to stand before the module's other base: ``class Mine(GradientSurgery, Base)``.

    A subclass sets :attr:`groups` and writes ``training_losses(batch) -> {name: scalar}``; it
    has no ``training_step`` of its own.

    Parameters may be frozen and unfrozen between steps; the optimiser has to have them.

    Attributes:
        groups: group name -> (pattern searched in parameter names, names of the losses that train
            the group). The first fitting pattern wins; every trainable parameter needs a group.
        surgery: how a group's gradients are merged: ``PCGrad``, ``Sum``, ``Mean``, a
            ``torchjd.aggregation.*Weighting`` (its path, or class_path and init_args), or any
            callable from a Gram matrix to weights; None for one backward pass through the sum.
        accumulate: micro-batches per optimiser step; may be changed between steps. The last,
            shorter window of an epoch is divided by its true length.
        clip: largest norm of the merged gradient over all parameters, after unscaling; None to
            leave it.
        compared_groups: two groups whose gradient norms are set in relation in the log.

    Raises:
        RGBXError: at the start, an option that cannot work, or one that the Trainer cannot do
            under manual optimisation. In any step, losses other than those that the groups name, a
            trainable parameter in no group or not in the optimiser, a gradient that is not finite
            (without a scaler). In the first step, a loss that has no gradient in its own group
            though it is no constant.
    """

    accumulate: int = 1
    clip: float | None = None
    compared_groups: tuple[str, str] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.automatic_optimization = False
        self.surgery_history = SurgeryHistory()
        self._gradients: GroupedGradients | None = None
        self._weightings: Weightings | None = None
        self._watches: list[Watch] = []
        self._window: dict[str, Any] | None = None
        self._surgery_seed: int | None = None

    def check_options(self) -> None:
        """Refuse values that cannot work; also called when training starts.

        Raises:
            RGBXError: names the option and what to give.
        """
        if not isinstance(self.accumulate, int) or self.accumulate < 1:
            raise RGBXError(f"accumulate is {self.accumulate}: give 1 or more batches per step.")
        if self.clip is not None and not self.clip > 0:
            raise RGBXError(f"clip is {self.clip}: give a norm above 0, or null for none.")
        if self.surgery is not None:
            build_weighting(self.surgery)

    def training_losses(self, batch: Any) -> dict[str, Tensor]:
        """Named scalar losses of one batch, each a mean over the images; 0.0 for one that rests."""
        raise NotImplementedError(f"{type(self).__name__} has to define training_losses(batch)")

    # ------------------------------------------------------------------ the step
    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Collect this batch's gradients; at the end of a window, merge them and step."""
        losses = self._losses(batch)
        cut, self._cut = self._cut, None
        gradients = self._prepared(first=batch_idx == 0)
        values = {f"train/{name}": loss.detach() for name, loss in losses.items()}
        total = torch.stack(list(values.values())).sum()
        self.log("train/loss", total, prog_bar=True, batch_size=1)
        self.log_dict(values, batch_size=1)
        if self.surgery is None:
            losses = {_TOTAL: torch.stack(list(losses.values())).sum()}
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        gradients.add(losses, scaler.scale if scaler else lambda x: x, cut, batch_idx == 0)
        if gradients.count >= self.accumulate or self.trainer.is_last_batch:
            self._optimise(gradients, scaler)

    def _losses(self, batch: Any) -> dict[str, Tensor]:
        self._cut, self._in_step = None, True
        try:
            losses = self.training_losses(batch)
        finally:
            self._in_step = False
        return scalars(losses, loss_names(self.groups), type(self).__name__, self.device)

    def _prepared(self, first: bool) -> GroupedGradients:
        """The buffer, for the parameters that are trainable now; a window's sums are kept.

        Args:
            first: whether an epoch begins, where new parameters are looked for as well.
        """
        old = self._gradients
        if old is not None and old.fits(self.parameters() if first else None):
            return old
        groups = self.groups
        if self.surgery is None:
            groups = {name: (pattern, (_TOTAL,)) for name, (pattern, _) in groups.items()}
        new = GroupedGradients(self.named_parameters(remove_duplicate=False), groups)
        refuse_unoptimised(new.trained, self.trainer.optimizers[0])
        pair = self.compared_groups
        if pair is not None and (len(pair) != 2 or not set(pair) <= set(groups)):
            raise RGBXError(
                f"compared_groups is {pair!r}: give two of the surgery groups {', '.join(groups)}."
            )
        if old is not None:
            if old.count:  # what was unfrozen has a gradient from here on
                new.take_over(old.sums(), old.count)
            for name in old.trained.keys() - new.trained.keys():
                old.trained[name].grad = None  # or the optimiser would go on with the last one
        elif self._window is not None:  # a checkpoint was taken in the middle of a window
            self._resume_window(new, self._window)
        self._gradients, self._window = new, None
        return new

    def _resume_window(self, gradients: GroupedGradients, window: Mapping[str, Any]) -> None:
        missing = gradients.take_over(window.get("sums", {}), window["count"])
        if missing:
            loss, name = missing[0]
            raise RGBXError(
                f"The checkpoint was taken after {window['count']} batches of an accumulation "
                f"window, with other groups or losses: it has no gradient of the loss {loss!r} on "
                f"{name}, nor of {len(missing) - 1} other pairs. Resume with the groups, losses "
                "and frozen parameters that it was trained with, or from a checkpoint of the end "
                "of an epoch."
            )

    def _optimise(self, gradients: GroupedGradients, scaler: Any) -> None:
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        before = scaler.get_scale() if scaler else 1.0
        gradients.reduce(self.trainer.world_size)
        products = {name: gram / before**2 for name, gram in gradients.gramians().items()}
        losses = {group.name: group.losses for group in gradients.groups}
        if scaler is None:  # else the scaler skips the step
            refuse_infinite(products, losses, self)
        step = self.trainer.global_step
        gradients.merge(self._built_weightings().weights(products, self._surgery_seed or 0, step))
        optimizer.step()
        self._record(step, products, losses)
        if scaler is None or scaler.get_scale() >= before:  # else: overflow, the step was skipped
            self._step_schedulers("step", step + 1)

    def _built_weightings(self) -> Weightings:
        if self._weightings is None:
            self._weightings = Weightings("Sum" if self.surgery is None else self.surgery)
        return self._weightings

    def _record(
        self, step: int, products: Mapping[str, Tensor], losses: Mapping[str, Sequence[str]]
    ) -> None:
        numbers = surgery_statistics(products, losses, self.compared_groups)
        if not numbers:
            return
        self.surgery_history.append(step, numbers)
        # NaN (a loss without any gradient) would stay in a running mean
        known = {f"surgery/{k}": v for k, v in numbers.items() if math.isfinite(v)}
        self.log_dict(known, batch_size=1)

    # ------------------------------------------------------------------ Lightning's hooks
    def configure_callbacks(self) -> Sequence[Callback] | Callback:
        """Refuse what cannot work before Lightning does, and say where the option lives."""
        more = super().configure_callbacks()
        callbacks = [more] if isinstance(more, Callback) else more
        refuse_trainer_options(self.trainer, type(self).__name__, callbacks)
        if self.trainer.training:
            self._watches = []
            keep_watches(self, self._watches)
        return more

    def on_train_start(self) -> None:
        """Begin with an empty window, and agree on the seed of the surgery."""
        super().on_train_start()
        refuse_optimizers(self.trainer.optimizers, type(self).__name__)
        self.check_options()
        check_groups(getattr(self, "groups", None))
        self._gradients = None
        if self.trainer.global_step == 0 and self._window is None:  # not what an earlier fit left
            self._weightings, self.surgery_history = None, SurgeryHistory()
        if self._surgery_seed is None:  # a checkpoint's seed goes on
            self._surgery_seed = self.trainer.strategy.broadcast(torch.initial_seed())

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip: gradients are merged, averaged over processes, and unscaled by now."""
        super().on_before_optimizer_step(optimizer)
        if self.clip is None:
            return
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler and getattr(optimizer, "_step_supports_amp_scaling", False):
            raise RGBXError(
                f"{type(optimizer).__name__} with `fused: true` unscales inside its step, too late "
                "for `clip`: switch one of the two off, or train in bf16-mixed."
            )
        params = [p for group in optimizer.param_groups for p in group["params"]]
        norm = clip_gradients(params, self.clip)
        self.log("train/grad_norm", norm, batch_size=1)

    def on_train_epoch_end(self) -> None:
        """Step the schedules that count epochs."""
        super().on_train_epoch_end()
        if self.trainer.is_last_batch:  # else it was cut short, and will go on
            self._step_schedulers("epoch", self.current_epoch + 1)

    def _step_schedulers(self, interval: str, count: int) -> None:
        for config in self.trainer.lr_scheduler_configs:
            if config.interval != interval or count % config.frequency:
                continue
            if isinstance(config.scheduler, ReduceLROnPlateau):
                step_plateau(self, config, self._watches)
            else:
                config.scheduler.step()

    def epoch_steps(self, batches: int, done: int = 0) -> int:
        """Optimiser steps of an epoch of so many batches, from the one after `done` on.

        A window that a checkpoint brought half filled counts.
        """
        waiting = self._window["count"] if done and self._window is not None else 0
        return math.ceil((batches - done + waiting) / self.accumulate) if done < batches else 0

    def on_fit_end(self) -> None:
        """Write the curves of cosines, conflicts and ratio next to the run's logs."""
        super().on_fit_end()
        folder = self.trainer.log_dir if self.trainer.loggers else None
        trial = getattr(self.trainer, "fast_dev_run", False)
        if self.trainer.is_global_zero and folder and not trial:
            self.surgery_history.write(Path(folder))

    # ------------------------------------------------------------------ checkpoints
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Also keep the seed, the history, what weightings remember, and a half-filled window."""
        super().on_save_checkpoint(checkpoint)
        state: dict[str, Any] = {
            "seed": self._surgery_seed,
            "history": self.surgery_history.state(),
            "weightings": self._built_weightings().state(),
        }
        if self._gradients is not None and self._gradients.count:
            state["window"] = {
                "sums": self._gradients.sums(self.trainer.world_size),
                "count": self._gradients.count,
            }
        checkpoint["surgery"] = state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on where the checkpoint stopped; checkpoints without surgery load as well."""
        super().on_load_checkpoint(checkpoint)
        state = checkpoint.get("surgery")
        if state is None:
            return
        self._surgery_seed = state["seed"]
        self._window = state.get("window")
        self.surgery_history.load(state["history"])
        self._weightings = None
        if self.surgery is not None:
            known = {k: v for k, v in state["weightings"].items() if k in self.groups}
            self._built_weightings().load(known)
