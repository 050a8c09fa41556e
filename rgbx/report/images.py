"""Reading ``images.csv``: the images of a test, their files and their scores."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rgbx.metrics.catalogue import CATALOGUE, metric_info
from rgbx.report.find import Tested
from rgbx.report.lines import read_lines

__all__ = ["ImageRow", "headline_of", "read_images"]

_FIXED = ("split", "subset", "name", "rgb", "x", "mask", "truth")
#: what images are sorted by, the first of these that they have
_ORDER = [m.name for m in sorted(CATALOGUE, key=lambda m: m.rank) if m.scope == "image"]


@dataclass(frozen=True)
class ImageRow:
    """One image of a test, or one of its kinds of prompts.

    Attributes:
        test: Name of the test.
        split: Of the data set.
        subset: "day", "night", or empty.
        name: Of the image.
        kind: Of the prompt, or empty.
        rgb: The visible image.
        x: The second modality; None if there is none or it is unknown.
        prediction: What was predicted; None if it was not saved.
        truth: The ground truth in the form of the prediction; None if it was not saved.
        scores: Name -> score.
    """

    test: str
    split: str
    subset: str
    name: str
    kind: str
    rgb: Path | None
    x: Path | None
    prediction: Path | None
    truth: Path | None
    scores: dict[str, float]

    @property
    def headline(self) -> float:
        """The score that images are sorted by, of which more is better; NaN if there is none."""
        name = headline_of(self.scores)
        score = self.scores.get(name, math.nan)
        return score if metric_info(name).higher_is_better else -score


def headline_of(names: Iterable[str]) -> str:
    """The score that images are sorted by; empty if there is none."""
    known = [name for name in names if name in _ORDER]
    return min(known, key=_ORDER.index) if known else next(iter(names), "")


def read_images(test: Tested) -> tuple[list[ImageRow], list[str]]:
    """The images of a test, and what is missing, as sentences without their full stop."""
    path = test.folder / "images.csv"
    if not path.is_file():
        return [], [f"no images.csv in {test.folder}: test again to have its images here"]
    lines, notes = read_lines(path, "split", "name", "rgb")
    rows = [row for values in lines for row in _rows(test, values)]
    if rows and all(row.prediction is None for row in rows):
        notes.append("predictions were not saved; `rgbx test --save_predictions true` does it")
    return rows, notes


def _rows(test: Tested, values: dict[str, str]) -> list[ImageRow]:
    """An image as one row, or as one for each kind of prompt."""
    predictions, scores = {}, {}
    for name, text in values.items():
        if name.partition("/")[0] == "prediction":
            predictions[name.partition("/")[2]] = text
        elif name not in _FIXED and math.isfinite(score := _number(text)):
            scores[name] = score
    kinds = dict.fromkeys(name.rpartition("/")[0] for name in scores if "/" in name)
    kinds.update(dict.fromkeys(kind for kind in predictions if kind))
    return [
        ImageRow(
            test.name,
            values["split"],
            values.get("subset", ""),
            values["name"],
            kind,
            rgb=_path(values["rgb"]),
            x=_path(values.get("x", "")),
            prediction=_path(predictions.get(kind, ""), test.folder),
            truth=_path(values.get("truth", ""), test.folder),
            scores={
                name.rpartition("/")[2]: score
                for name, score in scores.items()
                if name.rpartition("/")[0] == kind
            },
        )
        for kind in kinds or [""]
    ]


def _path(text: str, folder: Path = Path()) -> Path | None:
    return folder / text if text else None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
