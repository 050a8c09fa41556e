"""From places on a command line to trained runs and tests, finished or cut off."""

import dataclasses
import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rgbx.disk import sha256_of
from rgbx.errors import RGBXError
from rgbx.results import Run, read_result
from rgbx.results.find import named_place

__all__ = ["Tested", "Trained", "find_sources"]

_OF_RUNS = ("metrics.csv", "config.yaml", "hparams.yaml", "checkpoints")
_OF_TESTS = ("test.json", "images.csv")
#: what lies in such folders are images and weights, thousands of them
_CLOSED = ("checkpoints", "masks", "maps", "overlays", "truth", "attention", "wandb")


@dataclass(frozen=True)
class Trained:
    """A run folder (``version_N``).

    Attributes:
        name: What it is called in the report.
        folder: Where it is.
    """

    name: str
    folder: Path


@dataclass(frozen=True)
class Tested:
    """The output folder of a test.

    Attributes:
        name: What it is called in the report; that of its run if it is the run's only test.
        folder: Where it is.
        run: What ``test.json`` says, or None.
        problem: Why there is none, as a sentence; empty if there is.
        given: What the user calls it, or empty.
    """

    name: str
    folder: Path
    run: Run | None
    problem: str = ""
    given: str = ""


def find_sources(places: Sequence[str]) -> tuple[list[Trained], list[Tested]]:
    """Find what there is to report; each folder once, in the order of the places.

    Args:
        places: Run folders, output folders of tests, ``test.json`` files, folders above them, or
            patterns. ``NAME=PLACE`` gives a name.

    Returns:
        The trained runs and the tests.

    Raises:
        RGBXError: A place is not there, or holds neither a run nor a test.
    """
    runs: dict[Path, str] = {}
    tests: dict[Path, str] = {}
    for place in places:
        name, where = named_place(place)
        known = False
        for folder in _folders(where):
            for found, is_one in ((runs, _is_run), (tests, _is_test)):
                if is_one(folder):
                    found.setdefault(folder.resolve(), name)
                    known = True
        if not known:
            raise RGBXError(
                f"There is nothing to report in {where}: neither a run of `rgbx fit` (metrics.csv, "
                "config.yaml) nor a test of `rgbx test` (test.json) lies there or below."
            )
    read = {folder: _read(folder) for folder in tests}
    owners = _owners(runs, read)
    names = _names(runs, {owners[folder]: name for folder, name in tests.items()})
    tested = []
    for folder, (run, problem) in read.items():
        owner = owners[folder]
        run = None if run is None else dataclasses.replace(run, name=names[owner])
        given = tests[folder] or runs.get(owner, "")
        tested.append(Tested(names[owner], folder, run, problem, given))
    return [Trained(names[folder], folder) for folder in runs], tested


def _folders(where: str) -> Iterator[Path]:
    path = Path(where).expanduser()
    matches = [str(path)]
    if not path.exists():
        matches = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(where) else []
    if not matches:
        raise RGBXError(f"There is no {where}; name run folders, test folders or test.json files.")
    for match in map(Path, matches):
        if match.is_file():
            if match.name not in _OF_TESTS:
                raise RGBXError(
                    f"{match} is no test.json; name the folder of a run or of a test, or its "
                    "test.json."
                )
            yield match.parent
            continue
        for folder, below, _ in os.walk(match):
            below[:] = sorted(name for name in below if name not in _CLOSED)
            yield Path(folder)


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in _OF_RUNS)


def _is_test(folder: Path) -> bool:
    if any((folder / name).is_file() for name in _OF_TESTS):
        return True
    # predictions without scores: a test that was cut off, unless `rgbx predict` wrote them
    begun = (folder / "masks").is_dir() or (folder / "maps").is_dir()
    return begun and folder.name.startswith("test_")


def _read(folder: Path) -> tuple[Run | None, str]:
    """The result of a test, and why there is none."""
    file = folder / "test.json"
    if not file.is_file():
        return None, f"no test.json in {folder}: the test was cut off"
    try:
        return Run(file, read_result(file)), ""
    except RGBXError as error:
        return None, str(error).removesuffix(".")


def _owners(runs: Iterable[Path], tests: Mapping[Path, tuple[Run | None, str]]) -> dict[Path, Path]:
    """The run whose only test a test is; else the test itself.

    A test belongs to the run it lies in, or to the one that holds the very checkpoint.
    """
    origin = {folder: folder for folder in tests}
    for folder, (test, _) in tests.items():
        if folder.parent in runs:
            origin[folder] = folder.parent
        elif test is not None:
            record = test.result.checkpoint
            for run in runs:
                if _sha256(run / "checkpoints" / record.file) == record.sha256:
                    origin[folder] = run
                    break
    counts = Counter(origin.values())
    return {test: run if counts[run] == 1 else test for test, run in origin.items()}


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path) if path.is_file() else ""
    except OSError:
        return ""


def _names(runs: Mapping[Path, str], tests: Mapping[Path, str]) -> dict[Path, str]:
    """A name of its own for every folder: the given one, or the shortest end of its path."""
    given = {**tests, **{folder: name or tests.get(folder, "") for folder, name in runs.items()}}
    found: dict[Path, str] = {}
    for folder, name in given.items():
        rivals = [other for other in given if other != folder and given[other] == name]
        end = _end(folder, rivals)
        found[folder] = (f"{name} {end}" if rivals else name) if name else end
    return found


def _end(folder: Path, others: Sequence[Path]) -> str:
    """The last parts of a path that no other path ends with; "version_0" alone says little."""
    parts = folder.parts
    for count in range(1, len(parts)):
        tail = parts[-count:]
        vague = tail[0].startswith(("version_", "test_")) and count < len(parts) - 1
        if not vague and all(other.parts[-count:] != tail for other in others):
            return "/".join(tail)
    return str(folder)
