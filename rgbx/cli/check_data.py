"""``rgbx check-data``: find everything in a data set that would break training, in one pass."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rgbx.cli.config.parser import CommandParser, command_parser
from rgbx.errors import RGBXError

if TYPE_CHECKING:
    from rgbx.data.base import RGBXDataModule
    from rgbx.data.checks.check import Report

__all__ = ["data_of", "main"]

_EPILOG = """\
options of the data set:
  --data CLASS, --data.class_path CLASS    MFNet, PST900, VT5000, NEURSDDS, RGBDSaliency,
                                           COD, ISTD, KvasirSEG, FolderRGBX, HQSeg44K, FLIR,
                                           LLVIP, KAIST, M3FD, FolderRGBXBoxes,
                                           PromptFolder, or your own class
  --data.root DIR, --data.OPTION VALUE     as under `data:` of a configuration

examples:
  rgbx check-data --config configs/tasseg_mfnet.yaml
  rgbx check-data --config configs/tasseg_mfnet.yaml --data.root /data/MFNet
  rgbx check-data --data MFNet --data.root /data/MFNet -o check --statistics true

exit status: 0 fine, 1 something would break training (one line each), 2 wrong usage
"""


def _parser() -> CommandParser:
    parser = command_parser(
        "check-data",
        description="Read every file of a data set once and report what is wrong with it.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "-c", "--config", action="append", default=[], help="only its `data:` part is read"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("runs/check-data"),
        metavar="DIR",
        help="where report.json and contact_sheet.png go (default %(default)s)",
    )
    parser.add_argument(
        "--statistics",
        type=_flag,
        nargs="?",
        const=True,
        default=False,
        metavar="true|false",
        help="also print class frequencies, ENet weights, and means and stds of rgb and x",
    )
    parser.add_argument(
        "--alignment",
        type=_flag,
        nargs="?",
        const=True,
        default=False,
        metavar="true|false",
        help="also estimate how far X lies from the visible image in every pair",
    )
    parser.add_argument(
        "--near_duplicates",
        "--near-duplicates",
        type=_flag,
        nargs="?",
        const=True,
        default=False,
        metavar="true|false",
        help="also list images of different splits that look the same (rescaled, flipped, ...)",
    )
    return parser


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments after ``check-data``; the process's own by default.

    Returns:
        0, or 1 if something would break training.

    Raises:
        RGBXError: the arguments name no data set.
    """
    arguments, rest = _parser().parse_known_args(argv)
    data = data_of(arguments.config, rest, argv or ())
    from rgbx.data.checks.check import check, contact_sheet

    report = check(data, statistics=arguments.statistics, alike=arguments.near_duplicates)
    if arguments.statistics:
        from rgbx.cli.data_statistics import print_statistics

        print_statistics(report)
    _print(data, report)
    from rgbx.disk import write_image, write_text

    write_text(arguments.output / "report.json", json.dumps(report.as_dict(), indent=2) + "\n")
    sheet = contact_sheet(data, report)
    if sheet is not None:
        write_image(sheet, arguments.output / "contact_sheet.png")
    if arguments.alignment:
        _alignment(data, report, arguments.output)
    print(f"Written to {arguments.output}")
    return 1 if report.breaking else 0


def _alignment(data: "RGBXDataModule", report: "Report", folder: Path) -> None:
    """Print the shifts of every split; write ``alignment.csv`` and ``alignment.png``."""
    from rgbx.data.checks.alignment import checkerboards, describe_shifts, shifts_of, write_shifts
    from rgbx.disk import write_image

    found = {split: shifts_of(data, one.records, split) for split, one in report.splits.items()}
    pairs = [shift for shifts in found.values() for shift in shifts]
    if not pairs:
        print("alignment: there is no pair of images of one size")
        return
    for split, shifts in found.items():
        for line in describe_shifts(split, shifts):
            print(line)
    write_shifts(folder / "alignment.csv", found)
    write_image(checkerboards(data, pairs), folder / "alignment.png")


def data_of(
    configs: Sequence[str], options: Sequence[str], argv: Sequence[str]
) -> "RGBXDataModule":
    """The data module of configurations and ``--data`` options.

    Args:
        configs: files.
        options: of the data set.
        argv: the whole command line, for messages that say where a value is from.

    Raises:
        RGBXError: they name no data set, or one that cannot be.
    """
    return _instantiate([*_from_configs(configs), *options], argv)


def _from_configs(paths: Sequence[str]) -> list[str]:
    """The `data:` parts of configuration files, as arguments."""
    from rgbx.cli.config.config_file import read_configs

    parts = [config["data"] for config in read_configs(paths) if config.get("data")]
    if paths and not parts:
        raise RGBXError(f"{', '.join(paths)} has no `data:` part; name the data set with --data")
    return [word for part in parts for word in ("--data", _as_option(part))]


def _as_option(part: Any) -> str:
    return part if isinstance(part, str) else json.dumps(part)


def _instantiate(arguments: Sequence[str], argv: Sequence[str]) -> "RGBXDataModule":
    from rgbx.cli.config.config_parser import build_one
    from rgbx.cli.config.errors import source_of_values
    from rgbx.data import RGBXDataModule

    with source_of_values(argv):
        data: RGBXDataModule = build_one(RGBXDataModule, "data", arguments)
    return data


def _print(data: "RGBXDataModule", report: "Report") -> None:
    from rich.console import Console
    from rich.markup import escape

    from rgbx.text import printable

    console = Console()
    console.print(_split_table(report))
    console.print(_class_table(report, data.label_unit))
    if any(found.box_sides.any() for found in report.splits.values()):
        console.print(_side_table(report))
    given = f"normalised with mean {_numbers(data.x_mean)}, std {_numbers(data.x_std)}"
    for split, found in report.splits.items():
        if found.x_count:
            measured = f"{found.x_mean:.3f}, std {found.x_std:.3f}"
            limits = f"{found.x_low:.3f} to {found.x_high:.3f}"
            console.print(f"x of {split}: {limits}, mean {measured} ({given})")
    for line in report.warnings:
        console.print(f"[yellow]warning:[/] {escape(printable(line))}", soft_wrap=True)
    for line in report.breaking:
        console.print(f"[red]problem:[/] {escape(printable(line))}", soft_wrap=True)
    verdict = f"{len(report.breaking)} problems" if report.breaking else "no problem found"
    console.print(f"{report.data} in {report.root}: {verdict}", soft_wrap=True)
    if note := getattr(data, "split_note", ""):
        console.print(escape(note), soft_wrap=True)
    if "val" not in report.splits or report.splits["val"].pairs:
        console.print(f"checkpoints are chosen on {data.choice}", soft_wrap=True)


def _numbers(value: "float | tuple[float, ...]") -> str:
    values = value if isinstance(value, tuple) else (value,)
    return ", ".join(f"{v:.3f}" for v in values)


def _split_table(report: "Report") -> Any:
    from rich.table import Table

    kinds = {
        "missing": "missing partner",
        "unreadable": "unreadable",
        "channels": "wrong channels",
        "values": "masks of unclear values",
        "size": "sizes differ",
        "swapped": "height and width swapped",
        "ids": "ids outside the classes",
        "empty": "scribbles without a label",
        "list": "folders and lists",
        "constant": "x constant (no content)",
        "nan": "x with NaN or infinity",
        "black": "masks all black",
        "white": "masks all white",
        "inverted": "palette masks shown inverted",
        "jpeg": "masks of ids in JPEG",
        "dark": "16-bit rgb hardly used",
        "turned": "files turned by EXIF",
        "several": "files with several images",
        "outside": "boxes outside the image",
        "over": "boxes over the border",
        "hollow": "boxes without an area",
        "tiny": "boxes below 8 pixels",
        "double": "boxes given twice",
        "unboxed": "images without an object",
    }
    boxes = {"outside", "over", "hollow", "tiny", "double", "unboxed"}
    rare = {
        "values",
        "inverted",
        "jpeg",
        "dark",
        "turned",
        "several",
        *boxes,
    }  # shown where there are any
    table = Table(title=f"{report.data}: {report.root}")
    table.add_column("")
    for split in report.splits:
        table.add_column(split, justify="right")
    found = list(report.splits.values())
    table.add_row("usable pairs", *(str(f.pairs) for f in found))
    table.add_row("usual", *("-" if f.expected is None else str(f.expected) for f in found))
    for kind, label in kinds.items():
        counts = [f.kinds[kind] + f.note_kinds[kind] for f in found]
        if any(counts) or kind not in rare:
            table.add_row(label, *map(str, counts))
    return table


def _side_table(report: "Report") -> Any:
    from rich.table import Table

    from rgbx.data.detection.audit import BINS

    table = Table(title="boxes by the root of their area, in pixels")
    table.add_column("")
    for split in report.splits:
        table.add_column(split, justify="right")
    names = [f"up to {side}" for side in BINS] + [f"above {BINS[-1]}"]
    for i, name in enumerate(names):
        table.add_row(name, *(str(found.box_sides[i]) for found in report.splits.values()))
    return table


def _class_table(report: "Report", unit: str) -> Any:
    from rich.table import Table

    table = Table(title=f"share of {unit} (images)")
    table.add_column("id", justify="right")
    table.add_column("class")
    shares = {split: found.shares() for split, found in report.splits.items()}
    for split in report.splits:
        table.add_column(split, justify="right")
    for i, name in enumerate(report.class_names):
        cells = [
            f"{shares[split][i]:.2%} ({int(found.images[i])})"
            for split, found in report.splits.items()
        ]
        table.add_row(str(i), name, *cells)
    return table
