"""`rgbx score`: the scores of detections, maps or masks, whoever predicted them."""

from collections.abc import Sequence
from pathlib import Path

from rgbx.cli.config.parser import CommandParser, command_parser
from rgbx.errors import UsageError

__all__ = ["main"]

_EPILOG = """\
examples:
  rgbx score maps/SAMSOD --data VT5000 --data.root /data/VT5000 -o scores/SAMSOD
  rgbx score maps --data VT5000 --data.root /data/VT5000       # maps/METHOD/VT821/*.png, ...
  rgbx score masks --config configs/tasseg_mfnet.yaml
  rgbx score MLPD_result.txt --annotations KAIST_annotation.json
  rgbx score MLPD_result.txt --annotations KAIST_annotation.json --protocol unirgb_ir
  rgbx score detections.json --annotations Annotation_test.json --max_detections 1000

With --data or --config, RESULTS is a folder: PNG maps of two-class data, class ids of others, named
as the images, at the size of the masks; in a folder for each test set where there are several, and
in one for each method. What is written is what `rgbx test` writes.

With --annotations, RESULTS is COCO's results format (.json), or KAIST's rows `frame, x, y, width,
height, score` with frames from 1 on in the order of the annotations; both may be compressed (.gz).
"""


def _parser() -> CommandParser:
    parser = command_parser(
        "score", description="Score detections, maps or masks as `rgbx test` does.", epilog=_EPILOG
    )
    parser.add_argument("results", type=Path, metavar="RESULTS", help="a file or a folder")
    parser.add_argument(
        "--annotations", type=Path, metavar="FILE", help="of detections: COCO's or KAIST's JSON"
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
    parser.add_argument(
        "-c", "--config", action="append", default=[], help="only its `data:` part is read"
    )
    parser.add_argument(
        "--scores",
        nargs="+",
        choices=["saliency", "shadow", "polyp"],
        help="of maps (default saliency)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="of test.json (runs/scores/METHOD)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments after ``score``; the process's own by default.

    Returns:
        0; problems are raised as `RGBXError`.
    """
    arguments, rest = _parser().parse_known_args(argv)
    if arguments.annotations is None:
        if not (arguments.config or rest):
            raise UsageError(
                "rgbx score needs to know the truth: --data CLASS --data.root DIR for a folder of "
                "maps or masks, or --annotations FILE for detections; see `rgbx score --help`."
            )
        from rgbx.cli.score_maps import score_maps

        return score_maps(arguments, rest, argv or ())
    if rest or arguments.config or arguments.output:
        raise UsageError(
            "rgbx score --annotations FILE takes no data set and writes no files: leave out "
            f"{rest[0] if rest else '--config and --output'}; see `rgbx score --help`."
        )
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
