"""From parsed JSON or YAML to typed dataclasses, with errors that name the place; and back."""

import dataclasses
import difflib
import math
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = ["DecodeError", "decode", "plain"]

T = TypeVar("T")


class DecodeError(ValueError):
    """A value that does not fit its type; the text names it, as in ``data.root is missing``."""


def decode(kind: type[T], value: Any, where: str = "") -> T:
    """Build a dataclass (and what is nested in it) from plain mappings, lists and scalars.

    Knows dataclasses, ``dict[str, X]``, ``tuple[X, ...]``, ``X | None``, ``Literal``, ``Any`` and
    the scalars. Unknown and missing keys are errors; null for a float is NaN, as JSON has no NaN.

    Args:
        kind: The dataclass.
        value: What ``json.load`` or ``yaml.safe_load`` returned.
        where: Key path of ``value``, for the error text.

    Returns:
        An instance of ``kind``.

    Raises:
        DecodeError: If something is missing, unknown or of another type.
    """
    built: T = _decode(kind, value, where)
    return built


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _decode(next(arg for arg in args if arg is not type(None)), value, where)
    if origin is Literal:
        if value not in args:
            raise DecodeError(f"{where} is {value!r}, not one of {', '.join(map(repr, args))}")
        return value
    if origin is dict:
        _expect(dict, value, where)
        return {
            _decode(str, key, f"a key of {where}"): _decode(args[1], item, f"{where}.{key}")
            for key, item in value.items()
        }
    if origin is tuple:
        _expect(list, value, where)
        return tuple(_decode(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    return _decode_scalar(kind, value, where)


def _decode_scalar(kind: type, value: Any, where: str) -> Any:
    if kind is float:
        if value is None:
            return float("nan")
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif type(value) is kind:  # bool is an int to isinstance
        return value
    raise DecodeError(f"{where} is {value!r}, not of type {kind.__name__}")


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    _expect(dict, value, where)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in value:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise DecodeError(f"{where or 'the file'} has the unknown key {key!r}{hint}")
    hints = get_type_hints(kind)
    arguments = {}
    for name, field in fields.items():
        place = f"{where}.{name}" if where else name
        if name in value:
            arguments[name] = _decode(hints[name], value[name], place)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise DecodeError(f"{place} is missing")
    return kind(**arguments)


def _expect(kind: type[dict] | type[list], value: Any, where: str) -> None:
    if not isinstance(value, kind):
        name = "a mapping" if kind is dict else "a list"
        raise DecodeError(f"{where or 'the file'} is not {name}")


def plain(value: Any) -> Any:
    """The value in JSON's own types; what has none (a path, a class) becomes its text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)
