"""What one ``rgbx test`` measured, and on what: the content of ``test.json``."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, ClassVar, Literal

from rgbx import __version__

__all__ = [
    "CheckpointRecord",
    "ClassScore",
    "DataRecord",
    "ModelRecord",
    "TestResult",
    "make_result",
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


@dataclasses.dataclass(frozen=True)
class ClassScore:
    """One class of one subset: IoU and accuracy in [0, 1] or NaN, target pixels it rests on."""

    name: str
    iou: float
    accuracy: float
    support: int


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
) -> TestResult:
    """Put the outcome of a test together, stamped with the date and the versions in use.

    Args:
        paper: Folder name of the paper below ``rgbx/models``.
        model: The model.
        data: The data set; its class names label the per-class scores.
        checkpoint: The checkpoint.
        scores: Split -> subset -> name -> value, as ``Evaluator.results()`` gives it. The tensors
            ``iou``, ``accuracy`` and ``support`` become per-class entries, the rest numbers.
        protocol: Metric -> sentence.
        seed: Seed of the run.
        settings: What else makes the run, as dotted keys with plain values.
        published: File of the printed numbers of a model outside rgbx.
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
        numbers={
            split: {subset: _numbers(values) for subset, values in subsets.items()}
            for split, subsets in scores.items()
        },
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
    )


_PER_CLASS = ("iou", "accuracy", "support")


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if name not in _PER_CLASS}


def _classes(values: Mapping[str, Any], names: Sequence[str]) -> tuple[ClassScore, ...]:
    columns = [values[key].tolist() for key in _PER_CLASS]
    return tuple(ClassScore(*row) for row in zip(names, *columns, strict=True))
