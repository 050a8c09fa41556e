"""What cannot work under gradient surgery, refused in a sentence before it goes wrong."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, GradientAccumulationScheduler
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from rgbx.errors import RGBXError

__all__ = [
    "refuse_infinite",
    "refuse_optimizers",
    "refuse_trainer_options",
    "refuse_unoptimised",
    "scalars",
]


def scalars(
    losses: Any, wanted: Collection[str], owner: str, device: torch.device
) -> dict[str, Tensor]:
    """The losses of one batch as tensors of no dimension; numbers are constants.

    Args:
        losses: what ``training_losses`` returned.
        wanted: names of the losses that the groups name.
        owner: name of the module's class, for messages.
        device: where numbers are put.

    Raises:
        RGBXError: a loss that a group names is missing, one is in no group, or one is no scalar.
    """
    if not isinstance(losses, Mapping):
        raise RGBXError(
            f"training_losses of {owner} returned {type(losses).__name__}: return name -> loss."
        )
    absent = [name for name in wanted if name not in losses]
    if absent:
        raise RGBXError(
            f"The surgery groups name the loss {', '.join(sorted(absent))}, but the losses of "
            f"{owner} are {', '.join(losses)} in this batch; a loss that rests for a while is "
            "given as 0.0."
        )
    idle = [name for name in losses if name not in wanted]
    if idle:
        raise RGBXError(
            f"The loss {', '.join(idle)} of {owner} is in no surgery group, and would train "
            "nothing: name it in the groups that it trains, or only log it."
        )
    found = {}
    for name, loss in losses.items():
        value = loss if isinstance(loss, Tensor) else torch.as_tensor(loss, device=device)
        if value.numel() != 1:
            raise RGBXError(
                f"The loss {name} of {owner} has the shape {tuple(value.shape)}: give one number, "
                "the mean over the images."
            )
        found[name] = value.reshape(())
    return found


def refuse_trainer_options(trainer: Trainer, owner: str, more: Iterable[Callback] = ()) -> None:
    """Refuse what the Trainer cannot do under manual optimisation, and say where it is done.

    Raises:
        RGBXError: names the option and the module's own.
    """
    if trainer.accumulate_grad_batches != 1:
        raise RGBXError(
            f"{owner} steps its optimiser itself: instead of trainer.accumulate_grad_batches set "
            f"model.accumulate to {max(1, trainer.accumulate_grad_batches)}."
        )
    if trainer.gradient_clip_val is not None:
        raise RGBXError(
            f"{owner} clips its merged gradients itself: instead of trainer.gradient_clip_val set "
            f"model.clip to {trainer.gradient_clip_val}."
        )
    if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
        raise RGBXError(
            f"Gradient surgery needs whole gradients on every process; "
            f"{type(trainer.strategy).__name__} does not keep them: set trainer.strategy to "
            "auto or ddp."
        )
    for callback in (*trainer.callbacks, *more):  # type: ignore[attr-defined]
        if isinstance(callback, GradientAccumulationScheduler):
            raise RGBXError(
                f"{owner} steps its optimiser itself: instead of GradientAccumulationScheduler "
                f"with {callback.scheduling} set model.accumulate, which may also be changed in "
                "on_train_epoch_start."
            )


def refuse_optimizers(optimizers: Collection[Optimizer], owner: str) -> None:
    """Refuse several optimisers, and one that computes the losses again within its step.

    Raises:
        RGBXError: says which.
    """
    if len(optimizers) != 1:
        raise RGBXError(
            f"Gradient surgery works with one optimiser, but {owner} configures "
            f"{len(optimizers)}: put the groups into one optimiser's param_groups."
        )
    if any(isinstance(optimizer, LBFGS) for optimizer in optimizers):
        raise RGBXError(
            "LBFGS computes the losses several times per step, which gradient surgery does not: "
            "use another optimiser."
        )


def refuse_unoptimised(trained: Mapping[str, nn.Parameter], optimizer: Optimizer) -> None:
    """Refuse trainable parameters that the optimiser does not have.

    Raises:
        RGBXError: names some of them.
    """
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    lost = [name for name, parameter in trained.items() if id(parameter) not in known]
    if lost:
        raise RGBXError(
            f"{len(lost)} trainable parameters are not in the optimiser, for example "
            f"{', '.join(lost[:3])}: freeze them, or give them to it (those that are unfrozen "
            "later by optimizer.add_param_group)."
        )


def refuse_infinite(
    products: Mapping[str, Tensor], losses: Mapping[str, Sequence[str]], module: LightningModule
) -> None:
    """Refuse gradients that are not finite.

    Args:
        products: group -> Gram matrix (T, T).
        losses: group -> names of its T losses.
        module: the module in training.

    Raises:
        RGBXError: names the groups, the losses, and the step.
    """
    bad = [name for name, gram in products.items() if not torch.isfinite(gram).all()]
    if not bad:
        return
    culprits = {
        loss
        for name in bad
        for loss, square in zip(losses[name], products[name].diagonal(), strict=True)
        if not torch.isfinite(square)
    }
    raise RGBXError(
        f"A gradient of the parameter group {', '.join(bad)} is not finite at step "
        f"{module.trainer.global_step} (epoch {module.current_epoch}), that of the loss "
        f"{', '.join(sorted(culprits))}: lower the learning rate, set `clip`, or train in a wider "
        "precision."
    )
