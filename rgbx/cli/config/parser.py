"""How commands other than Lightning's read their options."""

import argparse
from typing import Any, NoReturn

from rgbx.errors import UsageError

__all__ = ["CommandParser", "add_override", "command_parser"]


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
