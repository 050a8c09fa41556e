"""Import paths of classes, as configurations and results hold them."""

import importlib
import inspect
from typing import Any

__all__ = ["class_at", "parameters_of", "path_of"]


def class_at(path: str) -> type:
    """The class of a dotted path."""
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, type)
    return found


def path_of(thing: Any) -> str:
    """Import path of an object's class."""
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def parameters_of(cls: type) -> dict[str, Any]:
    """Constructor parameters and their types, those handed on to base classes included."""
    found: dict[str, Any] = {}
    for owner in cls.__mro__:
        if "__init__" not in owner.__dict__:
            continue
        parameters = inspect.signature(owner.__dict__["__init__"]).parameters.values()
        for p in parameters:
            if p.name != "self" and p.kind != p.VAR_KEYWORD:
                found.setdefault(p.name, p.annotation)
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            break
    return found
