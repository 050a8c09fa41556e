"""What of a configuration is refused or changed before anything is built."""

import inspect
import os
from argparse import ArgumentParser
from collections.abc import Collection, Mapping
from functools import reduce
from operator import or_
from typing import Any, get_args

import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from rgbx.class_path import class_at
from rgbx.data.base import RGBXDataModule
from rgbx.data.inputs import class_options
from rgbx.errors import RGBXError

__all__ = [
    "LINKED",
    "classes_from_checkpoint",
    "input_from_checkpoint",
    "one_device_no_logs",
    "refuse_absent_devices",
    "refuse_without_attention",
    "warn_about_linked_values",
    "whole_numbers_first",
]

#: values that the data module decides; a value in the configuration would be replaced in silence
LINKED = ("num_classes", "class_names")


def whole_numbers_first(parser: ArgumentParser) -> None:
    """Read "1" as 1 wherever 1 and 1.0 are both allowed: one batch is not all of them.

    A union's order decides what the parser tries first, and ``Optional[Union[int, float]]`` has
    the order in which any package that was imported before spelled the same union.
    """
    action: Any
    for action in parser._actions:
        kinds = get_args(getattr(action, "_typehint", None))
        if float in kinds and int in kinds[kinds.index(float) :]:
            ordered = [kind for kind in kinds if kind is not int]
            ordered.insert(ordered.index(float), int)
            action._typehint = reduce(or_, ordered)  # a union of its own, which nobody caches


def warn_about_linked_values(config: Any) -> None:
    """Say so when a value is given that the data module will replace."""
    model = config.model
    defaults = inspect.signature(class_at(model.class_path)).parameters
    for name in LINKED:
        if name not in defaults:
            continue
        value, default = model.init_args.get(name), defaults[name].default
        if value != (list(default) if isinstance(default, tuple) else default):
            rank_zero_warn(
                f"model.{name} is decided by the data module; the value {value!r} of the "
                "configuration is replaced."
            )


def refuse_without_attention(model: type) -> None:
    """Draw attention of models that have a plug-in alone.

    Raises:
        RGBXError: the model has none.
    """
    if not getattr(model, "shows_attention", False):
        raise RGBXError(
            f"{model.__name__} has no plug-in whose attention could be shown: leave out "
            "--visualize_attention, or use StableSAM."
        )


def refuse_absent_devices(trainer: Any) -> None:
    """Ask for no more devices than there are; on a CPU Lightning would start them all the same.

    Raises:
        RGBXError: there is no GPU, or there are fewer devices.
    """
    devices, accelerator = trainer.get("devices"), trainer.get("accelerator") or "auto"
    wants_gpu = accelerator in ("gpu", "cuda")
    gpus = torch.cuda.device_count() if wants_gpu or accelerator == "auto" else 0
    if wants_gpu and not gpus and not torch.backends.mps.is_available():
        raise RGBXError(
            f"trainer.accelerator is {accelerator}, but this machine has no GPU that torch can "
            "use: set it to cpu, or install a torch that fits the GPU's driver."
        )
    if isinstance(devices, str) and devices.isdigit():
        devices = int(devices)
    if not isinstance(devices, int) or devices < 1:
        return
    there = gpus or (os.cpu_count() or 1)
    if devices > there:
        raise RGBXError(
            f"trainer.devices is {devices}, but this machine has {there} "
            f"{'GPUs' if gpus else 'CPU cores'}: lower it, or leave it out."
        )


def one_device_no_logs(trainer: Any) -> None:
    """Every sample once, and nothing written into the training run's folder."""
    trainer.devices = 1
    trainer.strategy = "auto"
    trainer.num_nodes = 1
    trainer.logger = False
    trainer.callbacks = None
    trainer.enable_checkpointing = False


def classes_from_checkpoint(data: Any, info: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """A folder of images has no classes of its own: take the checkpoint's.

    Args:
        data: ``data`` of the configuration.
        info: what the checkpoint remembers of its data.
        given: options that a person gave.
    """
    for name, value in class_options(info, dict(data.init_args), given).items():
        data.init_args[name] = value


def input_from_checkpoint(
    data: RGBXDataModule, info: Mapping[str, Any], given: Mapping[str, Any], files: Collection[str]
) -> dict[str, Any]:
    """Show the network what it was trained to see, and say so.

    Args:
        data: what is used now.
        info: what the checkpoint remembers of its data.
        given: options that a person gave for these data.
        files: options that were given at all.

    Returns:
        What has another value now than the configuration says.
    """
    before = data.input_values()
    taken = data.take_inputs(info.get("inputs", {}), given)
    values = ", ".join(
        f"{name} {value}" + (f" (not {before[name]})" if name in files else "")
        for name, value in taken.items()
    )
    if taken:
        say = rank_zero_warn if any(name in files for name in taken) else rank_zero_info
        say(f"{type(data).__name__}: as in the training, {values}")
    return taken
