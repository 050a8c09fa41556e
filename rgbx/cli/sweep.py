"""``rgbx sweep``: a W&B sweep file run on this machine, without a server."""

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rgbx.cli.config.parser import CommandParser, command_parser
from rgbx.disk import remove_drafts
from rgbx.errors import RGBXError

if TYPE_CHECKING:
    from rgbx.jobs.sweep import Command, SweepFile
    from rgbx.jobs.sweep.study import SweepStudy

__all__ = ["main"]

_EPILOG = """\
examples:
  rgbx sweep configs/sweeps/tasseg_mfnet.yaml --count 30
  rgbx sweep configs/sweeps/samsod_vt5000.yaml --count 40 --workers 4 -- --data.root /data
  rgbx sweep configs/sweeps/stable_sam_hqseg44k.yaml            (a grid ends by itself)

The same file works with a W&B server: wandb sweep FILE, then wandb agent ID.
--count is the number of trials that the study holds in the end: after an interruption, whatever
killed it, the same command goes on, and trials that were cut off go on from their last epoch.
bayes is Optuna's TPE; hyperband is successive halving on the validations of a trial. A trial counts
with its best validation. Trials that fail are noted, and the others go on.
Needs Optuna: pip install 'rgbx[sweep]'

exit status: 0 no trial failed, 1 one did or the file is wrong, 2 wrong usage, 130 stopped by Ctrl-C
(143 by SIGTERM)
"""


def _parser() -> CommandParser:
    parser = command_parser(
        "sweep",
        usage="rgbx sweep FILE [options] [-- options of rgbx fit]",
        description="Search hyper-parameters as a W&B sweep file says, on this machine.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="a sweep, see configs/sweeps")
    add(
        "--count",
        type=int,
        metavar="N",
        help="trials in the end (default: run_cap of the file, or all of a grid)",
    )
    add("--workers", type=int, default=1, metavar="W", help="trials at a time (default 1)")
    add(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="trials, ranking, importance (default: runs/sweeps/NAME_OF_FILE)",
    )
    add("--storage", type=Path, metavar="DB", help="the study (default: sweep.db in DIR)")
    add("--seed", type=int, default=0, help="of what is drawn, not of the training (default 0)")
    add("--retry_failed", action="store_true", help="run trials that failed once more")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments after ``sweep``; the process's own by default.

    Returns:
        0; 1 if a trial failed; 130 if it was stopped by Ctrl-C, 143 by SIGTERM.

    Raises:
        RGBXError: the file, an option, or a command that it stands for is wrong.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    place = given.index("--") if "--" in given else len(given)
    arguments, extra = _parser().parse_args(given[:place]), given[place + 1 :]
    from rgbx.jobs.sweep import read_command, read_sweep

    file = read_sweep(arguments.file)
    command = read_command(file)
    _check_options(arguments, extra, file)
    count = _count(arguments, file)
    from rgbx.jobs.sweep.study import SweepStudy, require_optuna

    require_optuna()
    output = arguments.output or Path("runs/sweeps", arguments.file.stem)
    storage = arguments.storage or output / "sweep.db"
    with _alone(storage):
        from rgbx.cli.config.sweep_check import check_sweep, devices_of
        from rgbx.jobs.sweep.run import Plan

        config = check_sweep(file, command, extra)
        settings = _settings(file, command, extra, arguments.seed)
        study = SweepStudy(storage, file, settings, arguments.seed)
        if arguments.retry_failed:
            for record in study.records():
                if record.state == "failed":
                    study.again(record)
        plan = Plan(file, command, extra, output, count, arguments.workers, devices_of(config))
        return _run(plan, study, given)


def _run(plan: Any, study: "SweepStudy", given: Sequence[str]) -> int:
    from rgbx.jobs.children import Terminated, terminated_like_ctrl_c
    from rgbx.jobs.sweep.run import run_sweep
    from rgbx.jobs.sweep.summary import report_sweep

    remove_drafts([plan.output, *plan.output.glob("*/")])
    try:
        with terminated_like_ctrl_c():
            run_sweep(plan, study)
    except KeyboardInterrupt as stop:
        report_sweep(plan, study)
        print(f"Stopped; `rgbx sweep {shlex.join(given)}` goes on from here.")
        return 143 if isinstance(stop, Terminated) else 130
    return report_sweep(plan, study)


def _check_options(arguments: argparse.Namespace, extra: Sequence[str], file: "SweepFile") -> None:
    for name in ("count", "workers"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise RGBXError(f"--{name} is {value}, but has to be 1 or more.")
    swept = {parameter.name.replace(".init_args.", ".") for parameter in file.parameters}
    for token in extra:
        key = token.partition("=")[0].removeprefix("--").replace(".init_args.", ".")
        if not token.startswith("--"):
            continue
        if key in swept:
            raise RGBXError(f"{token.partition('=')[0]} is varied by {file.path}; leave it out.")
        _refuse_reserved(key, f"--{key}")
    for parameter in file.parameters:
        _refuse_reserved(parameter.name, f"Parameter {parameter.name} of {file.path}")


def _refuse_reserved(key: str, what: str) -> None:
    """Keys that decide where a trial's logs and checkpoints go."""
    if key == "ckpt_path" or key.startswith("trainer.logger"):
        raise RGBXError(f"{what} is decided by `rgbx sweep` for every trial; leave it out.")


def _count(arguments: argparse.Namespace, file: "SweepFile") -> int:
    """How many trials the study is to hold."""
    limits = [n for n in (arguments.count, file.run_cap) if n is not None]
    if file.method == "grid":
        limits.append(file.grid_size)
    if not limits:
        raise RGBXError(f"How many trials? Add --count N: {file.method} has no end of its own.")
    return min(limits)


def _settings(
    file: "SweepFile", command: "Command", extra: Sequence[str], seed: int
) -> dict[str, Any]:
    """What must be the same for trials to be compared, and for a study to go on."""
    keys = ("method", "metric", "parameters", "early_terminate")
    found: dict[str, Any] = {key: file.content.get(key) for key in keys}
    found["command"] = [*command.before, "PARAMETERS", *command.after]
    return {**found, "options": list(extra), "seed": seed}


@contextlib.contextmanager
def _alone(storage: Path) -> Iterator[None]:
    """Hold a study: two sweeps on one would not know of each other's workers."""
    from rgbx.jobs.folder import try_lock

    lock = storage.with_name(f"{storage.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("a+", encoding="utf-8")
    except OSError as error:
        raise RGBXError(f"{lock} cannot be written: {error.strerror}.") from error
    with file:
        if not try_lock(file.fileno()):
            file.seek(0)
            raise RGBXError(
                f"Another `rgbx sweep` (process {file.read().strip()}) is at work on {storage}: "
                "for more trials at a time stop it and start it with --workers."
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
