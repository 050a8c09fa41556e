"""From what stands on a command line (files, folders, patterns) to results of tests."""

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rgbx.errors import RGBXError
from rgbx.results.records import TestResult, read_result

__all__ = ["Run", "find_runs", "named_place"]

_NAMED = re.compile(r"(?P<name>[^=/\\]+)=(?P<place>.+)", re.DOTALL)


@dataclass(frozen=True)
class Run:
    """One ``test.json``.

    Attributes:
        path: The file, as found.
        result: What is in it.
        name: What the user calls the model, or empty.
    """

    path: Path
    result: TestResult
    name: str = ""


def find_runs(places: Sequence[str]) -> list[Run]:
    """Read all results that files, folders and patterns stand for, each file once.

    Args:
        places: Files; folders, searched for ``test.json`` at any depth; patterns such as
            ``runs/**/test.json``. ``NAME=PLACE`` gives the model a name.

    Raises:
        RGBXError: A place holds nothing, or a file is no result.
    """
    found: dict[Path, Run] = {}
    for place in places:
        name, where = named_place(place)
        for path in _files(where):
            found.setdefault(path.resolve(), Run(path, read_result(path), name))
    if not found:
        raise RGBXError("Name at least one test.json, a folder of runs, or a pattern of files.")
    return list(found.values())


def named_place(place: str) -> tuple[str, str]:
    """Name (or empty) and place of ``NAME=PLACE``; an existing file with "=" in it is a place."""
    match = _NAMED.fullmatch(place)
    if match is None or os.path.lexists(place):
        return "", place
    return match["name"].strip(), match["place"]


def _files(where: str) -> Iterable[Path]:
    path = Path(where).expanduser()
    if path.is_dir():
        files = sorted(path.rglob("test.json"))
        if not files:
            raise RGBXError(f"There is no test.json in {where} or below; `rgbx test` writes it.")
        return files
    if path.exists() or not glob.has_magic(where):
        return [path]  # a missing file is reported by who reads it
    files = sorted(
        Path(name) for name in glob.glob(str(path), recursive=True) if os.path.isfile(name)
    )
    if not files:
        raise RGBXError(
            f"No file matches {where} in {Path.cwd()}; `rgbx test` writes test.json into "
            "RUN/version_N/test_DATA_CHECKPOINT/."
        )
    return files
