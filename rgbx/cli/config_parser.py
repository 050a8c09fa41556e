"""The parser of options and configuration files, whose errors are sentences."""

import contextlib
from collections.abc import Iterator
from typing import Any, NoReturn

from jsonargparse import ActionConfigFile
from lightning.pytorch.cli import LightningArgumentParser

from rgbx.cli.config_file import ConfigError, read_config
from rgbx.cli.messages import explain
from rgbx.disk import whole_file
from rgbx.errors import RGBXError

__all__ = ["RGBXParser", "own_sentences"]


class _ConfigFile(ActionConfigFile):
    """``--config FILE``: read and checked as everywhere, and what is wrong in it names it."""

    def __call__(
        self, parser: Any, cfg: Any, values: str, option_string: str | None = None
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

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what the message means; inner parsers, which make one of several tries, do not."""
        if not self.exit_on_error:
            super().error(message, ex)
        raise ConfigError(explain(message)) from ex


@contextlib.contextmanager
def own_sentences() -> Iterator[None]:
    """A sentence of a constructor is not buried in the parser's attempts to build something."""
    try:
        yield
    except ValueError as error:
        if isinstance(error.__cause__, RGBXError):
            raise error.__cause__ from error
        raise
