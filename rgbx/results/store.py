"""Writing and reading ``test.json``."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rgbx.disk import whole_file
from rgbx.errors import RGBXError
from rgbx.results.decode import DecodeError, decode
from rgbx.results.record import TestResult

__all__ = ["read_result", "write_result"]


def write_result(path: str | Path, result: TestResult) -> None:
    """Write a result as strict JSON: NaN becomes null, no key is left out.

    The file appears whole or not at all; a previous one survives a failure.

    Args:
        path: File to write, usually ``test.json``; its folder is made if need be.
        result: The result.

    Raises:
        RGBXError: If the file cannot be written.
    """
    path = Path(path)
    text = json.dumps(_plain(dataclasses.asdict(result)), indent=2, allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as draft, draft.open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise RGBXError(
            f"The scores could not be written to {path} ({error.strerror}); make room or choose "
            "another folder. What was there before is unchanged."
        ) from error


def read_result(path: str | Path) -> TestResult:
    """Read what :func:`write_result` wrote.

    Args:
        path: A ``test.json``.

    Returns:
        The result; null scores come back as NaN.

    Raises:
        RGBXError: If the file is missing, damaged, or holds something else.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        return decode(TestResult, json.loads(text))
    except OSError as error:
        raise RGBXError(f"Cannot read the scores in {path}: {error.strerror}.") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RGBXError(
            f"{path} is no readable JSON ({error}); write it again with `rgbx test`."
        ) from error
    except DecodeError as error:
        raise RGBXError(
            f"{path} is not a result of `rgbx test`: {error}; write it again with `rgbx test`."
        ) from error


def _plain(value: Any) -> Any:
    """The value in JSON's own types; what has none (a path, a class) becomes its text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)
