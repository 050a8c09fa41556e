"""What chooses the checkpoint of a run: monitors where nothing is validated, words for a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info

from rgbx.errors import RGBXError

__all__ = ["choice_of", "keep_last_epochs"]

_VALIDATION = "val/"
_MODES = {"min": "smallest", "max": "largest"}
_LAST = "nothing: the last epoch"


def keep_last_epochs(callbacks: Sequence[Callback], data: str) -> None:
    """Save every epoch over the one before, where a monitor waits for a validation that never runs.

    Args:
        callbacks: of the trainer to be; changed in place.
        data: name of the data module's class.

    Raises:
        RGBXError: training is to stop by a score of validation.
    """
    for callback in callbacks:
        if isinstance(callback, EarlyStopping) and _of_validation(callback.monitor):
            raise RGBXError(
                f"EarlyStopping in trainer.callbacks watches {callback.monitor}, but {data} "
                "validates on nothing (data.val_share is 0): remove it, or give data.val_share or "
                "data.choose_on."
            )
    saving = [callback for callback in callbacks if isinstance(callback, ModelCheckpoint)]
    for callback in saving:
        if _of_validation(callback.monitor):
            rank_zero_info(
                f"{data} validates on nothing: the checkpoint that waits for {callback.monitor} "
                "is the last epoch"
            )
            callback.monitor = None
            callback.save_top_k = min(callback.save_top_k, 1)
            if any(other.state_key == callback.state_key for other in saving if other != callback):
                callback.mode = "max" if callback.mode == "min" else "min"  # of no other meaning


def _of_validation(monitor: str | None) -> bool:
    return (monitor or "").startswith(_VALIDATION)


def choice_of(stored: Mapping[str, Any], name: str) -> str:
    """What a checkpoint was chosen on, as words for a table; empty if it does not say.

    The callback that wrote the file tells by which score; it is known by the file's name.

    Args:
        stored: the checkpoint.
        name: of its file.
    """
    choice = str(stored.get("rgbx", {}).get("data", {}).get("choice") or "")
    for state in stored.get("callbacks", {}).values():
        if not isinstance(state, Mapping) or Path(str(state.get("best_model_path"))).name != name:
            continue
        monitor = state.get("monitor")
        if monitor is None:
            return _LAST
        if not _of_validation(monitor):
            return f"training alone, by {monitor}"
        return f"{choice}, by {_by(monitor, stored, state)}" if choice else ""
    return choice


def _by(monitor: str, stored: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    """The score with its direction, where the key of the callback's state tells it."""
    key = next(key for key, value in stored["callbacks"].items() if value is state)
    mode = next((word for mode, word in _MODES.items() if f"'mode': '{mode}'" in key), "best")
    return f"the {mode} {monitor}"
