"""What weightings remember from step to step, in a form that checkpoints can hold."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rgbx.optim.surgery import Weighting

__all__ = ["Memory", "recall", "remembered", "snapshot"]

#: dotted name of an attribute -> number, text, tensor, or tuple of such
Memory = dict[str, Any]

_PLAIN = (bool, int, float, str, Tensor, torch.dtype, type(None))


def snapshot(weighting: Weighting) -> Memory:
    """Everything plain that a weighting, and what it is made of, holds now."""
    found: Memory = {}
    for path, part in _parts(weighting).items():
        values = getattr(part, "__dict__", {}) | getattr(part, "_buffers", {})
        found |= {f"{path}{key}": _copy(v) for key, v in values.items() if _is_plain(v)}
    return found


def remembered(weighting: Weighting, fresh: Memory) -> dict[str, Any]:
    """What has changed since the weighting was built: its options stay the configuration's.

    Args:
        weighting: any.
        fresh: its `snapshot` when it was built.

    Returns:
        ``kind`` (its class) and ``values``.
    """
    values = {k: v for k, v in snapshot(weighting).items() if not _same(v, fresh.get(k, ...))}
    return {"kind": _kind(weighting), "values": values}


def recall(weighting: Weighting, memory: Mapping[str, Any], group: str) -> None:
    """Give back what a weighting of the same class remembered; another begins anew, and says so."""
    kind, values = memory.get("kind"), memory.get("values", {})
    if kind != _kind(weighting):
        if values:
            warnings.warn(
                f"The checkpoint's surgery of the group {group!r} is {kind}, and the "
                f"configuration's is {_kind(weighting)}, which begins without a memory.",
                stacklevel=2,
            )
        return
    parts = _parts(weighting)
    for key, value in values.items():
        path, _, name = key.rpartition(".")
        setattr(parts[f"{path}." if path else ""], name, value)


def _parts(weighting: Weighting) -> dict[str, Any]:
    """The weighting and everything of a class of its own within it: path -> object."""
    found: dict[str, Any] = {"": weighting}
    queue = [("", weighting)]
    while queue:
        path, part = queue.pop()
        inner = getattr(part, "__dict__", {}) | getattr(part, "_modules", {})
        for key, value in inner.items():
            if isinstance(value, nn.Module) or key == "weighting":
                found[f"{path}{key}."] = value
                queue.append((f"{path}{key}.", value))
    return found


def _kind(weighting: Weighting) -> str:
    inner = getattr(weighting, "weighting", None) if not isinstance(weighting, nn.Module) else None
    return _kind(inner) if inner is not None else type(weighting).__qualname__


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(v) for v in value)
    return isinstance(value, _PLAIN)


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return False
    return bool(one == other)
