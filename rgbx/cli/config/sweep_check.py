"""A sweep's commands parsed before the first trial: keys, values, and whether the metric is logged.

The parser is the one of ``rgbx fit`` itself, so that what passes here starts there.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch

from rgbx.class_path import class_at
from rgbx.cli.config.parsed import parse_fit
from rgbx.data.base import RGBXDataModule
from rgbx.errors import RGBXError
from rgbx.jobs.sweep import Command, SweepFile

__all__ = ["check_sweep", "devices_of"]


def check_sweep(file: SweepFile, command: Command, extra: Sequence[str]) -> Any:
    """Parse the command with the first and the last value of every parameter.

    Args:
        file: The sweep.
        command: Its command.
        extra: Further options.

    Returns:
        The configuration with the first value of every parameter.

    Raises:
        RGBXError: what the command would complain of, or that nobody logs the metric.
    """
    first, last = ({p.path: p.ends[end] for p in file.parameters} for end in (0, 1))
    try:
        config = parse_fit(command.options(first, extra), typed=False)
        parse_fit(command.options(last, extra), typed=False)
    except RGBXError as error:
        _blame(file, command, extra, error)
    _check_metric(file, config)
    return config


def devices_of(config: Any) -> tuple[str, ...]:
    """GPUs that trials of one device each can share out; empty if there is nothing to share."""
    if config.trainer.get("devices") not in (1, "1", "auto", None):
        return ()
    if config.trainer.get("accelerator") == "cpu" or torch.cuda.device_count() < 2:
        return ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    named = visible.split(",") if visible else map(str, range(torch.cuda.device_count()))
    return tuple(name.strip() for name in named)


def _blame(file: SweepFile, command: Command, extra: Sequence[str], error: RGBXError) -> NoReturn:
    """Say which parameter, if it is one, the parser complains of."""
    _try(command, {}, extra, f"The command of {file.path} does not run")
    for parameter in file.parameters:
        for value in parameter.ends:
            what = f"Parameter {parameter.name} = {value} of {file.path} cannot be used"
            _try(command, {parameter.path: value}, extra, what)
    raise RGBXError(f"The parameters of {file.path} do not go together: {error}") from error


def _try(
    command: Command, values: Mapping[tuple[str, ...], Any], extra: Sequence[str], what: str
) -> None:
    try:
        parse_fit(command.options(values, extra), typed=False)
    except RGBXError as error:
        raise RGBXError(f"{what}: {error}") from error


def _check_metric(file: SweepFile, config: Any) -> None:
    """Refuse a score that this model's validation does not log."""
    name = file.metric.name
    model: Any = class_at(config.model.class_path)
    if name.startswith(("train/", "lr-")):
        return  # known after the first trial
    known = model.validation_metrics(config.model.init_args)
    if not known:
        return  # a model that does not say
    if name not in known:
        raise RGBXError(
            f"The metric {name!r} of {file.path} is logged by nobody: validation of "
            f"{model.__name__} logs {', '.join(known)}."
        )
    nothing = _validates_on_nothing(class_at(config.data.class_path), config.data.init_args)
    if nothing or config.trainer.get("limit_val_batches") == 0:
        key = "data.val_share" if nothing else "trainer.limit_val_batches"
        raise RGBXError(
            f"The metric {name!r} of {file.path} is logged by nobody, as nothing is validated: "
            f"{key} is 0. Give another value in the command."
        )


def _validates_on_nothing(data: type, options: Any) -> bool:
    """No part of train is held out, no test set chosen on, and there is no set of its own."""
    if getattr(data, "own_val", None) is not RGBXDataModule.own_val or options.get("val_share"):
        return False
    return not (options.get("choose_on") or options.get("choose_on_test"))
