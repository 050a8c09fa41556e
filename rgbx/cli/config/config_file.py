"""Configuration files, read and checked in the same way by every command."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rgbx.errors import RGBXError
from rgbx.yaml_file import parse_yaml, read_text

__all__ = ["KEYS", "ConfigError", "hint", "read_config", "read_configs"]

#: of a configuration: those of `rgbx fit`, and those that `test` and `predict` have besides
KEYS = (
    "model",
    "data",
    "trainer",
    "ckpt_path",
    "seed_everything",
    "output",
    "override",
    "missing",
    "save_predictions",
    "visualize_attention",
    "return_predictions",
    "verbose",
)
_WHAT = "configuration"


class ConfigError(RGBXError):
    """A configuration file or an option on the command line is wrong.

    Attributes:
        key: dotted name of the one value that is wrong, or empty.
    """

    def __init__(self, sentence: str, key: str = "") -> None:
        super().__init__(sentence)
        self.key = key


def hint(name: str, known: Iterable[str]) -> str:
    """The nearest known name as the end of a sentence, or all of them."""
    names = list(known)
    near = [other for other in names if name and other.startswith(name)]
    near = near or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean `{near[0]}`?" if near else f"; known are {', '.join(names)}."


def read_config(path: str | Path) -> dict[str, Any]:
    """What a configuration file holds.

    Args:
        path: of the file.

    Returns:
        Its keys, at least one, all of `KEYS`; ``model`` and ``data`` are mappings or the name of a
        class, ``trainer`` is a mapping.

    Raises:
        RGBXError: names the file, and the key that is wrong.
    """
    from jsonargparse import get_loader

    text = read_text(path, _WHAT)
    content = parse_yaml(text, path, _WHAT)
    if content is None:
        raise ConfigError(f"The configuration {path} is empty; it needs keys such as `model`.")
    if not isinstance(content, Mapping):
        raise ConfigError(
            f"The configuration {path} is {_kind(content)}, not keys with values such as "
            "`data: {class_path: MFNet}`."
        )
    for key, value in content.items():
        _check(path, key, value)
    found: dict[str, Any] = get_loader("yaml")(text)  # 1e-3 is a number there, as it is to `fit`
    return found


def read_configs(paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """What several of them hold.

    Raises:
        RGBXError: as `read_config`.
    """
    return [read_config(path) for path in paths]


def _check(path: str | Path, key: Any, value: Any) -> None:
    if key not in KEYS:
        near = hint(str(key), KEYS)
        raise ConfigError(f"There is no key `{key}`{near} (in the configuration {path})")
    if key not in ("model", "data", "trainer"):
        return
    if isinstance(value, str) and key != "trainer":
        return
    where = f"`{key}` in the configuration {path}"
    if not isinstance(value, Mapping):
        wanted = "options" if key == "trainer" else "class_path and init_args"
        raise ConfigError(f"{where} is {_kind(value)}; it needs {wanted} below it.")
    arguments = value.get("init_args", {})
    if key != "trainer" and not isinstance(arguments, Mapping):
        raise ConfigError(f"`{key}.init_args` in the configuration {path} is {_kind(arguments)}.")
    odd = [name for name in (*value, *arguments) if not isinstance(name, str)]
    if odd:
        raise ConfigError(f"{where} has the key {odd[0]!r}, which is no word.")


def _kind(value: Any) -> str:
    """What a value is, in a word that YAML's users know, and the value if it is short."""
    if value is None:
        return "empty"
    kinds = {str: "a text", list: "a list", bool: "a truth value", dict: "a mapping"}
    shown = repr(value)
    return kinds.get(type(value), "a number") + (f" ({shown})" if len(shown) < 40 else "")
