"""``rgbx eval-coco``: AP of a promptable model whose prompts are noisy boxes around instances."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rgbx.cli.config.parser import CommandParser, add_override, command_parser
from rgbx.errors import RGBXError

if TYPE_CHECKING:
    from rgbx.data.transforms.normalise import Triple
    from rgbx.metrics.coco_files import CocoInstances
    from rgbx.results import TestResult
    from rgbx.tasks import RGBXModule
    from rgbx.tasks.coco import CocoScores

__all__ = ["main"]

_EPILOG = """\
options of the model:
  --model.OPTION VALUE                     as under `model:` of a configuration

examples:
  rgbx eval-coco --config configs/stable_sam_hqseg44k.yaml --ckpt_path last.ckpt \\
      --annotations annotations/instances_val2017.json --images val2017
  rgbx eval-coco --config configs/stable_sam_hqseg44k.yaml --ckpt_path last.ckpt --sginw data/SGinW

Every instance that is no crowd is prompted with one box, drawn around its true box until their
IoU lies in [LOW, HIGH). The boxes depend on data set, annotation and range alone.
"""

_RANGES = ((0.5, 0.6), (0.6, 0.7))
_SIZE = 1024  # SAM's


def _parser() -> CommandParser:
    parser = command_parser(
        "eval-coco",
        description="Average precision (COCO segm) of masks prompted by noisy boxes.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add(
        "-c",
        "--config",
        action="append",
        default=[],
        help="its `model:` part is read, and data.size, data.rgb_mean, data.rgb_std",
    )
    add("--ckpt_path", type=Path, help="trained weights (default: as the configuration makes it)")
    add("--annotations", type=Path, metavar="FILE", help="a COCO annotation file")
    add("--images", type=Path, metavar="DIR", help="the images that FILE names")
    add("--sginw", type=Path, metavar="ROOT", help="the 25 folders of SGinW instead of one file")
    add(
        "--iou",
        nargs=2,
        type=float,
        action="append",
        metavar=("LOW", "HIGH"),
        help="overlap of the boxes; may be repeated (default: 0.5 0.6 and 0.6 0.7)",
    )
    add(
        "--score",
        choices=("one", "pred_iou"),
        default="one",
        help="confidence of a mask: 1 for all, or SAM's own estimate (default %(default)s)",
    )
    add(
        "--size",
        type=int,
        help="longer side of an image (default: the configuration's data.size, else the "
        f"training's, else {_SIZE})",
    )
    add("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: cuda, if there is one)")
    output = Path("runs/eval-coco")
    add("-o", "--output", type=Path, default=output, help="gets test.json (default %(default)s)")
    add_override(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments after ``eval-coco``; the process's own by default.

    Returns:
        0.

    Raises:
        RGBXError: arguments, data or checkpoint do not fit.
    """
    arguments, rest = _parser().parse_known_args(argv)
    _check(arguments)
    from rgbx.cli.config.quiet import quieten

    quieten()
    from rgbx.cli.config.config_file import read_configs
    from rgbx.cli.config.errors import source_of_values
    from rgbx.cli.config.promptable import build, data_inputs
    from rgbx.tasks.coco import evaluate

    configs, checkpoint = read_configs(arguments.config), arguments.ckpt_path
    trained_on = _trained_on(checkpoint)
    side, colours = data_inputs(configs, trained_on.get("inputs"))
    arguments.size = arguments.size or side or _SIZE
    name, sets = _sets(arguments)
    with source_of_values(argv or ()):
        model = build(configs, rest, checkpoint, arguments.device, arguments.override)
    if checkpoint is not None:
        _compare_input(trained_on, arguments.size, colours)
    ranges = arguments.iou or _RANGES
    common = (ranges, arguments.size, arguments.score, colours)
    scores = {
        split: evaluate(model, instances, f"{name}/{split}", *common)
        for split, instances in sets.items()
    }
    sizes = {split: instances.image_count for split, instances in sets.items()}
    _report(_result(model, arguments, name, sizes, scores), arguments.output)
    return 0


def _trained_on(checkpoint: Path | None) -> "dict[str, Any]":
    """What a checkpoint remembers of its data."""
    from rgbx.checkpoints.file import read_checkpoint

    if checkpoint is None:
        return {}
    found: dict[str, Any] = read_checkpoint(checkpoint, mmap=True)["rgbx"].get("data", {})
    return found


def _compare_input(
    trained_on: "Mapping[str, Any]", side: int, colours: "tuple[Triple, Triple]"
) -> None:
    """Say where images come to the network otherwise than in its training."""
    from rgbx.checkpoints.trained_with import compare_input

    size = trained_on.get("inputs", {}).get("size", [side, side])
    here = {
        "size": size if max(size) == side else [side, side],
        "rgb_mean": list(colours[0]),
        "rgb_std": list(colours[1]),
    }
    compare_input(here, trained_on, "eval-coco")


def _check(arguments: argparse.Namespace) -> None:
    """Refuse combinations and ranges that cannot be, before anything heavy is imported."""
    one_file = (arguments.annotations is not None, arguments.images is not None)
    if any(one_file) if arguments.sginw is not None else not all(one_file):
        raise RGBXError("Give --annotations FILE with --images DIR, or --sginw ROOT instead.")
    for low, high in arguments.iou or ():
        if not 0 <= low < high <= 1:
            raise RGBXError(f"--iou {low:g} {high:g} is no range of overlaps; give e.g. 0.5 0.6.")
    if arguments.size is not None and (arguments.size < 16 or arguments.size % 16):
        raise RGBXError(f"--size {arguments.size} is no multiple of 16; SAM's is {_SIZE}.")


def _sets(arguments: argparse.Namespace) -> "tuple[str, dict[str, CocoInstances]]":
    """Name of the data set, as published tables know it, and its splits."""
    from rgbx.metrics.coco_files import CocoInstances, sginw_sets

    if arguments.sginw is not None:
        sets = sginw_sets(arguments.sginw)
        return "SGinW", {name: CocoInstances(*files) for name, files in sets.items()}
    instances = CocoInstances(arguments.annotations, arguments.images)
    stem = arguments.annotations.stem
    if stem == "instances_val2017":
        return "COCO", {"val2017": instances}
    return "COCO-format", {stem: instances}


def _result(
    model: "RGBXModule",
    arguments: argparse.Namespace,
    name: str,
    sizes: dict[str, int],
    scores: "dict[str, CocoScores]",
) -> "TestResult":
    from rgbx.callbacks.test_results import checkpoint_record
    from rgbx.class_path import path_of
    from rgbx.results import MEAN, DataRecord, ModelRecord, make_result
    from rgbx.tasks.prompt_evaluation import mean_scores

    numbers = {split: {"all": found.numbers} for split, found in scores.items()}
    if len(numbers) > 1:
        numbers[MEAN] = {"all": mean_scores([found.numbers for found in scores.values()])}
    root = arguments.sginw or arguments.images
    return make_result(
        paper=model.paper,
        model=ModelRecord(path_of(model), dict(model.hparams)),
        data=DataRecord(name, root.name, sizes, ()),
        checkpoint=checkpoint_record(arguments.ckpt_path),
        scores=numbers,
        protocol=_protocol(arguments, scores),
    )


def _protocol(arguments: argparse.Namespace, scores: "dict[str, CocoScores]") -> dict[str, str]:
    total, empty, outside = (
        sum(getattr(found, key) for found in scores.values())
        for key in ("instances", "empty", "outside")
    )
    return {
        "AP": "COCO segm, mean over IoU 0.50 to 0.95; every mask has its instance's class",
        "AP50": "as AP, at IoU 0.50",
        "prompts": (
            f"one noisy box for each of {total} instances, drawn until its overlap with the true "
            f"box is in the range ({outside} draws stayed outside), seeded by data set, annotation "
            f"and range; {empty} instances without a pixel count as missed"
        ),
        "confidence": "1" if arguments.score == "one" else "the IoU that SAM's own head predicts",
        "input": f"longer side {arguments.size}, proportions kept, padded below and on the right",
    }


def _report(result: "TestResult", folder: Path) -> None:
    from rich.console import Console

    from rgbx.results import prompt_tables, published_of, write_result
    from rgbx.results.render.output import print_tables

    write_result(folder / "test.json", result)
    print_tables(prompt_tables(result, published_of(result)))
    Console().print(f"written: {folder / 'test.json'}", soft_wrap=True)
