"""The checkpoint that a command starts from: refused before anything is built, or on loading."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from rgbx.backbones.file_kind import DAMAGE
from rgbx.checkpoints.file import read_checkpoint
from rgbx.checkpoints.load import loading
from rgbx.errors import RGBXError, WeightsError
from rgbx.optim.by_name import ByName
from rgbx.tasks.base import RGBXModule

__all__ = ["CheckedResume", "refuse_checkpoint", "restoring"]

#: Lightning's words for a checkpoint that a Trainer finds itself
_KEYWORDS = ("best", "last", "hpc")
#: what a training needs to go on; a file of weights alone lacks them
_OF_TRAINING = ("loops", "optimizer_states", "lr_schedulers")
_CONNECTOR = "lightning.pytorch.trainer.connectors.checkpoint_connector"
_RESTORES = ("restore", "_restore", "resume", "_select")  # how its functions are called that load
#: counters without which Lightning would begin again, and say nothing
_COUNTERS = ("epoch_progress", "epoch_loop.batch_progress")
#: what torch's optimisers remember of every element of a parameter
_OF_ELEMENTS = (
    "exp_avg",
    "exp_avg_sq",
    "max_exp_avg_sq",
    "exp_inf",
    "momentum_buffer",
    "square_avg",
    "acc_delta",
    "grad_avg",
    "sum",
    "prev",
)


def refuse_checkpoint(command: str, path: str | None, untrained: bool = False) -> None:
    """Read the checkpoint before a model is built and a run's folder is made.

    Args:
        command: "fit" goes on with the training, the others use the weights.
        path: what was given, or None.
        untrained: whether the model says something before any training.

    Raises:
        RGBXError: there is none where one is needed, or a keyword that means nothing here.
        WeightsError: see `read_checkpoint`; for "fit" also a file that holds weights alone.
    """
    if path is None and (command == "fit" or untrained):
        return
    if not path:
        raise RGBXError(
            f"`rgbx {command}` needs a checkpoint: add --ckpt_path RUN/checkpoints/best.ckpt."
        )
    if path in _KEYWORDS:
        if command == "fit" and path != "best":
            return  # Lightning looks for it
        raise RGBXError(
            f"--ckpt_path {path} names no file, and `rgbx {command}` has trained nothing that it "
            "could mean: give the file, such as RUN/checkpoints/best.ckpt."
        )
    stored = read_checkpoint(path, mmap=True)
    lost = [key for key in _OF_TRAINING if key not in stored]
    if command == "fit" and lost:
        raise WeightsError(
            f"{path} holds weights alone (it has no {', '.join(lost)}), so no training can go on "
            "from it: give a checkpoint that a training wrote, such as RUN/checkpoints/last.ckpt."
        )


@contextmanager
def restoring(trainer: Trainer) -> Iterator[None]:
    """Name the checkpoint where Lightning cannot restore what is in it.

    Raises:
        WeightsError: see `loading`; errors from elsewhere stay as they are.
        RGBXError: Lightning finds no checkpoint of the keyword that was given.
    """
    try:
        yield
    except (RGBXError, *DAMAGE) as error:
        if not _from_restoring(error):
            raise
        if not trainer.ckpt_path:
            raise RGBXError(" ".join(str(error).split())) from error
        with loading(str(trainer.ckpt_path)):
            raise


def _from_restoring(error: BaseException) -> bool:
    """Whether Lightning was looking for a checkpoint, or putting its content into place."""
    return any(
        frame.f_globals.get("__name__") == _CONNECTOR and frame.f_code.co_name.startswith(_RESTORES)
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )


class CheckedResume(Callback):
    """Compares what a checkpoint says of the training's state with the state that it goes into."""

    def __init__(self) -> None:
        self._stored: dict[str, int] = {}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Counters and callbacks, before they are restored.

        Raises:
            WeightsError: names the entry.
        """
        self._stored = {key: len(checkpoint[key]) for key in ("optimizer_states", "lr_schedulers")}
        live, loops = trainer.fit_loop.state_dict(), checkpoint["loops"].get("fit_loop")
        _refuse_other_kind(live, loops, "loops.fit_loop")
        counters = {key: live[key] for key in _COUNTERS}
        _refuse_other_kind(counters, loops, "loops.fit_loop", whole=True)
        states = checkpoint.get("callbacks", {})
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if (key := callback.state_key) in states:
                _refuse_other_kind(callback.state_dict(), states[key], f"callbacks.{key}")

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """What optimisers remember, after it was restored.

        Raises:
            WeightsError: it is another optimiser's, or not finite.
        """
        if not self._stored:
            return
        live = {
            "optimizer_states": len(trainer.optimizers),
            "lr_schedulers": len(trainer.lr_scheduler_configs),
        }
        with loading(str(trainer.ckpt_path)):
            for key, count in live.items():  # Lightning restores as many as it finds
                if self._stored[key] != count:
                    raise WeightsError(
                        f"its `{key}` are {self._stored[key]}, and this training has {count}."
                    )
            for optimizer in trainer.optimizers:
                _refuse_other_memory(optimizer, pl_module, trainer.global_step)


def _refuse_other_kind(live: Any, stored: Any, where: str, whole: bool = False) -> None:
    """Compare the structure of two states; what is None here may become anything.

    Args:
        live: what is there.
        stored: what would take its place.
        where: its name in the checkpoint.
        whole: nothing may be missing; else Lightning leaves what is there.
    """
    kinds = (Mapping, str, int, int | float, list | tuple)
    kind = next((kind for kind in kinds if isinstance(live, kind)), None)
    if kind is not None and not isinstance(stored, kind):
        raise WeightsError(
            f"it is damaged: its `{where}` is {stored!r:.40}, a {type(stored).__name__} instead of "
            f"a {type(live).__name__}."
        )
    if not isinstance(live, Mapping):
        return
    for key, value in live.items():
        if key in stored:
            _refuse_other_kind(value, stored[key], f"{where}.{key}", whole)
        elif whole:
            raise WeightsError(f"it is damaged: it lacks `{where}.{key}`.")


def _refuse_other_memory(optimizer: Optimizer, model: RGBXModule, steps: int) -> None:
    """Compare what was restored of an optimiser with what it remembers after a step of its own."""
    name = type(optimizer).__name__
    needed: dict[int, set[str]] = {}
    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        state = optimizer.state.get(parameter, {})
        if parameter.ndim not in needed:
            needed[parameter.ndim] = _memory(model, parameter)
        if state and (lost := needed[parameter.ndim] - state.keys()):
            raise WeightsError(
                f"its optimiser was another one: {name} needs {', '.join(sorted(lost))}, and what "
                f"is stored is {', '.join(sorted(map(str, state)))}."
            )
        for key, value in state.items():
            shape = tuple(value.shape) if isinstance(value, Tensor) else value
            if key in _OF_ELEMENTS and shape not in (None, parameter.shape):
                raise WeightsError(
                    f"it is damaged: `{key}` of its optimiser is {shape} for a parameter of "
                    f"{tuple(parameter.shape)}."
                )
            if isinstance(value, Tensor) and not bool(torch.isfinite(value).all()):
                raise WeightsError(f"`{key}` of its optimiser is not finite; use an earlier one.")
    if steps and any(needed.values()) and not any(optimizer.state.values()):
        raise WeightsError(
            f"it is damaged: after {steps} steps its `optimizer_states` hold nothing of what "
            f"{name} remembers."
        )


def _memory(model: RGBXModule, parameter: Tensor) -> set[str]:
    """Names of what the model's optimiser keeps of a parameter with as many dimensions."""
    twin = nn.Parameter(torch.zeros((1,) * parameter.ndim).to(parameter))
    twin.grad = torch.zeros_like(twin)
    factory = model._optimizer_factory
    optimizer = (factory.optimizer if isinstance(factory, ByName) else factory)([twin])
    optimizer.step()
    return set(optimizer.state[twin])
