"""Where a training run is logged: one folder for its files, Weights & Biases next to it."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger

from rgbx.callbacks.run_folder import reserve_version
from rgbx.class_path import class_at
from rgbx.errors import RGBXError

__all__ = ["RunConfig", "arrange_loggers", "own_wandb_run", "wandb_beside"]

_OPTION = "--trainer.logger"
_WANDB = ("WandbLogger", "lightning.pytorch.loggers.WandbLogger")
_CSV = {"prefix": "", "flush_logs_every_n_steps": 100}
_MODE = "WANDB_MODE"  # set by Lightning's logger where it is offline
_FOLDER, _PROJECT = "runs", "rgbx"


def wandb_beside(arguments: Sequence[str]) -> list[str]:
    """``--trainer.logger WandbLogger`` as an addition to the loggers of the configuration.

    The parser would put it in their place, and the run would have no folder of its own.
    """
    found = list(arguments)
    for place, text in enumerate(found):
        following = found[place + 1] if place + 1 < len(found) else ""
        if text == _OPTION and following in _WANDB:
            found[place] = f"{_OPTION}+"
        elif text in [f"{_OPTION}={name}" for name in _WANDB]:
            found[place] = text.replace("=", "+=", 1)
    return found


def arrange_loggers(trainer: Any) -> None:
    """One run folder for all loggers that write files, which also names the run of W&B.

    Without a logger that writes metrics to files there is one for CSV next to W&B.

    Args:
        trainer: the trainer's part of a configuration; changed in place.
    """
    loggers = [item for item in _listed(trainer.get("logger")) if hasattr(item, "init_args")]
    if not loggers or len(loggers) < len(_listed(trainer.logger)):
        return
    remote = [item for item in loggers if issubclass(class_at(item.class_path), WandbLogger)]
    files = [
        item
        for item in loggers
        if issubclass(class_at(item.class_path), CSVLogger | TensorBoardLogger)
    ]
    if remote and not files:
        name = remote[0].init_args.project or _PROJECT
        arguments = Namespace(save_dir=_FOLDER, name=name, version=None, **_CSV)
        files = [Namespace(class_path="lightning.pytorch.loggers.CSVLogger", init_args=arguments)]
    _same_version([item.init_args for item in files])
    for item in remote:
        _name_run(item.init_args, files[0].init_args)
    # the first one decides where checkpoints and config.yaml go
    others = [item for item in loggers if item not in files]
    trainer.logger = [*files, *others]


def _same_version(loggers: Sequence[Any]) -> None:
    """Give CSV and TensorBoard one run folder: each would otherwise count the other's as taken."""
    named = [a for a in loggers if a.get("name") and a.get("save_dir") and a.version is None]
    if not named:
        return
    version = reserve_version([Path(arguments.save_dir, arguments.name) for arguments in named])
    for arguments in named:
        arguments.version = version


def _name_run(wandb: Any, files: Any) -> None:
    """Project and name where none is given: ``rgbx`` and that of the run's folder."""
    if not wandb.project and "WANDB_PROJECT" not in os.environ:
        wandb.project = _PROJECT
    if not wandb.name and "WANDB_NAME" not in os.environ and files.get("name"):
        version = files.version
        folder = f"version_{version}" if isinstance(version, int) else version
        wandb.name = "/".join(part for part in (files.name, folder) if part)


def _listed(value: Any) -> list[Any]:
    if value is None or isinstance(value, bool):
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


class RunConfig(SaveConfigCallback):
    """Writes ``config.yaml`` into the run's folder, and the same to W&B and TensorBoard."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """The whole configuration: W&B's of the run, and the text ``config`` of TensorBoard."""
        text = self.parser.dump(self.config, skip_none=False)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.config.update(yaml.safe_load(text), allow_val_change=True)
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("config", f"```yaml\n{text}\n```")


@contextmanager
def own_wandb_run() -> Iterator[None]:
    """End a run of W&B with the command that began it, whatever was set for it.

    Without this, the next command of this process would go on with the same run, stay offline for
    ever, or write into the folder that was the current one before.

    Raises:
        RGBXError: W&B cannot be used; says what to do.
    """
    before, mode, failed = _wandb_run(), os.environ.get(_MODE), True
    try:
        yield
        failed = False
    except _wandb_errors() as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise RGBXError(
            f"Weights & Biases cannot be used: {reason}. Or log on this machine alone with "
            "--trainer.logger.offline true, and send the run later with `wandb sync`."
        ) from error
    finally:
        run = _wandb_run()
        if run is not None and run is not before:
            run.finish(exit_code=int(failed))
            if before is None:
                sys.modules["wandb"].teardown()
        if mode is not None:
            os.environ[_MODE] = mode
        else:
            os.environ.pop(_MODE, None)


def _wandb_run() -> Any:
    """The run that is going on in this process, if any; the package is not loaded for it."""
    return getattr(sys.modules.get("wandb"), "run", None)


def _wandb_errors() -> tuple[type[Exception], ...]:
    """What W&B raises where it is used: no login, no network."""
    errors = getattr(sys.modules.get("wandb"), "errors", None)
    return () if errors is None else (errors.Error,)
