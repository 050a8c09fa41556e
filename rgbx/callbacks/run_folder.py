"""The folder of a training run: ``version_N``, of this run alone."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.fabric.utilities.rank_zero import rank_zero_only

from rgbx.errors import RGBXError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

__all__ = [
    "VERSION_VARIABLE",
    "folder_beside",
    "folders_of_runs",
    "own_run_folder",
    "reserve_version",
]

#: set by rank 0, inherited by the ranks that it starts
VERSION_VARIABLE = "RGBX_RUN_VERSION"
_made: list[Path] = []  # by this run, the deepest first


def reserve_version(folders: Sequence[Path]) -> int:
    """The version of this run: the first that none of the folders has.

    ``version_N`` is made in the first folder, which no two runs that begin at once, as agents of
    a sweep do, can both succeed in.

    Raises:
        RGBXError: the folder cannot be made.
    """
    if VERSION_VARIABLE not in os.environ:
        rank = getattr(rank_zero_only, "rank", 0)  # others that a scheduler started write nothing
        os.environ[VERSION_VARIABLE] = str(_first_free(folders) if rank else _claimed(folders))
    return int(os.environ[VERSION_VARIABLE])


def _claimed(folders: Sequence[Path]) -> int:
    version = _first_free(folders)
    while not _make(folders[0] / f"version_{version}"):
        version += 1
    return version


def _first_free(folders: Sequence[Path]) -> int:
    numbers = [
        path.name.removeprefix("version_")
        for folder in folders
        for path in folder.glob("version_*")
    ]
    return max((int(number) + 1 for number in numbers if number.isdigit()), default=0)


def _make(run: Path) -> bool:
    """Make a folder; False if another run was faster."""
    missing = [folder for folder in (run, *run.parents) if not folder.exists()]
    try:
        run.mkdir(parents=True)
    except OSError as error:
        if isinstance(error, FileExistsError) and run.exists():
            return False
        raise RGBXError(
            f"The folder {run} cannot be made ({error.strerror}); choose another save_dir for "
            "trainer.logger."
        ) from error
    _made.extend(missing)
    return True


def folders_of_runs(trainer: "Trainer") -> list[Path]:
    """Where this run and earlier ones of its name write: their folders and those inside."""
    run = Path(trainer.log_dir or trainer.default_root_dir)
    runs = {run, *run.parent.glob("version_*")} if trainer.log_dir else {run / "checkpoints"}
    saved = {Path(d) for c in trainer.checkpoint_callbacks if (d := getattr(c, "dirpath", None))}
    if trainer.log_dir:
        saved |= {folder for run in runs for folder in run.glob("*") if folder.is_dir()}
    return sorted(runs | saved)


@contextlib.contextmanager
def own_run_folder() -> Iterator[None]:
    """Forget the version afterwards, and remove folders that nothing was written to."""
    inherited = VERSION_VARIABLE in os.environ
    try:
        yield
    finally:
        if not inherited:
            os.environ.pop(VERSION_VARIABLE, None)
        for folder in _made:
            with contextlib.suppress(OSError):  # it is not empty, as it should be
                folder.rmdir()
        _made.clear()


def folder_beside(checkpoint: Path, name: str) -> Path:
    """``NAME_CHECKPOINT`` in the run that a checkpoint belongs to."""
    folder = checkpoint.parent
    run = folder.parent if folder.name == "checkpoints" else folder
    return run / f"{name}_{checkpoint.stem}"
