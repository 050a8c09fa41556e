"""How commands other than Lightning's read their options."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from rgbx.errors import RGBXError, UsageError

__all__ = [
    "CommandParser",
    "add_experiment",
    "add_override",
    "command_parser",
    "fit_options",
    "whole_number",
]


class CommandParser(argparse.ArgumentParser):
    """Complains in one sentence."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print and exit with.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{self.prog}: {message}; see `{self.prog} --help`.")


def command_parser(
    command: str, description: str, epilog: str | None = None, **options: Any
) -> CommandParser:
    """Parser of ``rgbx COMMAND``: options are written out, texts keep their lines.

    Args:
        command: its name.
        description: what it does, in a sentence.
        epilog: what stands below the options.
        options: further ones of argparse.
    """
    return CommandParser(
        prog=f"rgbx {command}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        **options,
    )


def add_override(parser: argparse.ArgumentParser) -> None:
    """Give a command that loads a checkpoint the option ``--override``, as ``rgbx test`` has it."""
    parser.add_argument(
        "--override",
        nargs="?",
        type=_truth,
        const=True,
        default=False,
        metavar="true",
        help="use options that change what the model computes and differ from training",
    )


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


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
