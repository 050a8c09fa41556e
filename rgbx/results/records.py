"""What one ``rgbx test`` measured, and on what: ``test.json``, written and read."""

import dataclasses
import datetime
import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Literal

from rgbx import __version__
from rgbx.disk import whole_file
from rgbx.errors import RGBXError
from rgbx.results.decode import DecodeError, decode, plain

__all__ = [
    "CheckpointRecord",
    "ClassScore",
    "DataRecord",
    "ModelRecord",
    "TestResult",
    "make_result",
    "read_result",
    "write_result",
]


@dataclasses.dataclass(frozen=True)
class ModelRecord:
    """The model: import path of its class, and its constructor's arguments as plain values."""

    class_path: str
    hyper_parameters: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class DataRecord:
    """The data: class, name of the root folder (not its path), images per split, class names.

    ``supervision`` says what the model was trained on: full masks, or scribbles.
    """

    class_path: str
    root: str
    split_sizes: dict[str, int]
    class_names: tuple[str, ...]
    supervision: Literal["full", "scribble"] = "full"

    @property
    def dataset(self) -> str:
        """Name of the data set, as published tables know it: the class without its module."""
        return self.class_path.rpartition(".")[2]


@dataclasses.dataclass(frozen=True)
class CheckpointRecord:
    """The checkpoint: file name, SHA-256, and the epoch and optimiser step it was saved at.

    Converted weights know neither epoch nor step.
    """

    file: str
    sha256: str
    epoch: int | None
    step: int | None

    @property
    def is_untrained(self) -> bool:
        """Whether there was none: the model was tested as its weights and arguments made it."""
        return self.file == "none" and not self.sha256


@dataclasses.dataclass(frozen=True)
class ClassScore:
    """One class of one subset.

    Attributes:
        name: Of the class.
        iou: IoU of its pixels in [0, 1], NaN if there is none.
        accuracy: Recall of its pixels, likewise.
        support: Target pixels, or boxes, that the scores rest on.
        scores: Scores of tasks without masks, name -> rate in [0, 1] or NaN; they take the place of
            the two above.
    """

    name: str
    iou: float = math.nan
    accuracy: float = math.nan
    support: int = 0
    scores: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def values(self) -> dict[str, float]:
        """Score -> rate, the one that stands for the class first."""
        return self.scores or {"iou": self.iou, "accuracy": self.accuracy}


@dataclasses.dataclass(frozen=True)
class TestResult:
    """Everything a table needs, and everything needed to tell which run it came from.

    Attributes:
        rgbx: Version of rgbx.
        paper: Folder name of the paper below ``rgbx/models``.
        date: UTC time of the test, ISO 8601.
        seed: Seed of the run, if one was set.
        versions: Package -> version.
        model: The model.
        data: The data set.
        checkpoint: The checkpoint.
        protocol: Metric -> sentence that says what was averaged over what.
        numbers: Split -> subset -> metric -> rate in [0, 1], NaN where nothing was measured.
        classes: Split -> subset -> one entry per class.
        published: File of the printed numbers of a model outside rgbx; empty for those of rgbx.
        settings: What else makes the run (optimiser, schedule, epochs, options of the data), as
            dotted keys; empty in older files.
        missing: Modality that was taken away ("rgb", "x") -> the same as ``numbers``, of
            ``rgbx test --missing true``; else empty.
    """

    __test__: ClassVar[bool] = False  # not a pytest class, whatever its name says

    rgbx: str
    paper: str
    date: str
    seed: int | None
    versions: dict[str, str]
    model: ModelRecord
    data: DataRecord
    checkpoint: CheckpointRecord
    protocol: dict[str, str]
    numbers: dict[str, dict[str, dict[str, float]]]
    classes: dict[str, dict[str, tuple[ClassScore, ...]]]
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    published: str = ""
    missing: dict[str, dict[str, dict[str, dict[str, float]]]] = dataclasses.field(
        default_factory=dict
    )

    @property
    def method(self) -> str:
        """The model's class, as tables call it."""
        name = self.model.class_path.rpartition(".")[2]
        return f"{name} (untrained)" if self.checkpoint.is_untrained else name


def make_result(
    paper: str,
    model: ModelRecord,
    data: DataRecord,
    checkpoint: CheckpointRecord,
    scores: Mapping[str, Mapping[str, Mapping[str, Any]]],
    protocol: Mapping[str, str],
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    published: str = "",
    missing: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]] | None = None,
) -> TestResult:
    """Put the outcome of a test together, stamped with the date and the versions in use.

    Args:
        paper: Folder name of the paper below ``rgbx/models``.
        model: The model.
        data: The data set; its class names label the per-class scores.
        checkpoint: The checkpoint.
        scores: Split -> subset -> name -> value, as ``Evaluator.results()`` gives it. Tensors with
            a value for each class (``iou``, ``accuracy``, ``NAME_class``, and ``support``) become
            per-class entries, the rest numbers.
        protocol: Metric -> sentence.
        seed: Seed of the run.
        settings: What else makes the run, as dotted keys with plain values.
        published: File of the printed numbers of a model outside rgbx.
        missing: Modality that was taken away -> scores without it, in the form of `scores`.
    """
    return TestResult(
        rgbx=__version__,
        paper=paper,
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        seed=seed,
        versions={name: metadata.version(name) for name in ("torch", "lightning")},
        model=model,
        data=data,
        checkpoint=checkpoint,
        protocol=dict(protocol),
        numbers=_all_numbers(scores),
        classes={
            split: {
                subset: _classes(values, data.class_names)
                for subset, values in subsets.items()
                if "support" in values
            }
            for split, subsets in scores.items()
        },
        settings=dict(settings or {}),
        published=published,
        missing={modality: _all_numbers(found) for modality, found in (missing or {}).items()},
    )


_PIXELS = ("iou", "accuracy")
_OF_CLASS = "_class"  # ends the names of other scores of each class


def _all_numbers(
    scores: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> dict[str, dict[str, dict[str, float]]]:
    return {
        split: {subset: _numbers(values) for subset, values in subsets.items()}
        for split, subsets in scores.items()
    }


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if not getattr(value, "ndim", 0)}


def _classes(values: Mapping[str, Any], names: Sequence[str]) -> tuple[ClassScore, ...]:
    columns = {key: value.tolist() for key, value in values.items() if getattr(value, "ndim", 0)}
    support = columns.pop("support")
    if "iou" in columns:
        pixels = [columns[key] for key in _PIXELS]
        return tuple(ClassScore(*row) for row in zip(names, *pixels, support, strict=True))
    return tuple(
        ClassScore(
            name,
            support=support[i],
            scores={key.removesuffix(_OF_CLASS): column[i] for key, column in columns.items()},
        )
        for i, name in enumerate(names)
    )


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
    content = dataclasses.asdict(result)
    for subsets in content["classes"].values():
        for one in itertools.chain(*subsets.values()):
            for key in _PIXELS if one["scores"] else ("scores",):  # which the task does not have
                del one[key]
    text = json.dumps(plain(content), indent=2, allow_nan=False)
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
