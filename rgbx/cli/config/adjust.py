"""What of a command line and a configuration is read or changed in a way of our own."""

import ast
import json
import re
from argparse import ArgumentParser
from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, NamedTuple, get_args

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from rgbx.data.base import RGBXDataModule

__all__ = [
    "Given",
    "given_options",
    "input_from_checkpoint",
    "one_device_no_logs",
    "whole_numbers_first",
    "without_python",
]


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


def without_python(argument: str) -> str:
    """``--key=None`` as ``--key=null``, and lists and dicts of Python in YAML's notation.

    Everything else, YAML's own notation too, stays as it is.
    """
    match = re.fullmatch(r"(--[\w.+]+)=(None|[\[{].*[\]}])", argument, re.DOTALL)
    if match is None:
        return argument
    try:
        return f"{match[1]}={json.dumps(ast.literal_eval(match[2]))}"
    except (ValueError, SyntaxError, TypeError):  # YAML, or a dict whose keys JSON does not have
        return argument


class Given(NamedTuple):
    """Options of the data and their values.

    Attributes:
        anywhere: set by files or on the command line. A null in a file leaves the option to the
            data set, as the configuration of a run does; on the command line it is meant.
        here: of these, what was said of the data in use. ``--data CLASS`` on the command line turns
            to other data: what files say was said of the training's.
    """

    anywhere: dict[str, Any]
    here: dict[str, Any]


def given_options(config: Any, argv: Sequence[str]) -> Given:
    """The options of the data that are no defaults.

    Args:
        config: parsed without defaults.
        argv: the command line.
    """
    names = [token.partition("=")[0] for token in argv]
    typed = {name.rpartition(".")[2] for name in names if name.startswith("--data.")}
    found = dict(config.get("data", {}).get("init_args") or {})
    anywhere = {k: v for k, v in found.items() if v is not None or k in typed}
    if "--data" in names or "--data.class_path" in names:
        return Given(anywhere, {k: v for k, v in anywhere.items() if k in typed})
    return Given(anywhere, anywhere)


def one_device_no_logs(trainer: Any) -> None:
    """Every sample once, and nothing written into the training run's folder."""
    trainer.devices = 1
    trainer.strategy = "auto"
    trainer.num_nodes = 1
    trainer.logger = False
    trainer.callbacks = None
    trainer.enable_checkpointing = False


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
