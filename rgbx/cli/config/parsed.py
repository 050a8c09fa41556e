"""The command line of ``rgbx fit`` parsed without running anything."""

from collections.abc import Sequence
from typing import Any

from rgbx.cli.lightning import RGBXCLI

__all__ = ["parse_fit"]


class _ParseOnly(RGBXCLI):
    """The command line interface up to the parsed configuration."""

    def __init__(self, args: list[str], typed: bool) -> None:
        self.typed = typed
        super().__init__(args)

    def _set_seed(self) -> None:
        """Nothing: only a run seeds the process."""

    def before_instantiate_classes(self) -> None:
        """Nothing is built."""

    def instantiate_classes(self) -> None:
        """Nothing is built."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing is run."""


def parse_fit(options: Sequence[str], typed: bool = True) -> Any:
    """Parse options of ``rgbx fit`` as the command itself would.

    Args:
        options: What would stand behind ``rgbx fit``.
        typed: Whether a person wrote them on the command line, rather than rgbx from a file.

    Returns:
        The parsed configuration: a namespace with ``model``, ``data``, ``trainer``, ...

    Raises:
        RGBXError: what the command itself would complain of.
    """
    return _ParseOnly(["fit", *options], typed).config["fit"]
