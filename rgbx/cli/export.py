"""``rgbx export``: a trained model as ONNX or as PyTorch's .pt2, checked before it says done."""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rgbx.cli.config.parser import CommandParser, add_experiment, command_parser, fit_options
from rgbx.errors import RGBXError

if TYPE_CHECKING:
    from rgbx.export import Exported

__all__ = ["main"]

_SUFFIX = {"onnx": ".onnx", "torch": ".pt2"}
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")

_EPILOG = """\
Every other option is one of `rgbx fit`: --model.weights.path FILE, --data.root DIR, ...
The data set need not be there.

What the files take and give (H x W is the size they are made for, the batch is free):
  semantic     rgb (B,3,H,W), x (B,3,H,W) -> logits (B,K,H,W)
  saliency     rgb, and x where the model has it -> logits (B,1,H,W), before the sigmoid
  prompts      three files:
    NAME_encoder        rgb (B,3,H,W) -> embedding (B,C,H/16,W/16)
    NAME_decoder        embedding (1,C,H/16,W/16) of one image, points (N,T,2) in pixels, labels
                        (N,T) -> logits (N,1,H,W). A box is its corners, labelled 2 and 3; points
                        are labelled 1 or 0 and followed by one more, (0, 0), labelled -1
    NAME_decoder_masks  embedding, masks (N,1,H/4,W/4) -> logits (N,1,H,W)
  detection    FCOS is one file, rgb, x -> detections (B,N,4+K): boxes, then scores of each class;
               a cascade is three:
    NAME_pyramid        rgb, x -> features (B,C,M)
    NAME_proposals      features -> proposals (B,A,5): boxes and a score of all anchors
    NAME_heads          features, boxes (B,R,4) -> detections (B,R,4+K)
               NMS is left to you: rgbx/models/unirgb_ir/README.md has it in numpy

A file is written if it predicts what the model does, LoRA unmerged, by ONNX Runtime or by PyTorch
without rgbx, on scenes and noise in batches of 1 and 3: to 1e-4 of the largest output (of 1 where
that is smaller).

Inputs are resized and normalised as rgbx does. How, and the numbers for it, class names, colours
and all of the above are inside the file:
  json.loads(onnxruntime.InferenceSession(FILE).get_modelmeta().custom_metadata_map["rgbx"])
  extra = {"rgbx.json": ""}; torch.export.load(FILE, extra_files=extra); extra["rgbx.json"]

examples:
  rgbx export --ckpt_path runs/taseg/version_0/checkpoints/best.ckpt --format onnx
  rgbx export --config C.yaml --ckpt_path best.ckpt --format torch --size 480 640 --output m.pt2
"""


def _parser() -> CommandParser:
    parser = command_parser(
        "export",
        description="Write a trained model to a file that runs without rgbx.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("--ckpt_path", type=Path, required=True, metavar="FILE", help="what was trained")
    add("-f", "--format", choices=tuple(_SUFFIX), required=True, help="torch: PyTorch's .pt2")
    add("-o", "--output", type=Path, metavar="FILE", help="default: next to the run's checkpoints")
    add("--opset", type=int, metavar="N", help="of ONNX's operators, 18 (default) to 23")
    add_experiment(
        parser,
        "of the experiment (default: the config.yaml of the run that the checkpoint is in)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments after ``export``; the process's own by default.

    Returns:
        0.

    Raises:
        RGBXError: an option or a file cannot be used, or the result would differ from the model.
    """
    arguments, rest = _parser().parse_known_args(argv)
    checkpoint, kind = arguments.ckpt_path, arguments.format
    from rgbx.backbones.file_kind import plain_file

    plain_file(checkpoint, "checkpoint")
    if arguments.opset is not None and kind != "onnx":
        raise RGBXError(f"--opset is for --format onnx; --format {kind} has none: leave it out.")
    target = _target(arguments.output, checkpoint, kind)
    configs = arguments.config or [_config_of(checkpoint)]
    options = fit_options(configs, arguments.size, rest)
    if kind == "onnx":
        _need_packages()
    from rgbx.checkpoints.file import read_checkpoint
    from rgbx.cli.config.built import Built
    from rgbx.export import MIN_OPSET, check_opset, export, facts_of

    opset = MIN_OPSET if arguments.opset is None else arguments.opset
    check_opset(opset)
    read_checkpoint(checkpoint, mmap=True)  # before a large model is built
    options += ["--trainer.accelerator", "cpu", "--trainer.precision", "32-true"]
    built = Built(options, checkpoint=checkpoint, override=arguments.override)
    facts = facts_of(built.datamodule) | {"checkpoint": checkpoint.name}
    _say(export(built.model, built.size, kind, target, facts, opset), kind, built.size)
    return 0


def _say(found: "list[Exported]", kind: str, size: tuple[int, int]) -> None:
    by = "ONNX Runtime" if kind == "onnx" else "torch.export.load"
    for one in found:
        megabytes = sum(p.stat().st_size for p in one.path.parent.glob(f"{one.path.name}*")) / 1e6
        print(f"{one.path} ({megabytes:.1f} MB)")
        print(f"  {', '.join(map(str, one.part.inputs))} -> {one.part.output}")
        largest, scale = one.difference
        print(f"  largest difference to the model, by {by}: {largest:.1e} of {scale:.3g}")
    print(
        f"The size of the images is fixed, {size[0]} x {size[1]} (height x width); lengths with "
        "a name are free. `rgbx export --help` says what the files take."
    )


def _need_packages() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise RGBXError(
            f"--format onnx needs {', '.join(missing)}: install rgbx with its extra `export` "
            "(pip install 'rgbx[export]'), or give --format torch."
        )


def _run_of(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint belongs to."""
    folder = checkpoint.parent
    return folder.parent if folder.name == "checkpoints" else folder


def _config_of(checkpoint: Path) -> Path:
    config = _run_of(checkpoint) / "config.yaml"
    if not config.is_file():
        raise RGBXError(
            f"There is no {config}, which a run of `rgbx fit` would have: give the configuration "
            "that the checkpoint was trained with, by --config."
        )
    return config


def _target(output: Path | None, checkpoint: Path, kind: str) -> Path:
    """The file to write, refused before a large model is built, not after."""
    suffix = _SUFFIX[kind]
    if output is None:
        output = _run_of(checkpoint) / f"{checkpoint.stem}{suffix}"
    if output.suffix != suffix or output.is_dir():
        raise RGBXError(f"--output is {output}: give a file that ends in {suffix}.")
    folder = output.parent
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        reason = "no permission" if there.is_dir() else f"{there} is a file"
        raise RGBXError(
            f"{folder} cannot be written to ({reason}): give another folder with --output."
        )
    return output
