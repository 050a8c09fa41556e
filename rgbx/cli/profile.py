"""``rgbx profile``: what a configuration costs in parameters, operations, memory and time."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rgbx.cli.config.parser import CommandParser, add_override, command_parser
from rgbx.cli.table import FORMATS, format_tables, print_tables
from rgbx.errors import RGBXError

if TYPE_CHECKING:
    from rgbx.cli.config.built import Built
    from rgbx.profile.costs import Operations
    from rgbx.profile.measured import Measured, Request

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
    add("-c", "--config", action="append", default=[], metavar="FILE", help="of an experiment")
    add("--ckpt_path", type=Path, metavar="FILE", help="measure with these trained weights")
    add(
        "--size",
        nargs="+",
        metavar="N",
        help="height and width of the input, or one number for a square (default: data.size)",
    )
    add("--batch", default="1", metavar="N", help="images of a pass (default %(default)s)")
    add("--passes", metavar="N", help="passes that are timed (default: what fits into 10 seconds)")
    add("-f", "--format", choices=tuple(FORMATS), help="print the table alone, in this format")
    add_override(parser)
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
    if rest and not rest[0].startswith("-"):
        raise RGBXError(f"{rest[0]} stands alone: give a configuration with --config {rest[0]}.")
    options = [text for file in arguments.config for text in ("--config", file)] + rest
    if arguments.size is not None:
        options += ["--data.size", str(_size(arguments.size))]
    batch = _count("--batch", arguments.batch)
    passes = None if arguments.passes is None else _count("--passes", arguments.passes)
    from rgbx.checkpoints.file import read_checkpoint
    from rgbx.profile.measured import Request

    if arguments.ckpt_path is not None:
        read_checkpoint(arguments.ckpt_path, mmap=True)  # before minutes are spent on a count

    request = Request(options, arguments.ckpt_path, batch, passes, arguments.override)
    _profile(request, arguments.format)
    return 0


def _profile(request: "Request", kind: str | None) -> None:
    """Count, measure and print."""
    from rgbx.callbacks.test_report import paper_of
    from rgbx.cli.config.built import Built
    from rgbx.cli.config.messages import quieten
    from rgbx.profile.cost_table import Costs, cost_table
    from rgbx.profile.measured import measured
    from rgbx.results import load_published

    quieten()
    built = Built(request.options, False, "meta", request.checkpoint, request.override)
    built.check_size()
    operations = _operations(built)
    if kind is None:
        _print_counts(built, operations)
    found = measured(request)
    if found.device == "cpu":
        warnings.warn(
            "memory and speed were measured on a CPU: they cannot be compared with a paper's, "
            "which are a GPU's.",
            stacklevel=1,
        )
    name = f"{type(built.model).__name__} {built.model.hparams.get('encoder', '')}".strip()
    parts = built.model.parameters_by_part()
    table = cost_table(
        Costs(name, built.size, _what(built), parts, operations, found),
        load_published(paper_of(built.model)),
    )
    if kind is None:
        _print_measured(found)
        print_tables([table])
    else:
        print(format_tables([table], kind, "rgbx profile"), end="")


def _operations(built: "Built") -> "Operations":
    """Of one image with one prompt, on the meta device."""
    import torch

    from rgbx.profile.costs import count_operations
    from rgbx.tasks.answer import answer, made_up

    model = built.model.eval()
    try:
        with torch.device("meta"):
            question = made_up(model, built.size)
            return count_operations(lambda: answer(model, question))
    except RuntimeError as error:  # layers say so of images that they cannot take
        height, width = built.size
        reason = str(error).splitlines()[0]
        raise RGBXError(
            f"{type(model).__name__} cannot see an image of {height} x {width}: {reason}"
        ) from error


def _what(built: "Built") -> str:
    """What a pass answers."""
    from rgbx.tasks import PromptableModule

    prompted = isinstance(built.model, PromptableModule)
    return "image with a prompt" if prompted else "image"


def _print_counts(built: "Built", operations: "Operations") -> None:
    parts = built.model.parameters_by_part()
    total = sum(parts.values())
    lines = [(part, n / 1e6, "M") for part, n in parts.items() if part != "frozen"]
    lines += [("trainable", (total - parts["frozen"]) / 1e6, "M")]
    lines += [("frozen", parts["frozen"] / 1e6, "M"), ("total", total / 1e6, "M")]
    height, width = built.size
    print(f"{type(built.model).__name__}: parameters")
    _print_lines(lines)
    print(f"\noperations, one {_what(built)}, {height} x {width} (height x width)")
    kinds = {
        "convolutions": operations.convolutions,
        "linear layers": operations.linear,
        "products inside attention": operations.products,
        "sampling": operations.sampling,
        "total": operations.flops,
    }
    _print_lines([(kind, n / 2e9, "G MAC") for kind, n in kinds.items() if n])
    _print_lines([("FLOPs, 2 x MAC", operations.flops / 1e9, "G")])
    print("  not counted: norms, activations, resizing, Fourier transforms\n", flush=True)


def _print_lines(lines: "Sequence[tuple[str, float, str]]") -> None:
    for name, number, unit in lines:
        print(f"  {name:<{_NAME}}  {number:12.4f} {unit}")


def _print_measured(found: "Measured") -> None:
    print(f"{found.name}, precision {found.precision}, batch {found.batch}")
    if found.memory is not None:
        cpu = found.device == "cpu"
        how = "by how much a process of its own grew" if cpu else "held by tensors"
        print(f"  {'peak memory':<{_NAME}}  {found.memory / 1e9:12.4f} GB with weights, {how}")
    fastest, slowest = min(found.seconds), max(found.seconds)
    print(f"  {'frames per second':<{_NAME}}  {found.frames_per_second:12.4f}", end="")
    print(f", median of {len(found.seconds)} passes of {fastest:.4f} to {slowest:.4f} s\n")


def _size(given: Sequence[str]) -> list[int]:
    """Height and width."""
    sides = [int(text) if text.isdigit() else 0 for text in given]
    if len(sides) > 2 or not all(sides):
        raise RGBXError(
            f"--size is {' '.join(given)}: give height and width in pixels, such as --size 480 640."
        )
    return sides * 2 if len(sides) == 1 else sides


def _count(option: str, text: str) -> int:
    if not text.isdigit() or not int(text):
        raise RGBXError(f"{option} is {text}: give a whole number, 1 or more.")
    return int(text)
