"""Values of a configuration that cannot work, found before anything is built."""

import inspect
import math
import os
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.strategies import StrategyRegistry
from lightning.pytorch.utilities import rank_zero_warn

from rgbx.class_path import class_at, parameters_of
from rgbx.cli.config.config_file import ConfigError
from rgbx.errors import RGBXError

__all__ = [
    "LINKED",
    "refuse_absent_devices",
    "refuse_null",
    "refuse_trainer_values",
    "refuse_without_attention",
    "warn_about_linked_values",
]

#: values that the data module decides; a value in the configuration would be replaced in silence
LINKED = ("num_classes", "class_names")

_SHARES = (
    *(f"limit_{stage}_batches" for stage in ("train", "val", "test", "predict")),
    "overfit_batches",
    "val_check_interval",
)
#: smallest number; those of `_SHARES` with a point are shares, between 0 and 1
_LEAST = {
    **dict.fromkeys(("max_epochs", "max_steps", "num_sanity_val_steps"), -1),
    **dict.fromkeys(("min_epochs", "min_steps", "fast_dev_run", "gradient_clip_val"), 0),
    **dict.fromkeys(("log_every_n_steps", "reload_dataloaders_every_n_epochs"), 0),
    **dict.fromkeys(("check_val_every_n_epoch", "accumulate_grad_batches", "num_nodes"), 1),
    **dict.fromkeys(_SHARES, 0),
    "val_check_interval": 1,
}
#: with 0 of them `fit` would end at once, as if it had trained
_NOTHING_AT_0 = ("limit_train_batches", "max_epochs", "max_steps")
_LARGEST = 2**31 - 1
_LARGEST_SEED = 2**32 - 1  # numpy's


def refuse_trainer_values(config: Any, training: bool) -> None:
    """Look at `seed_everything` and the plain values of `trainer` in a parsed configuration.

    Lightning looks at some of them when the trainer is built, at others in the middle of an epoch.

    Args:
        config: of one command.
        training: whether that is `fit`.

    Raises:
        ConfigError: names the key, the value, and what may be given.
    """
    wrong = next(_wrong_values(config, training), None)
    if wrong:
        key, value, advice = wrong
        raise ConfigError(f"{key} is {value}: {advice}.", key)


def _wrong_values(config: Any, training: bool) -> Iterator[tuple[str, Any, str]]:
    """Key, value, and what may be given instead."""
    trainer = config.trainer
    for name, least in _LEAST.items():
        key, value = f"trainer.{name}", trainer.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        if name in _SHARES and isinstance(value, float):
            lowest = math.ulp(0.0) if least else 0.0
            if not lowest <= value <= 1:
                yield key, value, "give a share, 0.0 to 1.0, or a whole number of batches"
        elif not least <= value <= _LARGEST:
            yield key, value, f"give {least} to {_LARGEST}"
        elif training and value == 0 and name in _NOTHING_AT_0:
            yield key, value, "nothing would be trained"
    for name, known in (
        ("accelerator", ("auto", "gpu", *AcceleratorRegistry.available_accelerators())),
        ("strategy", ("auto", *StrategyRegistry.available_strategies())),
    ):
        value = trainer.get(name)
        if isinstance(value, str) and value.lower() not in known:
            yield f"trainer.{name}", value, f"known are {', '.join(dict.fromkeys(known))}"
    devices = trainer.get("devices")
    if re.fullmatch(r"-?\d+", str(devices)) and int(devices) != -1 and int(devices) < 1:
        yield "trainer.devices", devices, "give 1 or more, or -1 for all"
    seed = config.get("seed_everything")
    if type(seed) is int and not 0 <= seed <= _LARGEST_SEED:
        yield "seed_everything", seed, f"give 0 to {_LARGEST_SEED}"


def refuse_null(config: Any) -> None:
    """Refuse null where a model or a data module takes none.

    Args:
        config: parsed; ``model`` and ``data`` may be missing.

    Raises:
        ConfigError: names the key.
    """
    for part in ("model", "data"):
        chosen = config.get(part)
        if not chosen or not chosen.get("init_args"):
            continue
        kinds = parameters_of(class_at(chosen.class_path))
        for name, value in chosen.init_args.items(branches=True):
            if value is None and name in kinds and not _takes_none(kinds[name]):
                raise ConfigError(
                    f"`{part}.{name}` is null, which it cannot be: leave it out, or give a value.",
                    f"{part}.{name}",
                )


def _takes_none(kind: Any) -> bool:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return any(map(_takes_none, typing.get_args(kind)))
    return kind in (None, type(None), Any, inspect.Parameter.empty)


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
        ConfigError: there is no GPU, or there are fewer devices.
    """
    devices, accelerator = trainer.get("devices"), trainer.get("accelerator") or "auto"
    wants_gpu = accelerator in ("gpu", "cuda")
    gpus = torch.cuda.device_count() if wants_gpu or accelerator == "auto" else 0
    if wants_gpu and not gpus and not torch.backends.mps.is_available():
        raise ConfigError(
            f"trainer.accelerator is {accelerator}, but this machine has no GPU that torch can "
            "use: set it to cpu, or install a torch that fits the GPU's driver.",
            "trainer.accelerator",
        )
    if isinstance(devices, str) and devices.isdigit():
        devices = int(devices)
    if not isinstance(devices, int) or devices < 1:
        return
    there = gpus or (os.cpu_count() or 1)
    if devices > there:
        raise ConfigError(
            f"trainer.devices is {devices}, but this machine has {there} "
            f"{'GPUs' if gpus else 'CPU cores'}: lower it, or leave it out.",
            "trainer.devices",
        )
