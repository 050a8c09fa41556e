"""Which options of the data a person gave, as opposed to defaults."""

from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = ["Given", "given_options"]


class Given(NamedTuple):
    """Options of the data and their values.

    Attributes:
        anywhere: set by files or on the command line. A null in a file leaves the option to the
            data set, as the configuration of a run does; on the command line it is meant.
        here: of these, what was said of the data in use. ``--data CLASS`` on the command line turns
            to other data: what files say was said of the training's.
    """

    anywhere: dict[str, Any]
    here: dict[str, Any]


def given_options(config: Any, argv: Sequence[str]) -> Given:
    """The options of the data that are no defaults.

    Args:
        config: parsed without defaults.
        argv: the command line.
    """
    names = [token.partition("=")[0] for token in argv]
    typed = {name.rpartition(".")[2] for name in names if name.startswith("--data.")}
    found = dict(config.get("data", {}).get("init_args") or {})
    anywhere = {k: v for k, v in found.items() if v is not None or k in typed}
    if "--data" in names or "--data.class_path" in names:
        return Given(anywhere, {k: v for k, v in anywhere.items() if k in typed})
    return Given(anywhere, anywhere)
