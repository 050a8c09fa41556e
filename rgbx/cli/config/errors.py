"""The one place where errors of parsers, constructors and Lightning become a sentence.

A sentence names the key, the value, the nearest known name, and where the value is from.
"""

import inspect
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
from jsonargparse import get_loader
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.optim import Optimizer

from rgbx.class_path import class_at, parameters_of
from rgbx.cli.config.config_file import KEYS, ConfigError, hint, read_config
from rgbx.cli.config.renamed import model_of, new_argument, with_new_names
from rgbx.data.base import RGBXDataModule
from rgbx.errors import RGBXError
from rgbx.optim.schedules import Schedule
from rgbx.tasks.base import RGBXModule

__all__ = ["constructor_errors", "explain", "lightning_errors", "source_of_values"]

#: key that takes a class -> what that is a subclass of
_BASES: dict[str, type] = {
    "model": RGBXModule,
    "data": RGBXDataModule,
    "callbacks": Callback,
    "logger": Logger,
    "optimizer": Optimizer,
    "schedule": Schedule,
}
#: what constructors raise of numbers that cannot be; other errors are bugs, and stay what they are
_OF_VALUES = (ValueError, TypeError, RuntimeError, ArithmeticError)
_LIGHTNING = Path(lightning.__file__).parent


# ---------------------------------------------------------------------- where a value is from
@contextmanager
def source_of_values(arguments: Sequence[str], typed: bool = True) -> Iterator[None]:
    """Add to errors about a key whether it was typed, or which file has it.

    Args:
        arguments: the command line; files stand behind ``--config``.
        typed: False if rgbx itself wrote the options: only files are named.

    Raises:
        ConfigError: the same, with the source.
    """
    try:
        yield
    except ConfigError as error:
        source = _source(error, arguments, typed) if error.key else ""
        if not source or "(in the configuration" in str(error):
            raise
        raise ConfigError(f"{error} ({source})") from error


def _source(error: ConfigError, arguments: Sequence[str], typed: bool) -> str:
    """The place of the value that the sentence shows; else the place that counts, the last one."""
    options: list[tuple[str, Any]] = []  # place, value
    files: list[tuple[str, Any]] = []
    here = "on the command line" if typed else ""
    load, model = get_loader("yaml"), model_of(arguments)
    for word, following in zip(arguments, [*arguments[1:], ""], strict=False):
        option, equals, value = new_argument(word, model).partition("=")
        value = value if equals else following
        if option in ("--config", "-c"):
            content = with_new_names(read_config(value))[0]
            place = f"in the configuration {value}"
            files += [(place, found) for found in _values(content, error.key)]
            continue
        name = re.sub(r"\.(init_args(?=\.)|class_path$)", "", option.lstrip("-").rstrip("+"))
        if name == error.key:
            options.append((here, value))
        elif error.key.startswith(f"{name}.") and value.startswith(("{", "[")):
            found = _values(load(value), error.key.removeprefix(f"{name}."))
            options += [(here, value) for value in found]
    places = [*reversed(options), *reversed(files)]
    shown = (place for place, value in places if _is_in(value, str(error)))
    return next(shown, places[0][0] if places else "")


def _values(content: Any, key: str) -> list[Any]:
    """What nested mappings, in lists too, hold under a dotted key."""
    if not key:
        return [content]
    if isinstance(content, list):
        return [value for element in content for value in _values(element, key)]
    if not isinstance(content, Mapping):
        return []
    first, _, rest = key.partition(".")
    below = {**content, **(content.get("init_args") or {})}
    return _values(below[first], rest) if first in below else []


def _is_in(value: Any, text: str) -> bool:
    """Whether a sentence speaks of a value."""
    return re.search(rf"(?<![\w.]){re.escape(str(value))}(?![\w.])", text) is not None


# ---------------------------------------------------------------------- what the parser says
def explain(message: str) -> ConfigError:
    """One sentence from a message of jsonargparse, with the nearest known name."""
    unknown = re.search(
        r"Option '([^']+)' is not accepted(?:\. Got value: Namespace\(class_path='([\w.]+)')?",
        message,
    )
    key = _place(message)
    if unknown and (path := unknown[2] or _last_class(message[: unknown.start()])):
        return _unknown_argument(unknown[1], class_at(path), key)
    if named := re.search(
        r"(?:unrecognized arguments: |does not accept option ')([^\s']+)", message
    ):
        return _unknown_key(named[1])
    if missing := re.search(r"arguments are required: (.+)", message):
        return _missing(missing[1], key)
    said = re.split(r'Parser key "[\w.]+"(?: element \d+)?:\s*', message)[-1]  # the innermost
    if not key:
        return ConfigError(f"The command line cannot be read: {' '.join(said.split())}.")
    kinds, value = re.search(r"Subtypes: \[(.*)\]", said), _value(said)
    plain = kinds and re.search(r"<class '(float|int|bool|str)'>", kinds[1])
    if not plain and (name := re.search(r"Expected a dot import path string: (\S+)", said)):
        return _unknown_class(name[1], key)
    if kinds and value and "Problem with given class_path" not in said:
        words = re.sub(r"<class '([\w.]+)'>", r"\1", kinds[1]).replace("collections.abc.", "")
        words = words.replace("NoneType", "null").replace("Sequence", "list")
        return ConfigError(f"`{key}` is {value}, which is none of: {words}.", key)
    reason = re.sub(r"Type \S.* (?=expects a)", "the option ", said.splitlines()[0]).rstrip(".")
    given = f" It is {value}." if value and "Got value" not in reason else ""
    return ConfigError(f"`{key}` has a value that does not fit: {reason}.{given}", key)


def _place(message: str) -> str:
    """The dotted key of the innermost and last complaint, from complaints within complaints."""
    outer: list[tuple[int, int, str]] = []  # indentation, line, key
    for number, line in enumerate(message.splitlines()):
        indent = len(line) - len(line.lstrip(" -"))
        for key in re.findall(r'Parser key "([\w.]+)"', line):
            while outer and outer[-1][0] >= indent and outer[-1][1] != number:
                outer.pop()
            outer.append((indent, number, key))
    return ".".join(dict.fromkeys(key for _, _, key in outer))


def _last_class(message: str) -> str:
    return (re.findall(r"given class_path '([\w.]+)'", message) or [""])[-1]


def _value(said: str) -> str:
    found = re.search(r"Given value: (.*?)(?:\. Got value.*)?$", said, re.MULTILINE)
    value = found[1] if found else ""
    nested = re.fullmatch(r"NestedArg\(key='[\w.]+', val=(.*)\)", value)
    return nested[1] if nested else value


def _unknown_argument(name: str, cls: type, key: str) -> ConfigError:
    known = [parameter for parameter in parameters_of(cls) if parameter != name]
    sentence = f"{cls.__name__} has no option `{name}`{hint(name.split('.')[0], known)}"
    return ConfigError(sentence, f"{key}.{name}" if key else name)


def _unknown_class(name: str, key: str) -> ConfigError:
    base = _BASES.get(key.rpartition(".")[2])
    known = sorted({cls.__name__ for cls in _subclasses(base)}) if base else []
    near = hint(name.split(".")[-1], known) if known else "."
    return ConfigError(f"There is no class {name!r} for `{key}`{near}", key)


def _subclasses(base: type) -> Iterable[type]:
    direct: list[type] = base.__subclasses__()
    for cls in direct:
        if not inspect.isabstract(cls) and not cls.__name__.startswith("_"):
            yield cls
        yield from _subclasses(cls)


def _unknown_key(option: str) -> ConfigError:
    key = option.lstrip("-").partition("=")[0]
    head, _, rest = key.partition(".")
    if head == "trainer" and rest:
        known = [f"trainer.{name}" for name in inspect.signature(Trainer).parameters]
        return ConfigError(f"There is no option `{key}`{hint(key, known)}", key)
    if rest and (known := _options_of_group(head)):
        return ConfigError(f"There is no option `model.{key}`{hint(f'model.{key}', known)}", key)
    return ConfigError(f"There is no key `{head}`{hint(head, (*KEYS, 'config'))}", key)


def _options_of_group(name: str) -> list[str]:
    """Options of a group of that name, of whichever models have it."""
    models = [inspect.signature(cls, eval_str=True).parameters for cls in _subclasses(RGBXModule)]
    kinds = [parameters[name].annotation for parameters in models if name in parameters]
    found = [kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind)]
    return [f"model.{name}.{field.name}" for kind in found for field in fields(kind)]


def _missing(names: str, key: str) -> ConfigError:
    wanted = [re.sub(r"^(fit|test|validate|predict)\.", "", n.strip()) for n in names.split(",")]
    listed = ", ".join(f"`{key}.{name}`" if key else f"`{name}`" for name in wanted)
    return ConfigError(
        f"Missing: {listed}. Give a configuration with --config, or the option itself."
    )


# ---------------------------------------------------------------------- what constructors say
@contextmanager
def constructor_errors() -> Iterator[None]:
    """What a constructor says of its arguments is not buried in the parser's attempts.

    Raises:
        RGBXError: the constructor's own sentence, or one that names the class and what torch or
            another library said of its arguments.
    """
    try:
        yield
    except _OF_VALUES as error:
        cause: BaseException = error
        while cause.__cause__ is not None and _is_of_parser(cause):
            cause = cause.__cause__
        # too little memory, say, or a bug, remains what it is
        if isinstance(cause, RGBXError) or not isinstance(cause, _OF_VALUES):
            raise cause from error
        sentence = _attempt(str(error)) if _is_of_parser(cause) else _refusal(cause)
        if sentence is None:
            raise
        raise ConfigError(sentence) from error


def _frames(error: BaseException) -> list[FrameType]:
    return [frame for frame, _ in traceback.walk_tb(error.__traceback__)]


def _is_of_parser(error: BaseException) -> bool:
    return "jsonargparse" in _frames(error)[-1].f_code.co_filename if _frames(error) else False


def _refusal(error: BaseException) -> str | None:
    """The class under construction, and those of its arguments that the error speaks of."""
    text = " ".join(str(error).split()).rstrip(".")
    for frame in _frames(error):
        code = frame.f_code
        if code.co_name != "__init__" or "jsonargparse" in code.co_filename:
            continue
        cls = type(frame.f_locals[code.co_varnames[0]]).__name__
        names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
        given = {name: frame.f_locals.get(name) for name in names}
        for name, value in list(given.items()):
            if is_dataclass(value):  # a group of options
                given |= {f"{name}.{key}": own for key, own in vars(value).items()}
        numbers = {k: v for k, v in given.items() if type(v) in (int, float)}
        named = [f"{name} {value}" for name, value in numbers.items() if _is_in(value, text)]
        return f"{cls} cannot be built{' with ' if named else ''}{', '.join(named)}: {text}."
    return None


def _attempt(message: str) -> str | None:
    """What a constructor said, where the parser lists it among other attempts as text alone."""
    own = r"^\s*- (?!Not a valid|Expected a|a class path|a dict)(.+)$"
    said = re.search(own, message, re.MULTILINE)
    return f"{said[1].rstrip('.')}." if said else None


# ---------------------------------------------------------------------- what Lightning says
@contextmanager
def lightning_errors() -> Iterator[None]:
    """What Lightning says of options, when the trainer is built or later, as a sentence.

    An error whose innermost frame is Lightning's own was raised by a check of Lightning; what
    comes out of deeper libraries, or of rgbx, is left alone.

    Raises:
        ConfigError: names the keys of `trainer` that the error speaks of.
    """
    try:
        yield
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
        place = Path(_frames(error)[-1].f_code.co_filename)
        if not isinstance(error, MisconfigurationException) and _LIGHTNING not in place.parents:
            raise
        reason = " ".join(str(error).split()).rstrip(".")
        options = inspect.signature(Trainer).parameters
        names = [name for name in options if re.search(rf"\b{name}\b", reason)]
        names = ["max_time"] if "Timer(" in reason else names
        keys = ", ".join(f"trainer.{name}" for name in names) or "trainer"
        first = f"trainer.{names[0]}" if names else ""
        raise ConfigError(f"Lightning refuses {keys}: {reason}.", first) from error
