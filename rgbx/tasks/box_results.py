"""Scoring files of detections that any program wrote: COCO's results format, or KAIST's rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rgbx.data.annotations.boxes import Boxes
from rgbx.data.annotations.coco import CocoImage, read_coco, read_json
from rgbx.data.detection.kaist import is_night
from rgbx.errors import DataError
from rgbx.metrics.detection.average_precision import DetectionScores
from rgbx.metrics.detection.kaist import read_kaist_results
from rgbx.metrics.detection.miss_rate import MissRateConfig

__all__ = ["score_results"]

_KAIST = "im_name"  # what images of KAIST's test annotation have in the place of a file name
Prediction = dict[str, Tensor]


def score_results(
    results: Path | str,
    annotations: Path | str,
    max_detections: int = 100,
    miss_rate: MissRateConfig = MissRateConfig(),
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Score a file of detections.

    Args:
        results: ``.json``: COCO's results (image_id, category_id, bbox, score); else KAIST's rows
            ``frame, x, y, width, height, score``, frames from 1 on in the order of the annotations.
            ``.gz`` too.
        annotations: COCO's JSON, or KAIST's test annotation (``im_name``), which also gives day and
            night and the miss rate.
        max_detections: of an image and class that COCO's scores look at.
        miss_rate: which pedestrians count.

    Returns:
        Subset ("all", and of KAIST "day" and "night") -> score -> value, as
        `DetectionScores.compute` gives them; and score -> its protocol.

    Raises:
        DataError: a file is damaged, or the results are of another set; names the file, the entry
            and what is wrong.
    """
    results, annotations = Path(results), Path(annotations)
    content = read_json(annotations)
    images = content.get("images") if isinstance(content, dict) else None
    of_kaist = bool(images) and isinstance(images, list) and _KAIST in images[0]
    truth = read_coco(annotations, _KAIST if of_kaist else "file_name")
    classes = ("person",) if of_kaist else truth.class_names
    if results.name.removesuffix(".gz").endswith(".json"):
        found = _coco_results(results, truth.images, truth.class_names, truth.category_ids)
    else:
        found = _kaist_rows(results, list(truth.images.values()))
    names = ("all", "day", "night") if of_kaist else ("all",)
    rule = miss_rate if of_kaist else None
    metrics = {name: DetectionScores(len(classes), max_detections, rule) for name in names}
    for name, image in truth.images.items():
        target = _target(image.boxes, classes)
        prediction = found.get(image.id, _prediction([]))
        if of_kaist:  # whatever category the results name, all are persons
            prediction["labels"] = torch.zeros_like(prediction["labels"])
        own = ("night" if is_night(name) else "day") if of_kaist else None
        for subset in filter(None, ("all", own)):
            metrics[subset].update(prediction, target)
    scores = {name: metric.compute() for name, metric in metrics.items()}
    return scores, metrics["all"].protocol()


def _target(boxes: Boxes, classes: tuple[str, ...]) -> dict[str, Tensor]:
    """The boxes of one image; those of no class are ignored regions."""
    labels = [classes.index(name) if name in classes else -1 for name in boxes.names]
    ignore = torch.from_numpy(boxes.ignore) | (torch.tensor(labels, dtype=torch.int64) < 0)
    return {
        "boxes": torch.from_numpy(boxes.corners),
        "labels": torch.tensor(labels, dtype=torch.int64).clamp(min=0),
        "ignore": ignore,
        "occlusion": torch.from_numpy(boxes.occlusion),
    }


def _prediction(rows: list[tuple[list[float], float, int]]) -> Prediction:
    return {
        "boxes": torch.tensor([row[0] for row in rows], dtype=torch.float64).reshape(-1, 4),
        "scores": torch.tensor([row[1] for row in rows], dtype=torch.float64),
        "labels": torch.tensor([row[2] for row in rows], dtype=torch.int64),
    }


def _kaist_rows(path: Path, images: list[CocoImage]) -> dict[int, Prediction]:
    found = read_kaist_results(path)
    if foreign := [frame for frame in found if frame > len(images)]:
        raise DataError(
            f"{path} has detections in frame {min(foreign)}, but the annotations have "
            f"{len(images)} images: these are results on another set"
        )
    return {
        images[frame - 1].id: {
            "boxes": torch.from_numpy(rows["boxes"]),
            "scores": torch.from_numpy(rows["scores"]),
            "labels": torch.zeros(len(rows["scores"]), dtype=torch.int64),
        }
        for frame, rows in found.items()
    }


def _coco_results(
    path: Path,
    images: Mapping[str, CocoImage],
    classes: tuple[str, ...],
    category_ids: tuple[int, ...],
) -> dict[int, Prediction]:
    entries = read_json(path)
    if not isinstance(entries, list):
        raise DataError(f"{path} is no list, which a file of COCO results is")
    known = {image.id for image in images.values()}
    rows: dict[int, list[tuple[list[float], float, int]]] = {}
    for i, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise DataError(f"{path}: entry {i} is no object with image_id, bbox and score")
        image, category = entry.get("image_id"), entry.get("category_id")
        if image not in known:
            raise DataError(
                f"{path}: entry {i} is for image_id {image!r}, which the annotations do not have: "
                "these are results on another set"
            )
        if category not in category_ids:
            raise DataError(
                f"{path}: entry {i} has category_id {category!r}, but the annotations have "
                f"{', '.join(f'{i} ({n})' for i, n in zip(category_ids, classes, strict=True))}"
            )
        box, score = entry.get("bbox"), entry.get("score")
        numbers = [*box, score] if isinstance(box, list) else []
        if len(numbers) != 5 or not all(_is_number(value) for value in numbers):
            raise DataError(f"{path}: entry {i} has the bbox {box!r} and the score {score!r}")
        x, y, width, height, sure = (float(value) for value in numbers)
        corners = [x, y, x + width, y + height]
        rows.setdefault(int(image), []).append((corners, sure, category_ids.index(category)))
    return {image: _prediction(own) for image, own in rows.items()}


def _is_number(value: Any) -> bool:
    finite = isinstance(value, int | float) and not isinstance(value, bool)
    return finite and abs(value) < 1e9  # NaN compares false
