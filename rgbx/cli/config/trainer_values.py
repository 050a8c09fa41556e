"""Values of `trainer` and `seed_everything` that cannot work, found before anything is built.

Lightning looks at some of them when the trainer is built, at others in the middle of an epoch.
"""

import inspect
import math
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.strategies import StrategyRegistry
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from rgbx.cli.config.config_file import ConfigError

__all__ = ["lightning_checks", "refuse_trainer_values"]

#: smallest value; a share (a number with a point) lies between 0 and 1
_LEAST = {
    **dict.fromkeys(("max_epochs", "max_steps", "num_sanity_val_steps"), -1),
    **dict.fromkeys(("min_epochs", "min_steps", "fast_dev_run", "gradient_clip_val"), 0),
    **dict.fromkeys(("log_every_n_steps", "reload_dataloaders_every_n_epochs"), 0),
    **dict.fromkeys(("check_val_every_n_epoch", "accumulate_grad_batches", "num_nodes"), 1),
    "val_check_interval": 1,
}
#: with 0 of them `fit` would end at once, as if it had trained
_NOTHING_AT_0 = ("limit_train_batches", "max_epochs", "max_steps")
_SHARES = tuple(f"limit_{stage}_batches" for stage in ("train", "val", "test", "predict"))
_LIGHTNING = Path(lightning.__file__).parent
_LARGEST = 2**31 - 1
_LARGEST_SEED = 2**32 - 1  # numpy's


def refuse_trainer_values(config: Any, training: bool) -> None:
    """Look at the plain values of a parsed configuration.

    Args:
        config: of one command.
        training: whether that is `fit`.

    Raises:
        ConfigError: names the key, the value, and what may be given.
    """
    trainer = config.trainer
    for name, least in _LEAST.items():
        _refuse_below(name, trainer.get(name), least)
    for name in (*_SHARES, "overfit_batches"):
        _refuse_below(name, trainer.get(name), 0)
        _refuse_share(name, trainer.get(name))
    _refuse_share("val_check_interval", trainer.get("val_check_interval"))
    _refuse_unknown("accelerator", trainer, ("auto", "gpu", *_accelerators()))
    _refuse_unknown("strategy", trainer, ("auto", *StrategyRegistry.available_strategies()))
    for name in _NOTHING_AT_0 if training else ():
        if trainer.get(name) == 0:
            raise ConfigError(f"trainer.{name} is {trainer[name]}: nothing would be trained.")
    devices = trainer.get("devices")
    if re.fullmatch(r"-?\d+", str(devices)) and int(devices) != -1 and int(devices) < 1:
        raise ConfigError(f"trainer.devices is {devices}: give 1 or more, or -1 for all.")
    seed = config.get("seed_everything")
    if type(seed) is int and not 0 <= seed <= _LARGEST_SEED:
        raise ConfigError(f"seed_everything is {seed}: give 0 to {_LARGEST_SEED}.")


def _accelerators() -> list[str]:
    return list(AcceleratorRegistry.available_accelerators())


def _refuse_below(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if isinstance(value, float):
        least = min(least, 0)  # shares have a check of their own
    if not least <= value <= _LARGEST:
        raise ConfigError(f"trainer.{name} is {value}: give {least} to {_LARGEST}.")


def _refuse_share(name: str, value: Any) -> None:
    least = 0.0 if name != "val_check_interval" else math.ulp(0.0)
    if isinstance(value, float) and not least <= value <= 1:
        raise ConfigError(
            f"trainer.{name} is {value}: give a share, 0.0 to 1.0, or a whole number of batches."
        )


def _refuse_unknown(name: str, trainer: Mapping[str, Any], known: tuple[str, ...]) -> None:
    value = trainer.get(name)
    if isinstance(value, str) and value.lower() not in known:
        raise ConfigError(
            f"trainer.{name} is {value!r}; known are {', '.join(dict.fromkeys(known))}."
        )


@contextmanager
def lightning_checks() -> Iterator[None]:
    """What Lightning says of options, when the trainer is built or later, as a sentence.

    An error whose innermost frame is Lightning's own was raised by a check of Lightning; what
    comes out of deeper libraries, or of rgbx, is left alone.

    Raises:
        ConfigError: names the keys of `trainer` that the error speaks of.
    """
    try:
        yield
    except MisconfigurationException as error:
        raise ConfigError(_sentence(error)) from error
    except (ValueError, TypeError, RuntimeError, ImportError) as error:
        place = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        if not place.is_relative_to(_LIGHTNING):
            raise
        raise ConfigError(_sentence(error)) from error


def _sentence(error: Exception) -> str:
    reason = " ".join(str(error).split()).rstrip(".")
    options = inspect.signature(Trainer).parameters
    names = [name for name in options if re.search(rf"\b{name}\b", reason)]
    if "Timer(" in reason:
        names = ["max_time"]
    keys = ", ".join(f"trainer.{name}" for name in names) or "trainer"
    return f"Lightning refuses {keys}: {reason}."
