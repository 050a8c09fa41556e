"""Options of ``rgbx validate | test | predict`` besides those of Lightning."""

from lightning.pytorch.cli import LightningArgumentParser

__all__ = ["add_own_options"]


def add_own_options(parser: LightningArgumentParser, subcommand: str) -> None:
    """Add them to the parser of a command."""
    if subcommand in ("test", "predict"):
        parser.add_argument(
            "--output",
            type=str | None,
            default=None,
            help="folder for what the command writes (default: next to the run's checkpoints)",
        )
        parser.add_argument(
            "--visualize_attention",
            type=bool,
            default=False,
            help="also draw where a model with prompts looks in the first 16 images",
        )
    if subcommand != "fit":
        parser.add_argument(
            "--override",
            type=bool,
            nargs="?",
            const=True,
            default=False,
            help="use options that change what the model computes and differ from training",
        )
    if subcommand == "test":
        parser.add_argument(
            "--missing",
            type=bool,
            default=False,
            help="also score without the visible image and without X, in the same pass",
        )
        parser.add_argument(
            "--save_predictions",
            type=bool,
            default=False,
            help="also write what was predicted for every test image, and a sheet of some",
        )
