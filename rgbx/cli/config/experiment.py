"""Options of commands that look at one model: its configuration, its checkpoint, its input."""

import argparse
from collections.abc import Sequence

from rgbx.cli.config.parser import CommandParser, add_override
from rgbx.errors import RGBXError

__all__ = ["add_experiment", "fit_options", "whole_number"]


def add_experiment(parser: CommandParser, config: str) -> None:
    """Give a command ``--config``, ``--size`` and ``--override``.

    Args:
        parser: of the command.
        config: help of ``--config``.
    """
    parser.add_argument("-c", "--config", action="append", default=[], metavar="FILE", help=config)
    parser.add_argument(
        "--size",
        nargs="+",
        type=whole_number,
        metavar="N",
        help="height and width of the input, or one number for a square (default: data.size)",
    )
    add_override(parser)


def whole_number(text: str) -> int:
    """A number of 1 or more, for argparse's ``type``."""
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no whole number of 1 or more")
    return int(text)


def fit_options(
    configs: Sequence[object], size: Sequence[int] | None, rest: Sequence[str]
) -> list[str]:
    """What would stand behind ``rgbx fit``.

    Args:
        configs: files.
        size: height and width, or one for both, or None.
        rest: options that the command itself does not have.

    Raises:
        RGBXError: something stands alone, or there are more than two sizes.
    """
    if rest and not rest[0].startswith("-"):
        raise RGBXError(f"{rest[0]} stands alone: give a configuration with --config {rest[0]}.")
    options = [text for file in configs for text in ("--config", str(file))] + list(rest)
    if size is None:
        return options
    if len(size) > 2:
        given = " ".join(map(str, size))
        raise RGBXError(f"--size is {given}: give height and width, such as --size 480 640.")
    return [*options, "--data.size", str([size[0], size[-1]])]
