"""rgbx: adapt vision foundation models to segmentation with two cameras.

The models and the data sets by their short names, loaded when they are first asked for:
``from rgbx import TASeg, MFNet``.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rgbx.data import *  # noqa: F403
    from rgbx.models import *  # noqa: F403

__version__ = "0.1.0"
_PACKAGES = ("models", "data", "tasks")  # in this order, what they export is offered here


def __getattr__(name: str) -> Any:
    """A model, a data set or a task by its short name (PEP 562).

    Raises:
        AttributeError: there is none of that name.
    """
    if find_spec(f"{__name__}.{name}"):  # a package of rgbx, which needs none of the others
        return import_module(f"{__name__}.{name}")
    if not name.startswith("_"):
        for package in _PACKAGES:
            module = import_module(f"{__name__}.{package}")
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    exported = (import_module(f"{__name__}.{package}").__all__ for package in _PACKAGES)
    return sorted({*globals(), *(name for names in exported for name in names)})
