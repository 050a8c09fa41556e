"""A training that was stopped by Ctrl-C: how it goes on."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch import Trainer

__all__ = ["Stopped", "how_to_go_on"]


class Stopped(Exception):
    """Training was stopped by Ctrl-C; the exit status is 130, as of everything stopped so."""


def how_to_go_on(trainer: Trainer, argv: Sequence[str]) -> str:
    """Where training stopped, and the command that goes on from its last checkpoint.

    Args:
        trainer: after the interruption.
        argv: the command line, from ``fit`` on.
    """
    where = f"Stopped in epoch {trainer.current_epoch}"
    checkpoint = _last_checkpoint(trainer)
    if checkpoint is None:
        return f"{where}, before the first checkpoint."
    command = ["rgbx", *_without_checkpoint(argv), "--ckpt_path", str(checkpoint)]
    return f"{where}. This goes on from the last checkpoint:\n  {shlex.join(command)}"


def _last_checkpoint(trainer: Trainer) -> Path | None:
    """``last.ckpt`` if there is one, else the newest."""
    found = [
        Path(path)
        for callback in trainer.checkpoint_callbacks
        for name in ("last_model_path", "best_model_path")
        if (path := getattr(callback, name, ""))
    ]
    there = [path for path in found if path.is_file()]
    return max(there, key=lambda path: (path.stem == "last", path.stat().st_mtime), default=None)


def _without_checkpoint(argv: Sequence[str]) -> list[str]:
    """The command line without the checkpoint that this run itself went on from."""
    kept: list[str] = []
    rest = iter(argv)
    for token in rest:
        if token == "--ckpt_path":
            next(rest, None)
        elif not token.startswith("--ckpt_path="):
            kept.append(token)
    return kept
