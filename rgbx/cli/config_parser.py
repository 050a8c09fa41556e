"""The parser of options and configuration files, whose errors are sentences."""

from typing import Any, NoReturn

from jsonargparse import ActionConfigFile
from lightning.pytorch.cli import LightningArgumentParser

from rgbx.cli.config_file import ConfigError, read_config
from rgbx.cli.constructed import refuse_null
from rgbx.cli.messages import explain
from rgbx.disk import whole_file

__all__ = ["RGBXParser"]


class _ConfigFile(ActionConfigFile):
    """``--config FILE``: read and checked as everywhere, and what is wrong in it names it."""

    def __call__(
        self, parser: Any, cfg: Any, values: Any, option_string: str | None = None
    ) -> None:
        read_config(values)
        try:
            super().__call__(parser, cfg, values, option_string)
        except (TypeError, KeyError, ValueError) as error:
            sentence = explain(str(error))
            raise ConfigError(f"{sentence} (in the configuration {values})") from error


class RGBXParser(LightningArgumentParser):
    """Lightning's parser, whose errors are sentences and exceptions rather than a usage page.

    What stands on the command line is the value itself, never the name of a file that holds it:
    what lies in the working directory must not change what ``--data MFNet`` means.
    """

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
        found = super().parse_args(*args, **kwargs)
        command = found.get("subcommand")
        refuse_null(found[command] if command else found)
        return found

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what the message means; inner parsers, which make one of several tries, do not."""
        if not self.exit_on_error:
            super().error(message, ex)
        raise ConfigError(explain(message)) from ex
