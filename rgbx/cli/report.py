"""``rgbx report``: runs and tests as one page that opens anywhere."""

from collections.abc import Sequence
from pathlib import Path

from rgbx.cli.config.parser import CommandParser, command_parser
from rgbx.errors import RGBXError

__all__ = ["main"]

_EPILOG = """\
examples:
  rgbx report runs/tasseg_mfnet/version_0 -o report
  rgbx report runs -o report --title "MFNet, three seeds"
  rgbx report ours=runs/a/version_0 "without X=runs/b/version_0" -o report

The page shows what lies there: tables next to the papers' numbers, training curves, threshold
curves, classes, day and night, kinds of prompts, gradient surgery, and a gallery of the test
images, worst first. `rgbx test --save_predictions true` saves what the gallery needs to show
predictions and errors. Several models and data sets may be mixed.
"""


def _parser() -> CommandParser:
    parser = command_parser(
        "report",
        description="Write one HTML page about runs and their tests; it works offline.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add(
        "places",
        nargs="+",
        metavar="RUN",
        help="run folder (version_N), output folder of a test, test.json, a folder above them, or "
        "a pattern; NAME=RUN names it",
    )
    add("-o", "--output", type=Path, required=True, metavar="DIR", help="gets index.html")
    add("--title", default="rgbx report", help="of the page")
    add(
        "--images",
        type=int,
        default=5000,
        metavar="N",
        help="images in the gallery at most, those with the lowest scores (default %(default)s)",
    )
    add(
        "--megabytes",
        type=float,
        default=30,
        metavar="MB",
        help="what the gallery's images may take at most (default %(default)s)",
    )
    add(
        "--published",
        choices=("all", "own", "none"),
        default="all",
        help="printed rows in the tables: all methods, the papers' own, or none "
        "(default %(default)s)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments after ``report``; the process's own by default.

    Returns:
        0.

    Raises:
        RGBXError: a place is not there or holds nothing; the folder cannot be written.
    """
    arguments = _parser().parse_args(argv)
    if arguments.images < 0 or not 0 <= arguments.megabytes < float("inf"):
        raise RGBXError("--images and --megabytes must be 0 or more.")
    from rgbx.report import Options, build_report

    options = Options(
        title=arguments.title,
        images=arguments.images,
        megabytes=arguments.megabytes,
        published=arguments.published,
    )
    written = build_report(arguments.places, arguments.output, options, progress=True)
    for note in written.notes:
        print(f"note: {note}")
    runs = "1 run" if written.runs == 1 else f"{written.runs} runs"
    images = "1 image" if written.images == 1 else f"{written.images:,} images"
    size = f"{written.bytes / 1e6:.1f} MB"
    print(f"written: {written.path} ({runs}, {images}, {size})")
    return 0
