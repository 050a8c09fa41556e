"""``rgbx profile``: what a configuration costs in parameters, operations, memory and time."""

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rgbx.cli.config.parser import (
    CommandParser,
    add_experiment,
    command_parser,
    fit_options,
    whole_number,
)
from rgbx.errors import RGBXError
from rgbx.results.render.output import FORMATS, format_tables, print_tables

if TYPE_CHECKING:
    from rgbx.cli.config.built import Built
    from rgbx.profile.costs import Operations
    from rgbx.profile.measured import Measured
    from rgbx.results import Table

__all__ = ["main"]

_NAME = 26  # characters of the name of a number

_EPILOG = """\
Every other option is one of `rgbx fit`: --model.OPTION VALUE, --trainer.precision VALUE, ...

examples:
  rgbx profile --config configs/samsod_vt5000.yaml
  rgbx profile --config configs/tasseg_mfnet.yaml --size 480 640 --format latex
  rgbx profile --config configs/tasseg_mfnet.yaml --model.encoder vit_b --trainer.accelerator cpu

The data set need not be there, and without --ckpt_path neither need weight files: images are
noise and weights random, on which none of the numbers depends.
"""


def _parser() -> CommandParser:
    parser = command_parser(
        "profile",
        description="Parameters by part, operations, peak memory and speed of a model.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("--ckpt_path", type=Path, metavar="FILE", help="measure with these trained weights")
    add_experiment(parser, "of an experiment")
    add(
        "--batch",
        type=whole_number,
        default=1,
        metavar="N",
        help="images of a pass (default %(default)s)",
    )
    add(
        "--passes",
        type=whole_number,
        metavar="N",
        help="passes that are timed (default: what fits into 10 seconds)",
    )
    add("-f", "--format", choices=tuple(FORMATS), help="print the table alone, in this format")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments after ``profile``; the process's own by default.

    Returns:
        0.

    Raises:
        RGBXError: the configuration, the size or the checkpoint cannot be used, or there is not
            enough memory.
    """
    arguments, rest = _parser().parse_known_args(argv)
    options = fit_options(arguments.config, arguments.size, rest)
    from rgbx.checkpoints.file import read_checkpoint
    from rgbx.cli.config.built import Built
    from rgbx.profile.measured import measured

    checkpoint, kind = arguments.ckpt_path, arguments.format
    trained = checkpoint is not None
    if trained:
        read_checkpoint(checkpoint, mmap=True)  # before minutes are spent on a count
    built = Built(options, False, "meta", checkpoint, arguments.override)
    operations = _operations(built)
    if kind is None:
        _print_counts(built, operations)
    build = partial(Built, options, trained, "cpu", checkpoint, arguments.override)
    found = measured(build, arguments.batch, arguments.passes)
    if found.device == "cpu":
        warnings.warn(
            "memory and speed were measured on a CPU: they cannot be compared with a paper's, "
            "which are a GPU's.",
            stacklevel=1,
        )
    table = _table(built, operations, found)
    if kind is None:
        _print_measured(found)
        print_tables([table])
    else:
        print(format_tables([table], kind, "rgbx profile"), end="")
    return 0


def _table(built: "Built", operations: "Operations", found: "Measured") -> "Table":
    from rgbx.profile.cost_table import Costs, cost_table
    from rgbx.results import load_published

    model = built.model
    name = f"{type(model).__name__} {model.hparams.get('encoder', '')}".strip()
    parts = model.parameters_by_part()
    costs = Costs(name, built.size, model.input_text, parts, operations, found)
    return cost_table(costs, load_published(model.published) if model.published else None)


def _operations(built: "Built") -> "Operations":
    """Of one image with one prompt, on the meta device."""
    import torch

    from rgbx.checkpoints.load import weights_follow
    from rgbx.profile.costs import count_operations

    model = built.model.eval()
    try:
        with torch.device("meta"), weights_follow():
            inputs = model.dummy_inputs(built.size)
            return count_operations(lambda: model.raw_output(inputs))
    except RuntimeError as error:  # layers say so of images that they cannot take
        height, width = built.size
        reason = str(error).splitlines()[0]
        raise RGBXError(
            f"{type(model).__name__} cannot see an image of {height} x {width}: {reason}"
        ) from error


def _print_counts(built: "Built", operations: "Operations") -> None:
    height, width = built.size
    print(built.model.parameter_summary())
    print(f"\noperations, one {built.model.input_text}, {height} x {width} (height x width)")
    kinds = {
        "convolutions": operations.convolutions,
        "linear layers": operations.linear,
        "products inside attention": operations.products,
        "sampling": operations.sampling,
        "total": operations.flops,
    }
    for kind, n in kinds.items():
        if n:
            print(f"  {kind:<{_NAME}}  {n / 2e9:12.4f} G MAC")
    print(f"  {'FLOPs, 2 x MAC':<{_NAME}}  {operations.flops / 1e9:12.4f} G")
    print("  not counted: norms, activations, resizing, Fourier transforms\n", flush=True)


def _print_measured(found: "Measured") -> None:
    print(f"{found.name}, precision {found.precision}, batch {found.batch}")
    if found.memory is not None:
        cpu = found.device == "cpu"
        how = "by how much a process of its own grew" if cpu else "held by tensors"
        print(f"  {'peak memory':<{_NAME}}  {found.memory / 1e9:12.4f} GB with weights, {how}")
    fastest, slowest = min(found.seconds), max(found.seconds)
    print(f"  {'frames per second':<{_NAME}}  {found.frames_per_second:12.4f}", end="")
    print(f", median of {len(found.seconds)} passes of {fastest:.4f} to {slowest:.4f} s\n")
