"""Import paths of classes, as configurations and results hold them."""

import importlib
from typing import Any

__all__ = ["class_at", "path_of"]


def class_at(path: str) -> type:
    """The class of a dotted path."""
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, type)
    return found


def path_of(thing: Any) -> str:
    """Import path of an object's class."""
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
