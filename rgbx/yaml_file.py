"""YAML files that people write: read whole or refused in one sentence that names the file."""

import stat
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from rgbx.errors import RGBXError

__all__ = ["parse_yaml", "read_text", "read_yaml"]

_LARGEST = 10_000_000  # bytes; what people write is a thousand times smaller

#: first bytes of a file in UTF-16 or UTF-32
_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


def read_yaml(path: str | Path, what: str) -> Any:
    """What a YAML file holds.

    Args:
        path: of the file.
        what: the file is, "configuration", say.

    Raises:
        RGBXError: it is missing, no file, no UTF-8, no YAML, or names a key twice.
    """
    return parse_yaml(read_text(path, what), path, what)


def read_text(path: str | Path, what: str) -> str:
    """The text of a file.

    Raises:
        RGBXError: as `read_yaml`; what the text means is not looked at.
    """
    file = Path(path)
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe might never end
            kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
            raise RGBXError(f"The {what} {path} is {kind}, not a file.")
        if found.st_size > _LARGEST:
            raise RGBXError(
                f"The {what} {path} has {found.st_size / 1e6:.0f} MB, so it is none: files that "
                f"people write stay below {_LARGEST / 1e6:.0f} MB."
            )
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise RGBXError(f"There is no {what} file {path}.") from error
    except ValueError as error:  # a name that no file can have
        raise RGBXError(f"There is no {what} file {str(path)!r}.") from error
    except OSError as error:
        raise RGBXError(f"The {what} {path} cannot be read: {error.strerror}.") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        seems = " (it seems to be UTF-16)" if content.startswith(_MARKS) else ""
        raise RGBXError(
            f"The {what} {path} is not UTF-8 text{seems}; byte {error.start} does not fit. Save it "
            "as UTF-8."
        ) from error


def parse_yaml(text: str, path: str | Path, what: str) -> Any:
    """What a text of YAML means.

    Args:
        text: in YAML.
        path: where it is from.
        what: that is.

    Raises:
        RGBXError: it is no YAML, or names a key twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        hint = "; indent with blanks" if "\\t" in str(error.problem) else ""
        reason = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise RGBXError(f"The {what} {path}{place} is no YAML: {reason}{hint}.") from error
    except yaml.reader.ReaderError as error:
        raise RGBXError(
            f"The {what} {path} is no YAML: character {error.position} ({error.character:#04x}) "
            "does not belong into text."
        ) from error
    except RecursionError as error:
        raise RGBXError(f"The {what} {path} is no YAML that can be read: too deep.") from error
    except (ValueError, OverflowError) as error:  # 2000-13-45 looks like a date, and is none
        raise RGBXError(f"The {what} {path} has a value that cannot be: {error}.") from error


class _Loader(yaml.SafeLoader):
    """As PyYAML's, which would keep the last of two equal keys in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # "<<"; its keys may be written over
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key `{key}` is there twice", key_node.start_mark
                )
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)
