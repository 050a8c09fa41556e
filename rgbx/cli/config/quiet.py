"""Warnings as one line each; what is intended, or only advertises, is not printed."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["quieten", "without_device_messages"]

_LOGGER = logging.getLogger("lightning.pytorch.utilities.rank_zero")
#: warnings about things that rgbx does on purpose, or that only its authors can mend
_INTENDED = (
    r"Found \d+ module\(s\) in eval mode",  # frozen backbones stay in eval mode
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    r".*does not have many workers",
    r"The number of training batches \(\d+\) is smaller than the logging interval",
    r".*Consider setting `persistent_workers=True`",
    r"Be aware that when using `ckpt_path`, callbacks",  # test needs none of them
    r"Total length of `list` across ranks is zero",  # no validation set, and no need of one
    r"`ModelCheckpoint\(monitor=.*could not find the monitored key",  # no validation this epoch
)


def quieten() -> None:
    """Print warnings as one line each, and drop advertisements and what is intended."""
    warnings.formatwarning = _one_line
    for pattern in _INTENDED:
        warnings.filterwarnings("ignore", message=pattern)
    _LOGGER.addFilter(_no_advertisement)


def _one_line(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> str:
    return f"warning: {message}\n"


def _no_advertisement(record: logging.LogRecord) -> bool:
    return "Tip:" not in str(record.msg)


@contextmanager
def without_device_messages() -> Iterator[None]:
    """Silence what the trainer says of the device."""
    level = _LOGGER.level
    _LOGGER.setLevel(logging.WARNING)
    try:
        yield
    finally:
        _LOGGER.setLevel(level)
