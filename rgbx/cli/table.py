"""``rgbx table``: many ``test.json`` as one table in the shape of the papers."""

from collections.abc import Sequence
from pathlib import Path

from rgbx.cli.config.parser import CommandParser, command_parser
from rgbx.disk import write_text
from rgbx.errors import RGBXError
from rgbx.results.render.output import FORMATS, format_tables, print_tables

__all__ = ["main"]

TIDY = "tidy"  # a format without a table: every number of the tests and papers in a line

_EPILOG = """\
examples:
  rgbx table runs/**/test.json
  rgbx table 'runs/**/test.json' --format latex -o tables/mfnet.tex
  rgbx table ours=runs/a/version_0 "without X=runs/b/version_0" --published own
  rgbx table runs --metrics miou macc --format csv
  rgbx table runs --format tidy -o scores.csv    (one line per number, for pandas)

Rows are models. Runs that differ in nothing but their seed are one row, mean ± standard deviation
of the sample. The best of a column is bold, the second best underlined; rows that papers printed
are named so. Runs whose scores follow different protocols are not ranked together.
"""


def _parser() -> CommandParser:
    parser = command_parser(
        "table",
        description="Join results of `rgbx test` and `rgbx eval-coco` into tables.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add(
        "places",
        nargs="+",
        metavar="FILE",
        help="test.json, a folder of runs, or a pattern; NAME=FILE names the model",
    )
    add("-f", "--format", choices=(*FORMATS, TIDY), help="(default: for the terminal)")
    add("-o", "--output", type=Path, metavar="FILE", help="write there; its suffix is a format too")
    add("--metrics", nargs="+", default=[], metavar="NAME", help="scores to show; all: every one")
    add("--splits", nargs="+", default=[], metavar="NAME", help="splits to show")
    add(
        "--published",
        choices=("all", "own", "none"),
        default="all",
        help="printed rows below: all methods, the papers' own, or none (default %(default)s)",
    )
    add(
        "--group",
        action="store_true",
        help="runs of different protocols in a table each, instead of a refusal",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments after ``table``; the process's own by default.

    Returns:
        0.

    Raises:
        RGBXError: a file is missing, damaged or foreign; protocols differ; nothing to show.
    """
    arguments = _parser().parse_args(argv)
    kind = _format(arguments.format, arguments.output)
    from rgbx.results import JoinedOptions, find_runs, joined_tables, records_of, to_tidy_csv

    options = JoinedOptions(
        metrics=tuple(arguments.metrics),
        splits=tuple(arguments.splits),
        group=arguments.group,
        published=arguments.published,
    )
    runs = find_runs(arguments.places)
    if kind == TIDY:
        text = to_tidy_csv(records_of(runs, arguments.published))
    else:
        tables = joined_tables(runs, options)
        text = "" if kind is None else format_tables(tables, kind)
    if kind is None:
        print_tables(tables)
    elif arguments.output is None:
        print(text, end="")
    else:
        write_text(arguments.output, text)
        print(f"written: {arguments.output}")
    return 0


def _format(chosen: str | None, output: Path | None) -> str | None:
    """The format asked for, else that of the file's suffix, else None for the terminal."""
    if chosen or output is None:
        return chosen
    found = next((name for name, suffix in FORMATS.items() if suffix == output.suffix), None)
    if found is None:
        raise RGBXError(
            f"{output} has no suffix of a table ({', '.join(FORMATS.values())}); add --format."
        )
    return found
