"""What a network sees of given files: which options decide it, and how a checkpoint's come back.

A checkpoint keeps the input of its training as plain values, by the names of the data modules'
options. Prediction and testing on other data use them; the defaults of another data class would
normalise, scale or resize in another way, and nothing would look wrong.
"""

import inspect
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from typing_extensions import Self

from rgbx.data.options import bad_options
from rgbx.data.usable import UsableSource
from rgbx.errors import RGBXError

if TYPE_CHECKING:
    from rgbx.data.base import RGBXDataModule

__all__ = ["CLASS_OPTIONS", "Remembered", "class_options", "options_of"]

#: options that say what ids mean; a model is built for them
CLASS_OPTIONS = ("class_names", "palette", "binary")


class Remembered(UsableSource):
    """The part of `RGBXDataModule` that checkpoints keep.

    Attributes:
        inputs: options that decide what a network sees of given files, each an attribute of the
            same name. Checkpoints keep them, and testing and prediction use what they keep. A new
            option of this kind needs its name here, and nothing else.
        x_inputs: the same for the second modality; nothing to models that do not look at it.
        mask_inputs: options that decide what masks mean.
    """

    inputs: ClassVar[tuple[str, ...]] = (
        "size",
        "resize",
        "rgb_mean",
        "rgb_std",
        "blank",
        "blank_with",
    )
    x_inputs: ClassVar[tuple[str, ...]] = (
        "x_mean",
        "x_std",
        "x_channels",
        "x_range",
        "x_invalid",
        "resize_x",
        "invert_depth",
    )
    mask_inputs: ClassVar[tuple[str, ...]] = ("binary", "soft_masks")
    choice: Any  # a property of `RGBXDataModule`

    def describe(self) -> dict[str, Any]:
        """What a checkpoint remembers of the data it was trained on, as plain values.

        Returns:
            ``class``, ``class_names``, ``palette`` (0 to 255), ``choice``, ``scribbles``, and
            ``inputs``, see `input_values`.
        """
        return {
            "class": type(self).__name__,
            "class_names": list(self.class_names),
            "palette": [list(map(int, colour)) for colour in self.palette],
            "choice": self.choice,
            "scribbles": bool(getattr(self, "scribbles", None)),
            "inputs": self.input_values(),
        }

    def input_values(self) -> dict[str, Any]:
        """Option -> value, of all `inputs`, `x_inputs` and `mask_inputs`, as plain values."""
        kept = (*self.inputs, *self.x_inputs, *self.mask_inputs)
        return {name: _plain(getattr(self, name)) for name in kept}

    def take_inputs(self, stored: Mapping[str, Any], given: Collection[str] = ()) -> dict[str, Any]:
        """Show a network what it was trained to see; call it before `setup`.

        Args:
            stored: the ``inputs`` of a checkpoint, see `describe`.
            given: options whose own values stay.

        Returns:
            What has another value now than before.

        Raises:
            RGBXError: a value cannot work.
        """
        here = self.input_values()
        taken = {
            name: stored[name]
            for name in (*self.inputs, *self.x_inputs)
            if name in stored and name not in given and stored[name] != here[name]
        }
        for name, value in taken.items():
            setattr(self, name, _tuples(value))
        if bad := bad_options(cast("RGBXDataModule", self)):
            raise RGBXError(f"{type(self).__name__} cannot work with {'; '.join(bad)}")
        return taken

    @classmethod
    def as_trained(cls, info: Mapping[str, Any], root: str, **options: Any) -> Self:
        """Data whose images come to the network as in its training.

        Args:
            info: ``data_info`` of a model from a checkpoint.
            root: folder of the data set.
            **options: of the constructor; they win.
        """
        classes = class_options(info, options_of(cls), options)
        data = cls(root, **(classes | options))  # type: ignore[call-arg]  # data sets take a root
        data.take_inputs(info.get("inputs", {}), options)
        return data


def class_options(
    info: Mapping[str, Any], options: Collection[str], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The classes that a checkpoint was trained on, as options of a data module that has none.

    Args:
        info: of the training's data module, see `Remembered.describe`.
        options: names that the data module's constructor takes.
        given: options that are set already; they stay.

    Returns:
        Some of `CLASS_OPTIONS`. There is no palette where other classes are given.
    """
    names = given.get("class_names") or info.get("class_names")
    known = {"class_names": names, "binary": info.get("inputs", {}).get("binary")}
    palette = info.get("palette")
    if palette and names and len(palette) == len(names):
        known["palette"] = [tuple(colour) for colour in palette]
    return {
        name: value
        for name, value in known.items()
        if value and name in options and given.get(name) is None
    }


def options_of(cls: type) -> set[str]:
    """Names that a constructor takes, those handed on to base classes by ``**kwargs`` included."""
    names: set[str] = set()
    for owner in cls.__mro__:
        if "__init__" not in vars(owner):
            continue
        parameters = inspect.signature(vars(owner)["__init__"]).parameters.values()
        names |= {p.name for p in parameters if p.kind != p.VAR_KEYWORD}
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            break
    return names - {"self"}


def _plain(value: Any) -> Any:
    """As checkpoints hold it: tuples become lists."""
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, tuple | list) else value
