"""The command line: ``rgbx COMMAND ...``.

This file stays light: help and version are printed without importing torch. Every command is one
module with ``main(argv) -> int``, imported when it is asked for.
"""

import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

from rgbx import __version__
from rgbx.cli.machine import FAULTS, machine_fault
from rgbx.cli.streams import forgiving_output, open_standard_files, pipe_is_closed
from rgbx.errors import RGBXError, UsageError

__all__ = ["main", "run"]

#: command -> (module with main(argv), what it does)
COMMANDS = {
    "fit": ("rgbx.cli.lightning", "train a model from a configuration file"),
    "validate": ("rgbx.cli.lightning", "score a checkpoint on the validation list"),
    "test": ("rgbx.cli.lightning", "score a checkpoint on the test list; prints the paper's table"),
    "predict": ("rgbx.cli.lightning", "write a prediction and an overlay for every image pair"),
    "table": ("rgbx.cli.table", "join test results into the papers' tables"),
    "report": ("rgbx.cli.report", "one page about runs: tables, curves, worst images first"),
    "ablate": ("rgbx.cli.ablate", "run a paper's ablation row by row, up to its table"),
    "profile": ("rgbx.cli.profile", "parameters, operations, memory and speed of a model"),
    "sweep": ("rgbx.cli.sweep", "search hyper-parameters as a W&B sweep file says, locally"),
    "export": ("rgbx.cli.export", "write a trained model as ONNX or as PyTorch's .pt2, checked"),
    "eval-coco": ("rgbx.cli.eval_coco", "average precision with noisy boxes on COCO or SGinW"),
    "score": ("rgbx.cli.score", "score a file of detections: COCO's average precision, KAIST's"),
    "check-data": ("rgbx.cli.check_data", "look for everything in a data set that breaks training"),
    "weights": (
        "rgbx.cli.weights",
        "list and fetch the public weights; convert published checkpoints",
    ),
    "make-demo-data": ("rgbx.cli.make_demo_data", "write generated scenes in a data set's layout"),
}

_LIGHTNING = "lightning.fabric.utilities.exceptions"
_STOPPED, _NOT_READ = 130, 141  # as shells say: 128 and the number of SIGINT, SIGPIPE


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console script; exits only to report a failure."""
    open_standard_files()
    status = run(list(sys.argv[1:] if argv is None else argv))
    if status == _STOPPED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is ending; another Ctrl-C adds nothing
    if status:
        sys.exit(status)


def run(argv: list[str]) -> int:
    """Run one command line and return its exit status.

    Returns:
        0; 1 if it failed; 2 if its options cannot be read; 130 if it was stopped by Ctrl-C; 141 if
        nobody reads its output any more.
    """
    with forgiving_output(), _quiet_threads():
        try:
            status = _dispatch(argv)
            sys.stdout.flush()  # a full disk behind the output shows here
            return status
        except RGBXError as error:
            return _failed(_sentence(error), 2 if isinstance(error, UsageError) else 1)
        except KeyboardInterrupt:
            return _failed("", _STOPPED)
        except SystemExit as end:
            if isinstance(end.__context__, KeyboardInterrupt):  # Lightning's way of handing it on
                return _failed("", _STOPPED)
            raise
        except _faults() as error:
            if isinstance(error, BrokenPipeError) and pipe_is_closed():
                return _NOT_READ
            sentence = machine_fault(error)
            if type(error).__name__ == "MisconfigurationException":
                sentence = " ".join(str(error).split())
            if sentence is None:
                raise
            return _failed(sentence, 1)


def _failed(sentence: str, status: int) -> int:
    with contextlib.suppress(OSError):  # nobody reads it, or it goes to the disk that is full
        print(f"rgbx: error: {sentence}" if sentence else "rgbx: stopped", file=sys.stderr)
    return status


@contextlib.contextmanager
def _quiet_threads() -> Iterator[None]:
    """A writer's thread leaves faults of the machine to the one that waits for it."""
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        error = arguments.exc_value
        if not isinstance(error, FAULTS) or machine_fault(error) is None:
            before(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def _faults() -> tuple[type[Exception], ...]:
    """What may be the machine's fault, or Lightning's word for options that do not go together.

    Classes of packages are looked up where they are loaded: help has to work without them.
    """
    found = [
        getattr(sys.modules[module], name)
        for module, name in (("cv2", "error"), (_LIGHTNING, "MisconfigurationException"))
        if module in sys.modules
    ]
    return (*FAULTS, *found)


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        print(f"rgbx {__version__}")
        return 0
    # before torch is loaded: idle OpenMP threads that spin make a busy machine far slower
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
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
