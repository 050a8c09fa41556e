"""The command line: ``rgbx COMMAND ...``.

This file stays light: help and version answer without importing torch. Every command is one
module with ``main(argv) -> int``, imported when it is asked for.
"""

import importlib
import io
import os
import sys
from collections.abc import Sequence

from rgbx import __version__
from rgbx.errors import RGBXError, UsageError

__all__ = ["main", "run"]

#: command -> (module with main(argv), what it does)
COMMANDS = {
    "fit": ("rgbx.cli.lightning", "train a model from a configuration file"),
    "validate": ("rgbx.cli.lightning", "score a checkpoint on the validation list"),
    "test": ("rgbx.cli.lightning", "score a checkpoint on the test list; prints the paper's table"),
    "predict": ("rgbx.cli.lightning", "write a prediction and an overlay for every image pair"),
    "table": ("rgbx.cli.table", "join test results into the papers' tables"),
    "report": ("rgbx.cli.report_page", "one page about runs: tables, curves, worst images first"),
    "ablate": ("rgbx.cli.ablate", "run a paper's ablation row by row, up to its table"),
    "profile": ("rgbx.cli.profile", "parameters, operations, memory and speed of a model"),
    "sweep": ("rgbx.cli.sweep", "search hyper-parameters as a W&B sweep file says, locally"),
    "export": ("rgbx.cli.export", "write a trained model as ONNX or as PyTorch's .pt2, checked"),
    "eval-coco": ("rgbx.cli.eval_coco", "average precision with noisy boxes on COCO or SGinW"),
    "check-data": ("rgbx.cli.check_data", "look for everything in a data set that breaks training"),
    "weights": (
        "rgbx.cli.weights",
        "list and fetch the public weights; convert published checkpoints",
    ),
    "make-demo-data": ("rgbx.cli.make_demo_data", "write generated scenes in a data set's layout"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console script; exits only to report a failure."""
    status = run(list(sys.argv[1:] if argv is None else argv))
    if status:
        sys.exit(status)


def run(argv: list[str]) -> int:
    """Run one command line and return its exit status."""
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        print(f"rgbx {__version__}")
        return 0
    # before torch is loaded: idle OpenMP threads that spin make a busy machine far slower
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names that are no text must not stop it
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _dispatch(argv)
    except RGBXError as error:
        print(f"rgbx: error: {_sentence(error)}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1


def _dispatch(argv: list[str]) -> int:
    command = argv[0]
    if command not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(COMMANDS)}."
        raise RGBXError(f"There is no command {command!r}; {hint}")
    module = importlib.import_module(COMMANDS[command][0])
    # the Lightning commands share one parser, which wants to see the command itself
    shared = COMMANDS[command][0] == "rgbx.cli.lightning"
    return module.main(argv if shared else argv[1:])


def _sentence(error: RGBXError) -> str:
    """The error's own text, also when a loader process wrapped it in a traceback."""
    text = str(error)
    if "Original Traceback" not in text:
        return text
    marker = f"{type(error).__name__}: "
    return text[text.rindex(marker) + len(marker) :].strip()


def _usage() -> str:
    lines = [f"rgbx {__version__}: RGB + thermal / depth segmentation with foundation models", ""]
    lines += ["usage: rgbx COMMAND [options]", "", "commands:"]
    lines += [f"  {name:<15} {what}" for name, (_, what) in COMMANDS.items()]
    lines += ["", "`rgbx COMMAND --help` shows the options of a command.", "rgbx --version"]
    return "\n".join(lines)
