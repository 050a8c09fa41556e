"""``rgbx ablate``: a paper's ablation, row by row, ending in its table next to the printed one."""

import argparse
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rgbx.cli.config.parser import CommandParser, command_parser
from rgbx.disk import remove_drafts
from rgbx.errors import RGBXError

if TYPE_CHECKING:
    from rgbx.jobs.ablation.file import Ablation, AblationRow
    from rgbx.jobs.ablation.job import Job

__all__ = ["main"]

_EPILOG = """\
examples:
  rgbx ablate configs/ablations/samsod_table2.yaml --dry_run
  rgbx ablate configs/ablations/samsod_table2.yaml --data.root /data
  rgbx ablate configs/ablations/taseg_table3.yaml --row 1 --row 7 --seeds 0 1 2
  rgbx ablate configs/ablations/samsod_table3.yaml --workers 4          (one GPU each, if there are)
  rgbx ablate configs/ablations/samsod_table3.yaml --config configs/demo/samsod_vt5000.yaml

Every other option goes to `rgbx fit` and `rgbx test` of every row, also behind --.
Rows that are done are skipped; an interrupted row goes on from its last checkpoint; a row whose
settings changed since it was run is refused, or with --redo run again (the old run is renamed).
A row that fails is noted in the table, and the others go on.

exit status: 0 all rows done, 1 a row failed or cannot be run, 2 wrong usage, 130 stopped by Ctrl-C
(143 by SIGTERM)
"""


def _parser() -> CommandParser:
    parser = command_parser(
        "ablate",
        description="Run the rows of an ablation file and print its table.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="an ablation, see configs/ablations")
    add(
        "-c",
        "--config",
        type=Path,
        action="append",
        default=[],
        help="a configuration instead of the file's own; several overlay each other",
    )
    add(
        "--row",
        action="append",
        default=[],
        metavar="NAME",
        help="this row alone, by its name or the paper's; repeatable",
    )
    add("--seeds", type=int, nargs="+", default=[0], help="train every row with each (default 0)")
    add("--workers", type=int, default=1, metavar="W", help="rows at a time (default 1)")
    add("-o", "--output", type=Path, metavar="DIR", help="runs and table (default: the file's)")
    add("--dry_run", action="store_true", help="say what would be done, and what is there")
    add("--redo", action="store_true", help="run rows again whose settings changed")
    add(
        "--save_predictions",
        action="store_true",
        help="also write what was predicted for every test image",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments after ``ablate``; the process's own by default.

    Returns:
        0; 1 if a row failed; 130 if it was stopped by Ctrl-C, 143 by SIGTERM.

    Raises:
        RGBXError: the file, an option or a row's configuration is wrong, or a finished row has
            other settings.
    """
    arguments, extra = _arguments(argv)
    from rgbx.jobs.ablation.file import read_ablation

    if arguments.workers < 1:
        raise RGBXError(f"--workers is {arguments.workers}, but has to be 1 or more.")
    ablation = read_ablation(arguments.file)
    rows = _chosen(ablation, arguments.row)
    output = arguments.output or Path(ablation.output)
    configs = _configs(arguments, ablation)
    from rgbx.jobs.ablation.job import Job

    jobs = [
        Job.of(row, seed, output, configs, ablation.base, extra)
        for row in rows
        if row.runnable
        for seed in dict.fromkeys(arguments.seeds)
    ]
    devices = _check_commands(jobs)
    _settle_changed(jobs, arguments.redo, arguments.dry_run)
    from rgbx.jobs.ablation.run import run_rows
    from rgbx.jobs.ablation.table import print_plan, show_table, write_table
    from rgbx.jobs.children import Terminated, terminated_like_ctrl_c

    if arguments.dry_run:
        print_plan(jobs)
        show_table(ablation, rows, jobs, configs)
        return 0
    remove_drafts([output, *output.glob("*/"), *output.glob("*/*/")])
    test_options = ("--save_predictions", "true") if arguments.save_predictions else ()
    try:
        with terminated_like_ctrl_c():
            failed = run_rows(jobs, test_options, arguments.workers, devices)
    except KeyboardInterrupt as stop:
        print("\nStopped; the same command goes on from here.")
        return 143 if isinstance(stop, Terminated) else 130
    write_table(show_table(ablation, rows, jobs, configs), output)
    for title, reason in failed.items():
        print(f"failed: {title}: {reason}")
    return 1 if failed else 0


def _arguments(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Own arguments, and the options that go to every row."""
    import sys

    given = list(sys.argv[1:] if argv is None else argv)
    behind: list[str] = []
    if "--" in given:
        place = given.index("--")
        given, behind = given[:place], given[place + 1 :]
    arguments, rest = _parser().parse_known_args(given)
    extra = [*rest, *behind]
    if extra and not extra[0].startswith("--"):
        raise RGBXError(f"{extra[0]!r} belongs to no option; rgbx ablate takes one FILE.")
    for token in extra:
        key = token.partition("=")[0]
        if key in ("--config", "--ckpt_path", "--seed_everything", "--output"):
            way = {"--config": "give it before --", "--seed_everything": "use --seeds"}
            raise RGBXError(
                f"{key} is decided by `rgbx ablate` for every row; {way.get(key, 'leave it out')}."
            )
        if key.startswith("--trainer.logger"):
            raise RGBXError(
                f"{key}: rows log into folders of their own; name further loggers in the "
                "configuration."
            )
    return arguments, extra


def _chosen(ablation: "Ablation", names: Sequence[str]) -> "list[AblationRow]":
    """The rows asked for, by name, the paper's name or folder name; all of them by default."""
    from rgbx.jobs.ablation.file import slug

    rows = {row.name: row for row in ablation.rows}
    papers = {row.published: row for row in ablation.rows if row.published}
    folders = {slug(row.name): row for row in ablation.rows}
    found = []
    for name in names:
        row = rows.get(name) or papers.get(name) or folders.get(slug(name))
        if row is None:
            near = difflib.get_close_matches(name, rows, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(rows)}."
            raise RGBXError(f"The ablation has no row {name!r}; {hint}")
        if not row.runnable:
            raise RGBXError(f"The row {row.name!r} cannot be run: rgbx does not have that method.")
        found.append(row)
    return found or list(ablation.rows)


def _configs(
    arguments: argparse.Namespace, ablation: "Ablation"
) -> list[tuple[Path, Mapping[str, Any]]]:
    """Configuration files and their content."""
    from rgbx.cli.config.config_file import read_config

    paths = arguments.config or [arguments.file.parent / ablation.config]
    return [(path.resolve(), read_config(path)) for path in paths]


def _settle_changed(jobs: "Sequence[Job]", redo: bool, dry_run: bool) -> None:
    """Refuse rows that were run with other settings, or set their runs aside."""
    for job in jobs:
        state, difference = job.folder.state(job.settings)
        if state != "changed" or dry_run:
            continue
        if not redo:
            raise RGBXError(
                f"Row {job.row.name!r} cannot go on in {job.folder.path}, as its settings are "
                f"others than before ({difference}): add --redo to run it again, or give another "
                "--output."
            )
        print(f"{job.row.name}, seed {job.seed}: {difference}; old run: {job.folder.set_aside()}")


def _check_commands(jobs: "Sequence[Job]") -> tuple[str, ...]:
    """Parse the command line of every row before the first one trains; seeds share it.

    Returns:
        GPUs that rows of one device each can share out.
    """
    from rgbx.cli.config.sweep_check import devices_of

    configs = [_check_command(job) for job in {job.row.name: job for job in jobs}.values()]
    found = [devices_of(config) for config in configs]
    return found[0] if found and all(found) else ()


def _check_command(job: "Job") -> Any:
    from rgbx.cli.config.parsed import parse_fit

    try:
        return parse_fit(job.checked, typed=False)
    except RGBXError as error:
        raise RGBXError(f"Row {job.row.name!r}: {error}") from error
