"""Objects that a configuration describes: what their constructors refuse, in one sentence."""

import contextlib
import inspect
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

from rgbx.class_path import class_at
from rgbx.cli.config.config_file import ConfigError
from rgbx.errors import RGBXError

__all__ = ["own_sentences", "refuse_null"]

#: what constructors raise of numbers that cannot be; other errors are bugs, and stay what they are
_OF_VALUES = (ValueError, TypeError, RuntimeError, ArithmeticError)


def refuse_null(config: Any) -> None:
    """Refuse null where a model or a data module takes none.

    Args:
        config: parsed; ``model`` and ``data`` may be missing.

    Raises:
        ConfigError: names the key.
    """
    for part in ("model", "data"):
        chosen = config.get(part)
        if not chosen or not chosen.get("init_args"):
            continue
        kinds = _annotations(class_at(chosen.class_path))
        for name, value in chosen.init_args.items(branches=True):
            if value is None and not _takes_none(kinds.get(name)):
                raise ConfigError(
                    f"`{part}.{name}` is null, which it cannot be: leave it out, or give a value."
                )


def _annotations(cls: type) -> dict[str, Any]:
    """Types of the constructor's parameters, those handed on to base classes included."""
    found: dict[str, Any] = {}
    for owner in cls.__mro__:
        if "__init__" in owner.__dict__:
            for name, parameter in inspect.signature(owner.__dict__["__init__"]).parameters.items():
                found.setdefault(name, parameter.annotation)
    return found


def _takes_none(kind: Any) -> bool:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return any(map(_takes_none, typing.get_args(kind)))
    return kind in (None, type(None), Any, inspect.Parameter.empty)


@contextlib.contextmanager
def own_sentences() -> Iterator[None]:
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
        if isinstance(cause, RGBXError):
            raise cause from error
        if not isinstance(cause, _OF_VALUES):  # too little memory, say, or a bug
            raise cause from error
        sentence = _attempt(str(error)) if _is_of_parser(cause) else _refusal(cause)
        if sentence is None:
            raise
        raise ConfigError(sentence) from error


def _is_of_parser(error: BaseException) -> bool:
    frames = [frame for frame, _ in _walk(error)]
    return bool(frames) and "jsonargparse" in frames[-1].f_code.co_filename


def _walk(error: BaseException) -> Iterator[tuple[types.FrameType, int]]:
    place = error.__traceback__
    while place is not None:
        yield place.tb_frame, place.tb_lineno
        place = place.tb_next


def _refusal(error: BaseException) -> str | None:
    """The class under construction, and those of its arguments that the error speaks of."""
    text = " ".join(str(error).split()).rstrip(".")
    for frame, _ in _walk(error):
        code = frame.f_code
        if code.co_name != "__init__" or "jsonargparse" in code.co_filename:
            continue
        cls = type(frame.f_locals[code.co_varnames[0]]).__name__
        names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
        given = {name: frame.f_locals.get(name) for name in names}
        guilty = [f"{name} {value}" for name, value in given.items() if _is_in(value, text)]
        return f"{cls} cannot be built{' with ' if guilty else ''}{', '.join(guilty)}: {text}."
    return None


def _attempt(message: str) -> str | None:
    """What a constructor said, where the parser lists it among other attempts as text alone."""
    lines = re.findall(r"^\s*- (.+)$", message, re.MULTILINE)
    said = [
        line for line in lines if not re.match(r"Not a valid|Expected a|a class path|a dict", line)
    ]
    return f"{said[0].rstrip('.')}." if said else None


def _is_in(value: Any, text: str) -> bool:
    """Whether a message speaks of a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return re.search(rf"(?<![\w.]){re.escape(str(value))}(?![\w.])", text) is not None
