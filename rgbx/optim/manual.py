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
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from rgbx.errors import RGBXError
from rgbx.optim.gradients import Cut, GroupedGradients, Groups
from rgbx.optim.history import SurgeryHistory, surgery_statistics
from rgbx.optim.seeds import mix_seeds
from rgbx.optim.surgery import Weighting, build_weighting

__all__ = ["GradientSurgery"]

_TOTAL = "total"


class GradientSurgery(LightningModule):
    """Mixin, to stand before the module's other base: ``class Mine(GradientSurgery, Base)``.

    A subclass sets :attr:`groups` and writes ``training_losses(batch) -> {name: scalar}``; it
    has no ``training_step`` of its own.

    Attributes:
        groups: group name -> (pattern searched in parameter names, names of the losses that train
            the group). The first fitting pattern wins; every trainable parameter needs a group.
        surgery: how a group's gradients are merged: ``PCGrad``, ``Sum``, ``Mean``, a
            ``torchjd.aggregation.*Weighting`` (its path, or class_path and init_args), or any
            callable from a Gram matrix to weights; None for one backward pass through the sum.
        accumulate: micro-batches per optimiser step. The last, shorter window of an epoch is
            divided by its true length.
        clip: largest norm of the merged gradient over all parameters, after unscaling; None to
            leave it.
        compared_groups: two groups whose gradient norms are set in relation in the log.

    Raises:
        RGBXError: at the start, a group that matches nothing or a trainable parameter in no
            group; a strategy that shards gradients; ``accumulate_grad_batches`` or
            ``gradient_clip_val`` given to the Trainer. In the first step, a loss that is missing
            or has no gradient in its own group. In any step, a gradient that is not finite
            (without a scaler).
    """

    groups: Groups
    surgery: str | Mapping[str, Any] | Weighting | None = "PCGrad"
    accumulate: int = 1
    clip: float | None = None
    compared_groups: tuple[str, str] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.automatic_optimization = False
        self.surgery_history = SurgeryHistory()
        self._gradients: GroupedGradients | None = None
        self._weightings: dict[str, Weighting] = {}
        self._cut: Cut | None = None
        self._window: dict[str, Any] | None = None
        self._surgery_seed: int | None = None

    def check_options(self) -> None:
        """Refuse values that cannot work; also called when training starts.

        Raises:
            RGBXError: names the option and what to give.
        """
        if self.accumulate < 1:
            raise RGBXError(f"accumulate is {self.accumulate}: give 1 or more batches per step.")
        if self.clip is not None and not self.clip > 0:
            raise RGBXError(f"clip is {self.clip}: give a norm above 0, or null for none.")
        if self.surgery is not None:
            build_weighting(self.surgery)

    def training_losses(self, batch: Any) -> dict[str, Tensor]:
        """Named scalar losses of one batch, each a mean over the images."""
        raise NotImplementedError(f"{type(self).__name__} has to define training_losses(batch)")

    def cut(self, *tensors: Tensor) -> list[Tensor]:
        """Take the graph apart here; call it once in ``training_losses``, where streams meet.

        What lies before the returned tensors is walked through once per loss, as always; what
        lies behind ``tensors`` only as often as losses compete there: gradients of losses that
        train different groups share one walk. The gradients are the same.

        Args:
            tensors: results of the shared part, e.g. features of each stream.

        Returns:
            Stand-ins of the same values, to compute the losses from. Outside of training, or
            without surgery, the tensors themselves.
        """
        if self.surgery is None or not torch.is_grad_enabled() or not self.training:
            return list(tensors)
        leaves = [t.detach().requires_grad_() for t in tensors]
        self._cut = Cut(list(tensors), leaves)
        return leaves

    # ------------------------------------------------------------------ the step
    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Collect this batch's gradients; at the end of a window, merge them and step."""
        self._cut = None
        losses = self.training_losses(batch)
        gradients = self._prepared(losses)
        values = {f"train/{name}": loss.detach() for name, loss in losses.items()}
        total = torch.stack(list(values.values())).sum()
        self.log("train/loss", total, prog_bar=True, batch_size=1)
        self.log_dict(values, batch_size=1)
        if self.surgery is None:
            losses = {_TOTAL: torch.stack(list(losses.values())).sum()}
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        cut, self._cut = self._cut, None
        gradients.add(losses, scaler.scale if scaler else lambda loss: loss, cut)
        if gradients.count == self.accumulate or self.trainer.is_last_batch:
            self._optimise(gradients, scaler)

    def _prepared(self, losses: Mapping[str, Tensor]) -> GroupedGradients:
        """The buffer; groups and weightings are checked and built at the first step."""
        if self._gradients is not None:
            return self._gradients
        absent = {loss for _, wanted in self.groups.values() for loss in wanted} - set(losses)
        if absent:
            raise RGBXError(
                f"The surgery groups name the loss {', '.join(sorted(absent))}, but the losses of "
                f"{type(self).__name__} are {', '.join(losses)}."
            )
        groups = self.groups
        if self.surgery is None:
            groups = {name: (pattern, (_TOTAL,)) for name, (pattern, _) in groups.items()}
        self._gradients = GroupedGradients(self.named_parameters(), groups)
        if self._window is not None:  # a checkpoint was taken in the middle of a window
            self._gradients.flat.copy_(self._window["sum"])
            self._gradients.count, self._window = self._window["count"], None
        return self._gradients

    def _optimise(self, gradients: GroupedGradients, scaler: Any) -> None:
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        before = scaler.get_scale() if scaler else 1.0
        gradients.reduce(self.trainer.world_size)
        products = {name: gram / before**2 for name, gram in gradients.gramians().items()}
        self._refuse_infinite(products, scaler)
        gradients.merge(self._weights(products))
        step = self.trainer.global_step
        optimizer.step()
        self._record(step, products, gradients)
        if scaler is None or scaler.get_scale() >= before:  # else: overflow, the step was skipped
            self._step_schedulers("step", step + 1)

    def _weights(self, products: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Group -> weights. Random numbers depend on (seed, step) alone: ranks agree, resume too.

        Gradients that overflowed get weights of NaN, so that the scaler sees it.
        """
        found, seed = {}, self._surgery_seed or 0
        with torch.random.fork_rng(devices=[]):
            for index, (name, gram) in enumerate(products.items()):
                # not torch.manual_seed, which would also reseed the GPUs
                torch.default_generator.manual_seed(
                    mix_seeds(seed, self.trainer.global_step, index)
                )
                if not torch.isfinite(gram).all():
                    found[name] = torch.full((len(gram),), math.nan)
                elif len(gram) == 1:
                    found[name] = torch.ones(1)
                else:
                    found[name] = self._weighting(name)(gram)
        return found

    def _weighting(self, group: str) -> Weighting:
        """One weighting per group: some remember what they saw."""
        assert self.surgery is not None
        if group not in self._weightings:
            self._weightings[group] = build_weighting(self.surgery)
        return self._weightings[group]

    def _refuse_infinite(self, products: Mapping[str, Tensor], scaler: Any) -> None:
        bad = [name for name, gram in products.items() if not torch.isfinite(gram).all()]
        if bad and scaler is None:
            raise RGBXError(
                f"A gradient of the parameter group {', '.join(bad)} is not finite at step "
                f"{self.trainer.global_step} (epoch {self.current_epoch}) though the losses are: "
                "lower the learning rate, set `clip`, or train in a wider precision."
            )

    def _record(
        self, step: int, products: Mapping[str, Tensor], gradients: GroupedGradients
    ) -> None:
        losses = {group.name: group.losses for group in gradients.groups}
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
        trainer = self.trainer
        if trainer.accumulate_grad_batches != 1:
            raise RGBXError(
                f"{type(self).__name__} steps its optimiser itself: instead of "
                f"trainer.accumulate_grad_batches set model.accumulate to "
                f"{trainer.accumulate_grad_batches}."
            )
        if trainer.gradient_clip_val is not None:
            raise RGBXError(
                f"{type(self).__name__} clips its merged gradients itself: instead of "
                f"trainer.gradient_clip_val set model.clip to {trainer.gradient_clip_val}."
            )
        if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
            raise RGBXError(
                f"Gradient surgery needs whole gradients on every process; "
                f"{type(trainer.strategy).__name__} does not keep them: set trainer.strategy to "
                "auto or ddp."
            )
        return super().configure_callbacks()

    def on_train_start(self) -> None:
        """Agree on the seed of the surgery."""
        super().on_train_start()
        if len(self.trainer.optimizers) != 1:
            raise RGBXError(
                f"Gradient surgery works with one optimiser, but {type(self).__name__} configures "
                f"{len(self.trainer.optimizers)}: put the groups into one optimiser's param_groups."
            )
        self.check_options()
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
        norm = torch.nn.utils.clip_grad_norm_(params, self.clip)
        self.log("train/grad_norm", norm, batch_size=1)

    def on_train_epoch_end(self) -> None:
        """Step the schedules that count epochs."""
        super().on_train_epoch_end()
        self._step_schedulers("epoch", self.current_epoch + 1)

    def _step_schedulers(self, interval: str, count: int) -> None:
        for config in self.trainer.lr_scheduler_configs:
            if config.interval != interval or count % config.frequency:
                continue
            if isinstance(config.scheduler, ReduceLROnPlateau):
                assert config.monitor is not None  # Lightning demands it
                config.scheduler.step(self.trainer.callback_metrics[config.monitor].item())
            else:
                config.scheduler.step()

    def optimizer_steps(self) -> int:
        """Optimiser steps of the whole run, as the Trainer counts them under `accumulate`."""
        total = int(self.trainer.estimated_stepping_batches)
        epochs, limit = self.trainer.max_epochs or -1, self.trainer.max_steps
        if epochs < 0 or self.accumulate == 1:
            return total
        steps = math.ceil(self.trainer.num_training_batches / self.accumulate) * epochs
        return min(steps, limit) if limit > 0 else steps

    def on_fit_end(self) -> None:
        """Write the curves of cosines, conflicts and ratio beside the run's logs."""
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
            "weightings": {name: _memory(w) for name, w in self._weightings.items()},
        }
        if self._gradients is not None and self._gradients.count:
            window = self._gradients.flat.clone()
            if self.trainer.world_size > 1:  # one file for all: every rank goes on with the mean
                torch.distributed.all_reduce(window)
                window /= self.trainer.world_size
            state["window"] = {"sum": window, "count": self._gradients.count}
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
        if self.surgery is not None:
            for name, memory in state["weightings"].items():
                vars(self._weighting(name)).update(memory)


def _memory(weighting: Weighting) -> dict[str, Any]:
    """What a weighting remembers from step to step, as far as it is numbers and tensors."""
    kinds = (int, float, bool, Tensor)
    return {k: v for k, v in getattr(weighting, "__dict__", {}).items() if isinstance(v, kinds)}
