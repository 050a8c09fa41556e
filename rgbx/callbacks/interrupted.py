"""A training that was stopped by Ctrl-C or SIGTERM: how it goes on."""

import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch import Trainer

__all__ = ["Stopped", "how_to_go_on"]


class Stopped(Exception):
    """A command was stopped from outside.

    Args:
        number: the signal; the exit status is 128 more, as a shell reports it.
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.status = 128 + number


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
    """``last.ckpt`` if there is one, else the newest, else the one that this run went on from."""
    found = [
        Path(path)
        for callback in trainer.checkpoint_callbacks
        if not getattr(callback, "save_weights_only", False)  # nothing goes on from weights alone
        for name in ("last_model_path", "best_model_path")
        if (path := getattr(callback, name, ""))
    ]
    there = [path for path in found if path.is_file()]
    begun = Path(trainer.ckpt_path) if trainer.ckpt_path else None
    newest = max(there, key=lambda path: (path.stem == "last", path.stat().st_mtime), default=begun)
    return newest if newest is None or newest.is_file() else None


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
