"""`rgbx weights`: what public weight files there are, how to get one, and how to convert one."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rgbx.cli.config.parser import CommandParser, command_parser

if TYPE_CHECKING:
    from rgbx.backbones.known import KnownWeights


def main(argv: Sequence[str]) -> int:
    """Run `rgbx weights list`, `fetch NAME` or `convert PAPER RELEASED OUT`.

    Args:
        argv: arguments after `weights`.

    Returns:
        Exit status 0; problems are raised as `RGBXError`.
    """
    options = _parser().parse_args(argv)
    if options.action == "list":
        return _list(Path(options.dir))
    if options.action == "convert":
        convert = {"samsod": _convert_samsod, "unirgb_ir": _convert_unirgb_ir}[options.paper]
        return convert(Path(options.released), Path(options.out))
    return _fetch(options.name, Path(options.dir))


def _parser() -> CommandParser:
    folder = CommandParser(add_help=False)
    folder.add_argument("--dir", default="weights", help="folder of the files (default: weights)")
    parser = command_parser("weights", "Public weight files: list, fetch, convert.")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", parents=[folder], help="show names, sizes and which are there")
    fetch = actions.add_parser("fetch", parents=[folder], help="download and verify one file")
    fetch.add_argument("name", metavar="NAME", help="a name that `rgbx weights list` shows")
    convert = actions.add_parser("convert", help="turn a paper's released file into one for rgbx")
    convert.add_argument("paper", choices=["samsod", "unirgb_ir"], help="whose file it is")
    convert.add_argument("released", metavar="RELEASED", help="the authors' file (.pth)")
    convert.add_argument(
        "out", metavar="OUT", help="the file to write (.ckpt, or .pth for a backbone)"
    )
    return parser


def _list(folder: Path) -> int:
    from rgbx.backbones.known import KNOWN

    print(f"{'name':<25} {'size':>9}  {'fits':<32} {'sha256':<8} in {folder}")
    for entry in KNOWN.values():
        size = f"{entry.size / 1e6:,.0f} MB" if entry.size else "unknown"
        known = "known" if entry.sha256 else "unknown"
        print(f"{entry.name:<25} {size:>9}  {entry.fits:<32} {known:<8} {_state(entry, folder)}")
    print("\nGet one with: rgbx weights fetch NAME")
    return 0


def _state(entry: "KnownWeights", folder: Path) -> str:
    """Whether the file is in the folder, wholly or in part."""
    path = folder / entry.file
    if path.exists():
        wrong = entry.size and path.stat().st_size != entry.size
        return f"wrong size ({path.stat().st_size} bytes)" if wrong else "present"
    return "partial" if (folder / f"{entry.file}.part").exists() else "-"


def _fetch(name: str, folder: Path) -> int:
    from rgbx.backbones.download import fetch
    from rgbx.backbones.known import KNOWN
    from rgbx.errors import WeightsError

    if name not in KNOWN:
        near = difflib.get_close_matches(name, KNOWN, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see: rgbx weights list"
        raise WeightsError(f"There are no public weights named {name!r}; {hint}")
    entry = KNOWN[name]
    path = fetch(entry, folder)
    checked = "its SHA-256 is verified" if entry.sha256 else "its SHA-256 is not known"
    print(f"{path} is complete, {checked}. In the configuration write:\n")
    print(f"  weights:\n    path: {path}")
    return 0


def _convert_samsod(released: Path, out: Path) -> int:
    from rgbx.models.samsod.convert import convert_released

    done = convert_released(released, out)
    print(f"{out}: SAMSOD with {done.encoder}, {done.converted} tensors, frozen ones included;")
    print(f"left out: {done.left_out} (SAM 2's memory for video). It needs no other file:\n")
    options = f"--model.encoder {done.encoder} --model.weights null --ckpt_path {out}"
    print(f"  rgbx test --config configs/samsod_vt5000.yaml {options}")
    return 0


def _convert_unirgb_ir(released: Path, out: Path) -> int:
    from rgbx.models.unirgb_ir.convert import convert_released

    done = convert_released(released, out)
    if done.num_classes is not None:
        print(
            f"{out}: UniRGB-IR's detector of {done.num_classes} classes on a ViT of width "
            f"{done.dim} with {done.depth}"
        )
        print(f"blocks, {done.converted} tensors; relative tables for img_size {done.img_size}.")
        print("Its numbers were trained with the visible images' statistics for the thermal ones:")
        print("to score it, set data.x_mean and data.x_std to data.rgb_mean and data.rgb_std, and")
        print(
            f"data.resize_mode to squash. Left out: {done.left_out}. In the configuration write:\n"
        )
        print(f"  weights:\n    path: {out}")
        return 0
    print(
        f"{out}: UniRGB-IR's backbone, a ViT of width {done.dim} with {done.depth} blocks and its"
    )
    print(f"adapters, {done.converted} tensors; its relative tables are made for img_size")
    print(
        f"{done.img_size} (another one resizes them). Left out: {done.left_out} (neck and heads)."
    )
    print("In the configuration write:\n")
    print(f"  weights:\n    path: {out}")
    return 0
