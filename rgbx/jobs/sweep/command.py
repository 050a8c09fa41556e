"""The command that W&B's agent makes of a sweep file, as options of ``rgbx fit``."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from rgbx.errors import RGBXError
from rgbx.jobs.sweep.file import SweepFile

__all__ = ["Command", "read_command"]

_WANTED = "it should read ${env}, rgbx, fit, --config, CONFIG, ${args}"
_MACRO = re.compile(r"\$\{([a-z_]+)\}")
_PROGRAMS = ("${env}", "${interpreter}", "${program}", "env", "rgbx", "-m")


@dataclass(frozen=True)
class Command:
    """A command up to and behind the parameters.

    Attributes:
        before: Options of ``rgbx fit`` before the parameters.
        after: Options behind them.
        split: Whether a parameter is written as two words instead of one with ``=``.
        environment: Variables that the command sets.
    """

    before: tuple[str, ...]
    after: tuple[str, ...] = ()
    split: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    def options(
        self, values: Mapping[tuple[str, ...], Any], extra: Sequence[str] = ()
    ) -> list[str]:
        """Options of ``rgbx fit``.

        Args:
            values: Path of a parameter -> its value.
            extra: Further options; the parameters win over a configuration among them.
        """
        arguments: dict[str, Any] = {}
        for path, value in values.items():
            place = arguments
            for key in path[:-1]:
                place = place.setdefault(key, {})
            place[path[-1]] = value
        found = [*self.before, *extra]
        for key, value in arguments.items():
            found += [f"--{key}", str(value)] if self.split else [f"--{key}={value}"]
        return [*found, *self.after]


def read_command(file: SweepFile) -> Command:
    """What the file's command comes to.

    Raises:
        RGBXError: It is not ``rgbx fit`` with the parameters as options.
    """
    parts = [_with_variables(part) for part in file.command]
    where = f"The command of {file.path}"
    if "fit" not in parts:
        raise RGBXError(f"{where} does not run `rgbx fit`: {_WANTED}.")
    start = parts.index("fit")
    environment: dict[str, str] = {}
    programs = [file.program if part == "${program}" else part for part in parts[:start]]
    for part in programs:
        name, equals, value = part.partition("=")
        if equals:
            environment[name] = value
        elif not _is_program(part):
            raise RGBXError(f"{where} runs {part!r} instead of `rgbx fit`: {_WANTED}.")
    if not any(PurePath(part).name == "rgbx" for part in programs):
        raise RGBXError(f"{where} does not run `rgbx fit`: {_WANTED}.")
    return _options(where, parts[start + 1 :], environment)


def _options(where: str, options: list[str], environment: dict[str, str]) -> Command:
    for macro in (found for option in options for found in _MACRO.findall(option)):
        if macro not in ("args", "args_no_equals"):
            raise RGBXError(f"{where} has ${{{macro}}}, but `rgbx fit` reads ${{args}}.")
    places = [i for i, option in enumerate(options) if option in ("${args}", "${args_no_equals}")]
    if len(places) != 1:
        raise RGBXError(f"{where} needs ${{args}} once, as a part of its own: {_WANTED}.")
    place = places[0]
    split = options[place] == "${args_no_equals}"
    return Command(tuple(options[:place]), tuple(options[place + 1 :]), split, environment)


def _is_program(part: str) -> bool:
    name = PurePath(part).name
    return part in _PROGRAMS or name in _PROGRAMS or re.fullmatch(r"python[\d.]*", name) is not None


def _with_variables(part: str) -> str:
    """``${envvar:NAME}`` replaced by its value, or by its name where it is not set, as W&B does."""
    return re.sub(
        r"\$\{envvar:([A-Z0-9_]*)\}", lambda m: os.environ.get(m.group(1), m.group(1)), part
    )
