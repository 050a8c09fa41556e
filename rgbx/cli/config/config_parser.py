"""The parser of options and configuration files, whose errors are sentences."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import yaml
from jsonargparse import ActionConfigFile
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities import rank_zero_warn

from rgbx.cli.config.config_file import ConfigError, read_config
from rgbx.cli.config.constructed import refuse_null
from rgbx.cli.config.messages import explain
from rgbx.cli.config.renamed import new_argument, with_new_names
from rgbx.disk import whole_file

__all__ = ["RGBXParser"]


class _ConfigFile(ActionConfigFile):
    """``--config FILE``: read and checked as everywhere, and what is wrong in it names it."""

    def __call__(
        self, parser: Any, cfg: Any, values: Any, option_string: str | None = None
    ) -> None:
        content, renamed = with_new_names(read_config(values))
        if renamed:
            listed = ", ".join(f"{former} is {new}" for former, new in renamed.items())
            rank_zero_warn(f"Options have other names now: {listed} (in {values}).")
        try:
            given = yaml.safe_dump(content, sort_keys=False) if renamed else values
            super().__call__(parser, cfg, given, option_string)
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
        if args and isinstance(args[0], list):
            model = _model_of(args[0])
            args = ([new_argument(word, model) for word in args[0]], *args[1:])
        try:
            found = super().parse_args(*args, **kwargs)
        except ConfigError as error:
            raise ConfigError(_with_source(str(error), args[0] if args else ())) from error
        command = found.get("subcommand")
        refuse_null(found[command] if command else found)
        return found

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what the message means; inner parsers, which make one of several tries, do not."""
        if not self.exit_on_error:
            super().error(message, ex)
        raise ConfigError(explain(message)) from ex


def _values_of(option: str, arguments: Sequence[str]) -> list[str]:
    """What stands behind an option, each time that it is given."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return [
        word.partition("=")[2] or following
        for word, following in pairs
        if word == option or word.startswith(f"{option}=")
    ]


def _model_of(arguments: Sequence[str]) -> str:
    """Name of the model's class, of which the command line has the last word; empty if unknown."""
    named = [
        _value(read_config(f), ["model", "class_path"]) for f in _values_of("--config", arguments)
    ]
    for option in ("--model", "--model.class_path"):
        named += _values_of(option, arguments)
    known = [name for name in named if name and not name.startswith("{")]
    return known[-1].rpartition(".")[2] if known else ""


def _with_source(sentence: str, arguments: Sequence[str]) -> str:
    """A sentence about a key, and the configuration that the key's value is from."""
    key = re.search(r"`([\w.]+)`", sentence)
    if key is None or "(in the configuration" in sentence:
        return sentence
    given = [word.replace(".init_args.", ".") for word in arguments]
    if any(word.partition("=")[0].rstrip("+") == f"--{key[1]}" for word in given):
        return sentence
    files = _values_of("--config", arguments)
    values = {file: _value(read_config(file), key[1].split(".")) for file in reversed(files)}
    # a value that a later file replaces is looked at all the same
    source = next((file for file, value in values.items() if value and value in sentence), None)
    return sentence if source is None else f"{sentence} (in the configuration {source})"


def _value(content: Any, keys: Sequence[str]) -> str:
    """What nested mappings hold under a key, as text; lists are not looked into."""
    if not keys or isinstance(content, list):
        return str(content)
    if not isinstance(content, Mapping):
        return ""
    below = {**content, **(content.get("init_args") or {})}
    return _value(below[keys[0]], keys[1:]) if keys[0] in below else ""
