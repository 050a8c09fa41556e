"""What a checkpoint was trained with, against what is here: arguments of the model, and its input.

Weights fit many networks: another scale of the adapters, another order of the classes or another
mean of the thermal images changes no shape, and every number that comes out is wrong.
"""

import dataclasses
import inspect
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, NoReturn, get_args

from lightning.pytorch.utilities import rank_zero_warn

from rgbx.backbones.weights import Weights
from rgbx.errors import WeightsError

__all__ = [
    "compare_arguments",
    "compare_input",
    "other_arguments",
    "plain",
    "say_other_input",
    "weight_arguments",
]

_SHAPES = ("num_classes", "encoder")  # with others, weights do not fit
Changes = dict[str, tuple[Any, Any]]  # name -> value of the checkpoint, value here


def plain(value: Any) -> Any:
    """A constructor's argument as checkpoints hold it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    return value


def weight_arguments(model: type) -> set[str]:
    """Names of the constructor's arguments that take a weight file."""
    parameters = inspect.signature(model).parameters.values()
    return {p.name for p in parameters if Weights in (p.annotation, *get_args(p.annotation))}


def other_arguments(module: Any, stored: Mapping[str, Any]) -> Changes:
    """Arguments of the constructor whose values differ; where weight files lie is no matter.

    What a checkpoint does not mention is an argument that did not exist when it was written: the
    model then was what the default makes today.

    Args:
        module: a model with ``hparams``.
        stored: ``hyper_parameters`` of a checkpoint.
    """
    parameters = inspect.signature(type(module).__init__).parameters.values()
    files = weight_arguments(type(module))
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    groups = [name for name, value in defaults.items() if dataclasses.is_dataclass(value)]
    before = _by_field({k: plain(v) for k, v in defaults.items()}, groups)
    before |= _by_field(stored, groups)
    here = _by_field({k: plain(v) for k, v in module.hparams.items() if k not in files}, groups)
    here |= {name: plain(module.hparams[name]) for name in groups if name in before}  # no group
    return {
        name: (before.get(name), value) for name, value in here.items() if before.get(name) != value
    }


def _by_field(arguments: Mapping[str, Any], groups: Collection[str]) -> dict[str, Any]:
    """Options of a group under names of their own: "contrast.queue"."""
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        if name in groups and isinstance(value, Mapping):
            found |= {f"{name}.{key}": plain(item) for key, item in value.items()}
        else:
            found[name] = value
    return found


def compare_arguments(module: Any, stored: Mapping[str, Any], resumed: bool = False) -> None:
    """Refuse arguments that make another function of the same weights.

    Arguments count unless a class of the model lists them in ``outside_forward``. With
    ``module.override`` they are said, and used. A resumed training says all that differ, and uses
    them.

    Raises:
        WeightsError: names every such argument, its value in the checkpoint and the value here.
    """
    changed = other_arguments(module, stored)
    if not resumed:
        outside = {n for c in type(module).__mro__ for n in vars(c).get("outside_forward", ())}
        changed = {
            name: values
            for name, values in changed.items()
            if not outside & {name, name.partition(".")[0]}
        }
    shapes = {name: changed[name] for name in _SHAPES if name in changed}
    if shapes:
        what = "data set" if "num_classes" in shapes else "encoder"
        _refuse(module, shapes, f"use the {what} it was trained with")
    elif changed and resumed:
        rank_zero_warn(f"{type(module).__name__} goes on with other options: {_listed(changed)}.")
    elif changed and module.override:
        rank_zero_warn(
            f"{type(module).__name__} computes something else than it was trained to, with "
            f"{_listed(changed)}."
        )
    elif changed:
        hint = "use its values, or add --override true (in Python override=True) to use yours"
        _refuse(module, changed, hint)


def _refuse(module: Any, changed: Changes, hint: str) -> NoReturn:
    found = "; ".join(
        f"{name} = {before!r}, the configuration asks for {here!r}"
        for name, (before, here) in changed.items()
    )
    raise WeightsError(f"The checkpoint of {type(module).__name__} has {found}: {hint}.")


def say_other_input(module: Any, info: Mapping[str, Any], data: Any) -> None:
    """Say where the network sees something else than in training, and what nobody knows.

    Args:
        module: a model; the second modality counts if it needs one.
        info: what the checkpoint remembers of its data.
        data: the data module that is used now; nothing is said of one that is not rgbx's.
    """
    if hasattr(data, "input_values"):
        names = (*data.inputs, *(data.x_inputs if module.needs_x else ()))
        here = data.input_values()
        shown = {name: here[name] for name in names}
        compare_input(shown, info, type(data).__name__, {"binary": here["binary"]})


def compare_input(
    here: Mapping[str, Any],
    info: Mapping[str, Any],
    who: str,
    others: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Say which values differ from those of the training, and which are unknown.

    Args:
        here: option -> value.
        info: what the checkpoint remembers of its data.
        who: gives the network its input.
        others: further options, of which it does not matter if they are unknown.
    """
    stored = dict(info.get("inputs", {}))
    if "size" in info:  # as checkpoints had it at first
        stored.setdefault("size", info["size"])
    changed = {
        name: (stored[name], value)
        for name, value in {**here, **others}.items()
        if name in stored and stored[name] != value
    }
    if changed:
        rank_zero_warn(
            f"{who} gives another input than the checkpoint's training had: {_listed(changed)}."
        )
    if unknown := [name for name in here if name not in stored]:
        used = ", ".join(f"{name} {here[name]}" for name in unknown)
        rank_zero_warn(
            f"The checkpoint does not say {', '.join(unknown)} of its training; {who} uses {used}. "
            "Give other values if it was trained with others."
        )


def _listed(changes: Changes) -> str:
    return ", ".join(
        f"{k} {here!r} (checkpoint: {there!r})" for k, (there, here) in changes.items()
    )
