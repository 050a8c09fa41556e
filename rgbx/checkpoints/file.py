"""The one reader of checkpoints: nothing in a file is executed, and what is wrong is named.

Every command and every call of the Python API that takes a checkpoint reads it here, so that
models may trust the types of what they are given.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from packaging.version import VERSION_PATTERN
from torch import Tensor

from rgbx.backbones.torch_file import holds_numbers, read_torch_file, refuse_not_finite
from rgbx.errors import WeightsError

__all__ = ["read_checkpoint"]

_SHOWN = 3  # keys named in an error


def read_checkpoint(path: str | Path, *, mmap: bool = False) -> dict[str, Any]:
    """A checkpoint that rgbx wrote, its structure checked.

    Args:
        path: the file.
        mmap: leave tensors in the file until they are used.

    Returns:
        ``state_dict`` (finite tensors on the CPU by name) and ``rgbx`` (see
        :func:`rgbx.checkpoints.trained.identity`) are there. Of the rest, what is there has its
        type: ``hyper_parameters`` a mapping, ``epoch`` and ``global_step`` numbers, ...

    Raises:
        WeightsError: the file is missing, a folder, a device, unreadable, damaged, of another
            format or of another program, asks to run code, or holds numbers that are not finite.
    """
    path = Path(path)
    content = read_torch_file(path, "checkpoint", mmap=mmap)
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {_kind(content)}, so it is not a checkpoint of rgbx.")
    if "rgbx" not in content:
        raise WeightsError(
            f"{path} is not a checkpoint of rgbx: it has no `rgbx` entry (it holds "
            f"{_some(content) or 'nothing'}). {_other_use(content)}"
        )
    _refuse_malformed(content, path)
    refuse_not_finite(content["state_dict"], f"The checkpoint {path}")
    return content


def _mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _mappings(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_mapping, value))


def _schedules(value: Any) -> bool:
    """States of learning-rate schedules; torch's all have these names for their numbers."""
    return _mappings(value) and all(
        _count(one.get("last_epoch", 0))
        and _count(one.get("_step_count", 0))
        and _numbers(one.get("base_lrs", []))
        and _numbers(one.get("_last_lr", []))
        for one in value
    )


def _seed(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _window(value: Any) -> bool:
    """A half-filled window of accumulation."""
    return value is None or (
        _mapping(value)
        and _count(value.get("count"))
        and ("sum" not in value or holds_numbers(value["sum"]))
    )


def _numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_number, value))


def _number(value: Any) -> bool:
    """A learning rate; some of torch's schedules hold it as a tensor."""
    one = isinstance(value, Tensor) and value.numel() == 1
    return one or (isinstance(value, int | float) and not isinstance(value, bool))


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_text, value))


def _release(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(VERSION_PATTERN, value, re.X | re.I) is not None


def _options(value: Any) -> bool:
    return _mapping(value) and all(map(_plain, value.values()))


def _plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(one, int | float | str) for one in value)
    return value is None or isinstance(value, int | float | str)


def _colours(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(one, list | tuple) and len(one) == 3 and all(_count(v) and v < 256 for v in one)
        for one in value
    )


def _size(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_count, value))


def _tensors(value: Any) -> bool:
    return _mapping(value) and all(map(holds_numbers, value.values()))


#: what each entry has to be, checked in this order; a dot leads into a mapping
_ENTRIES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "rgbx": (_mapping, "a mapping"),
    "rgbx.version": (_text, "a text"),
    "rgbx.model": (_text, "a name"),
    "rgbx.frozen_sha256": (_text, "a text"),
    "rgbx.data": (_mapping, "a mapping"),
    "rgbx.data.class": (_text, "a name"),
    "rgbx.data.class_names": (_texts, "a list of names"),
    "rgbx.data.palette": (_colours, "a list of colours, three numbers from 0 to 255 each"),
    "rgbx.data.size": (_size, "height and width"),
    "rgbx.data.choice": (_text, "a text"),
    "rgbx.data.inputs": (_options, "values of options by name"),
    "rgbx.data.inputs.size": (_size, "height and width"),
    "state_dict": (_tensors, "tensors by name"),
    "hyper_parameters": (_mapping, "a mapping of arguments by name"),
    "epoch": (_count, "a whole number, 0 or more"),
    "global_step": (_count, "a whole number, 0 or more"),
    "pytorch-lightning_version": (_release, "a version"),
    "loops": (_mapping, "a mapping"),
    "callbacks": (_mapping, "a mapping"),
    "optimizer_states": (_mappings, "a list of mappings"),
    "lr_schedulers": (_schedules, "a list of schedules, whose counts and rates are numbers"),
    "surgery": (_mapping, "a mapping"),
    "surgery.seed": (_seed, "a whole number"),
    "surgery.window": (_window, "gradients and how many were added up"),
}
_NEEDED = (
    "rgbx.model",
    "rgbx.frozen_sha256",
    "state_dict",
    "epoch",
    "global_step",
    "pytorch-lightning_version",
)


def _refuse_malformed(content: Mapping[str, Any], path: Path) -> None:
    for dotted, (right, wanted) in _ENTRIES.items():
        *way, key = dotted.split(".")
        place = content
        for step in way:
            place = place.get(step, {})
        if key in place:
            if not right(place[key]):
                raise WeightsError(
                    f"{path} is a damaged checkpoint: its `{dotted}` should be {wanted}, and is "
                    f"{_shown(place[key])}."
                )
        elif dotted in _NEEDED:
            raise WeightsError(f"{path} is a damaged checkpoint: it lacks `{dotted}`.")


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, int | float | str | None) else ""
    if text and len(text) <= 40:
        return text
    if isinstance(value, Mapping):
        return f"a mapping of {_some(value) or 'nothing'}"
    return f"a {_kind(value)}"


def _kind(value: Any) -> str:
    size = f" of {len(value)}" if isinstance(value, list | tuple | set | dict) else ""
    return f"{type(value).__name__}{size}"


def _other_use(content: Mapping[Any, Any]) -> str:
    """What a file that holds weights is good for."""
    if content and _tensors(content):
        return "Weights of a network alone belong into `model.weights.path`."
    return "Give a file that `rgbx fit` wrote."


def _some(names: Any) -> str:
    shown = [str(name)[:60] for name in list(names)[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
