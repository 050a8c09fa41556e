"""`rgbx score`: the scores of a file of detections, whoever wrote it."""

from collections.abc import Sequence
from pathlib import Path

from rgbx.cli.config.parser import CommandParser, command_parser

__all__ = ["main"]

_EPILOG = """\
examples:
  rgbx score MLPD_result.txt --annotations KAIST_annotation.json
  rgbx score MLPD_result.txt --annotations KAIST_annotation.json --protocol unirgb_ir
  rgbx score detections.json --annotations Annotation_test.json --max_detections 1000

RESULTS is COCO's results format (.json), or KAIST's rows `frame, x, y, width, height, score` with
frames from 1 on in the order of the annotations; either may be compressed (.gz).
"""


def _parser() -> CommandParser:
    parser = command_parser(
        "score", description="Score a file of detections as `rgbx test` does.", epilog=_EPILOG
    )
    parser.add_argument("results", type=Path, metavar="RESULTS", help="the detections")
    parser.add_argument(
        "--annotations", type=Path, required=True, metavar="FILE", help="COCO's or KAIST's JSON"
    )
    parser.add_argument(
        "--max_detections", type=int, default=100, metavar="N", help="of an image and class in AP"
    )
    parser.add_argument(
        "--protocol",
        choices=["kaist", "unirgb_ir"],
        default="kaist",
        help="of the miss rate on KAIST (default %(default)s)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments after ``score``; the process's own by default.

    Returns:
        0; problems are raised as `RGBXError`.
    """
    arguments = _parser().parse_args(argv)
    from rich.console import Console
    from rich.table import Table

    from rgbx.errors import RGBXError
    from rgbx.metrics.catalogue import family_metrics
    from rgbx.metrics.detection.miss_rate import MissRateConfig
    from rgbx.results.render.tables import rate_text
    from rgbx.tasks.box_results import score_results

    if arguments.max_detections < 1:
        raise RGBXError(f"--max_detections is {arguments.max_detections}: give 1 or more")
    rule = MissRateConfig(protocol=arguments.protocol)
    scores, protocol = score_results(
        arguments.results, arguments.annotations, arguments.max_detections, rule
    )
    names = [name for name in family_metrics("boxes") if name in scores["all"]]
    table = Table(title=f"{arguments.results} (%)")
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    for subset, found in scores.items():
        table.add_row(subset, *(rate_text(float(found[name]), "percent") for name in names))
    console = Console()
    console.print(table)
    for name in names:
        console.print(f"  {name}: {protocol[name]}.", soft_wrap=True)
    return 0
