"""The parser of options and configuration files, whose errors are sentences."""

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import yaml
from jsonargparse import ActionConfigFile
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities import rank_zero_warn

from rgbx.cli.config.checks import refuse_null
from rgbx.cli.config.config_file import ConfigError, read_config
from rgbx.cli.config.errors import constructor_errors, explain
from rgbx.cli.config.renamed import model_of, new_argument, with_new_names
from rgbx.disk import whole_file

__all__ = ["RGBXParser", "build_one"]


class _ConfigFile(ActionConfigFile):
    """``--config FILE``: read and checked as everywhere, and what is wrong in it names it."""

    def __call__(
        self, parser: Any, cfg: Any, values: Any, option_string: str | None = None
    ) -> None:
        content, renamed = with_new_names(read_config(values))
        if renamed:
            rank_zero_warn(_other_names(renamed.items(), f"in {values}"))
        try:
            given = yaml.safe_dump(content, sort_keys=False) if renamed else values
            super().__call__(parser, cfg, given, option_string)
        except (TypeError, KeyError, ValueError) as error:
            sentence = explain(str(error))
            raise ConfigError(f"{sentence} (in the configuration {values})") from error


class RGBXParser(LightningArgumentParser):
    """Lightning's parser, whose errors are sentences and exceptions rather than a usage page.

    What stands on the command line is the value itself, never the name of a file that holds it:
    what lies in the working directory must not change what ``--data MFNet`` means. Options are
    written out: the beginning of a name is no name.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def add_argument(self, *args: Any, **kwargs: Any) -> Any:
        """As the base, with a configuration file that names itself."""
        if kwargs.get("action") is ActionConfigFile:
            kwargs["action"] = _ConfigFile
        return super().add_argument(*args, **kwargs)

    def save(self, cfg: Any, path: Any, *args: Any, **kwargs: Any) -> None:
        """As the base; the file is there whole or not at all."""
        with whole_file(path) as draft:
            super().save(cfg, str(draft), *args, **kwargs)

    def _add_signature_parameter(self, *args: Any, **kwargs: Any) -> None:
        super()._add_signature_parameter(*args, **{**kwargs, "sub_configs": False})

    def parse_args(self, *args: Any, **kwargs: Any) -> Any:
        """As the base, which takes null for any option, whatever its type."""
        if args and isinstance(args[0], list):
            model = model_of(args[0])
            words = [new_argument(word, model) for word in args[0]]
            renamed = [(a, b) for a, b in zip(args[0], words, strict=True) if a != b]
            if renamed and kwargs.get("defaults", True):  # it is parsed twice
                rank_zero_warn(_other_names(renamed, "on the command line"))
            args = (words, *args[1:])
        found = super().parse_args(*args, **kwargs)
        command = found.get("subcommand")
        refuse_null(found[command] if command else found)
        return found

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what the message means; inner parsers, which make one of several tries, do not."""
        if not self.exit_on_error:
            super().error(message, ex)
        raise explain(message) from ex


def _other_names(renamed: Iterable[tuple[str, str]], where: str) -> str:
    pairs = ((a.partition("=")[0], b.partition("=")[0]) for a, b in renamed)
    listed = ", ".join(f"{former} is {new}" for former, new in pairs)
    return f"Options have other names now: {listed} ({where})."


def build_one(kind: type, key: str, arguments: Sequence[str]) -> Any:
    """The object that ``--KEY CLASS --KEY.OPTION VALUE ...`` describes.

    Raises:
        RGBXError: what is wrong with the arguments.
    """
    parser = RGBXParser()
    parser.add_subclass_arguments(kind, key, required=True)
    with constructor_errors():
        return parser.instantiate(parser.parse_args(list(arguments)))[key]
