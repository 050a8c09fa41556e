"""Scoring files of results on KAIST."""

import gzip
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rgbx.errors import DataError
from rgbx.metrics.detection.miss_rate import MissRateConfig, miss_rate, pedestrians

__all__ = ["kaist_miss_rates", "read_kaist_results"]

Prediction = dict[str, np.ndarray]


def read_kaist_results(path: Path | str) -> dict[int, Prediction]:
    """Read a file of rows ``frame, x, y, width, height, score``; frames count from 1.

    Args:
        path: the file, ``.gz`` too; commas or blanks between the numbers.

    Returns:
        frame -> ``boxes`` (n,4) x1, y1, x2, y2 and ``scores`` (n,), for frames with detections.

    Raises:
        DataError: names the file, the line, and what is wrong.
    """
    path = Path(path)
    rows: dict[int, list[list[float]]] = {}
    for line, text in enumerate(_text(path).splitlines(), 1):
        words = text.replace(",", " ").split()
        if not words:
            continue
        values = [_number(word) for word in words]
        if len(values) != 6 or not all(map(math.isfinite, values)):
            raise DataError(
                f"{path} line {line}: 6 finite numbers were expected (frame, x, y, width, height, "
                f"score), got {text[:80]!r}"
            )
        frame, x, y, width, height, score = values
        if frame != int(frame) or frame < 1:
            raise DataError(f"{path} line {line}: frame {frame:g}, but frames count from 1")
        if width < 0 or height < 0:
            raise DataError(f"{path} line {line}: width {width:g} and height {height:g}")
        rows.setdefault(int(frame), []).append([x, y, x + width, y + height, score])
    if not rows:
        raise DataError(f"{path} holds no detection")
    arrays = {frame: np.array(found) for frame, found in rows.items()}
    return {f: {"boxes": a[:, :4], "scores": a[:, 4]} for f, a in arrays.items()}


def kaist_miss_rates(
    results: Mapping[int, Prediction],
    targets: Sequence[Mapping[str, np.ndarray]],
    subsets: Sequence[str],
    config: MissRateConfig = MissRateConfig(),
) -> dict[str, float]:
    """Log-average miss rates of all images and of every subset.

    Args:
        results: frame (from 1) -> ``boxes`` (n,4) and ``scores`` (n,).
        targets: of every frame ``boxes`` (m,4), ``ignore`` and ``occlusion`` (m,).
        subsets: of every frame, such as "day" or "night".
        config: which pedestrians count.

    Returns:
        "all" and each subset -> miss rate in [0, 1].

    Raises:
        DataError: a result is for a frame that the annotations do not have.
    """
    if foreign := [frame for frame in results if frame > len(targets)]:
        raise DataError(
            f"The results have detections in frame {min(foreign)}, but the annotations have "
            f"{len(targets)} frames: these are results on another set."
        )
    nothing = {"boxes": np.zeros((0, 4)), "scores": np.zeros(0)}
    images = [
        pedestrians(results.get(frame, nothing), target, config)
        for frame, target in enumerate(targets, 1)
    ]
    found = {"all": miss_rate(images)}
    for name in dict.fromkeys(subsets):
        part = [image for image, own in zip(images, subsets, strict=True) if own == name]
        found[name] = miss_rate(part)
    return found


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except OSError as error:
        raise DataError(
            f"{path}: the results cannot be read ({error.strerror or error})"
        ) from error
    except (EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the results cannot be read ({error})") from error
