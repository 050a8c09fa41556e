"""ReduceLROnPlateau under manual optimisation, for which Lightning drops what it watches."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import LRSchedulerConfig
from torch.optim.lr_scheduler import ReduceLROnPlateau

from rgbx.errors import RGBXError

__all__ = ["Watch", "keep_watches", "step_plateau"]


@dataclass
class Watch:
    """What one ReduceLROnPlateau looks at."""

    scheduler: ReduceLROnPlateau
    monitor: str
    strict: bool  # whether a step without that metric is an error


def keep_watches(module: LightningModule, found: list[Watch]) -> None:
    """Note what schedules watch when Lightning next asks for the optimisers, and hide it from it.

    Args:
        module: the module; its ``configure_optimizers`` is replaced for one call.
        found: receives one entry per ReduceLROnPlateau.
    """
    own = vars(module).get("configure_optimizers")
    configure: Callable[[], Any] = module.configure_optimizers

    def noting() -> Any:
        del module.configure_optimizers
        if own is not None:
            module.configure_optimizers = own  # type: ignore[method-assign]
        return _without_watches(configure(), found)

    module.configure_optimizers = noting  # type: ignore[method-assign]


def _without_watches(made: Any, found: list[Watch]) -> Any:
    """The same optimisers and schedules, in any of Lightning's forms, without monitors."""
    if isinstance(made, dict):
        made = dict(made)
        monitor = made.pop("monitor", None)
        if made.get("lr_scheduler") is not None:
            made["lr_scheduler"] = _unwatched(made["lr_scheduler"], monitor, found)
        return made
    if isinstance(made, list | tuple) and len(made) == 2 and isinstance(made[1], list):
        return made[0], [_unwatched(schedule, None, found) for schedule in made[1]]
    if isinstance(made, list | tuple):
        return type(made)(_without_watches(one, found) for one in made)
    return made


def _unwatched(schedule: Any, monitor: str | None, found: list[Watch]) -> Any:
    options = dict(schedule) if isinstance(schedule, dict) else {"scheduler": schedule}
    monitor = options.pop("monitor", None) or monitor
    strict = options.pop("strict", True)
    options.pop("reduce_on_plateau", None)
    plateau = options.get("scheduler")
    if isinstance(plateau, ReduceLROnPlateau):
        if monitor is None:
            raise RGBXError(
                "ReduceLROnPlateau needs a metric to watch: return {'optimizer': ..., "
                "'lr_scheduler': {'scheduler': ..., 'monitor': 'val/loss'}} from "
                "configure_optimizers."
            )
        found.append(Watch(plateau, monitor, strict))
    return options


def step_plateau(module: LightningModule, config: LRSchedulerConfig, watches: list[Watch]) -> None:
    """Step a ReduceLROnPlateau by what it watches, the mean over all processes.

    Raises:
        RGBXError: nothing of that name was logged.
    """
    watch = next((watch for watch in watches if watch.scheduler is config.scheduler), None)
    if watch is None:  # a callback put it there
        raise RGBXError("A ReduceLROnPlateau came from elsewhere than configure_optimizers.")
    metrics = module.trainer.callback_metrics
    value = metrics.get(watch.monitor)
    if value is not None:
        mean = module.trainer.strategy.reduce(value.to(module.device), reduce_op="mean")
        watch.scheduler.step(float(mean))
        return
    message = (
        f"ReduceLROnPlateau watches {watch.monitor}, which is not logged when it is stepped; there "
        f"are {', '.join(sorted(metrics)) or 'no metrics'}."
    )
    if watch.strict:
        raise RGBXError(f"{message} Give one of them as `monitor`, or `strict: false`.")
    warnings.warn(f"{message} The learning rate stays.", stacklevel=2)
