"""Average precision of boxes as COCO defines it, through pycocotools; and the miss rate."""

import contextlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from rgbx.metrics.catalogue import family_metrics, metric_info
from rgbx.metrics.detection.miss_rate import MissRateConfig, miss_rate, pedestrians

__all__ = ["DetectionScores"]

_RECALLS = np.linspace(0, 1, 101)
_LEVELS = 256  # thresholds of the curves
_AREAS = ("APs", "APm", "APl")  # below 32^2, to 96^2, above, in pixels
_DETECTION, _TARGET = 6, 7  # numbers that a detection and a target are kept as
_MOST = 1000  # detections of an image that the miss rate looks at
Image = tuple[NDArray[np.float64], NDArray[np.float64]]  # detections (n,6), targets (m,7)


class DetectionScores(Metric):
    """COCO's average precision, and where asked for the miss rate of pedestrians.

    AP is the mean over ten IoU thresholds (.50, .55, ..., .95) and over the classes of the mean
    precision at 101 recalls; ignored regions are COCO's crowds. An image is kept as numbers alone,
    its detections cut to the best of every class, so that any number of images can be scored.
    Source: Lin et al., "Microsoft COCO", ECCV 2014, and pycocotools.

    Args:
        num_classes: K.
        max_detections: of an image and class that count, by score. COCO takes 100; mmdet prints AP
            at 100, and AP50, AP75 and those by size at 1,000.
        pedestrians: which pedestrians count in the miss rate; None leaves it out.
    """

    full_state_update = False
    higher_is_better = True
    detections: list[Tensor]
    detection_counts: list[Tensor]
    targets: list[Tensor]
    target_counts: list[Tensor]

    def __init__(
        self,
        num_classes: int,
        max_detections: int = 100,
        pedestrians: MissRateConfig | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.max_detections = max_detections
        self.pedestrians = pedestrians
        for name in ("detections", "detection_counts", "targets", "target_counts"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        """Count one image.

        Args:
            prediction: ``boxes`` (n,4) x1, y1, x2, y2 in pixels of the image, ``scores`` and
                ``labels`` (n,).
            target: ``boxes`` (m,4), ``labels``, ``ignore`` and ``occlusion`` (m,).
        """
        found = _packed(prediction, ("scores", "labels"))
        kept = self._best(found)
        self.detections.append(found[kept].flatten())
        self.detection_counts.append(found.new_tensor([len(kept)]))
        truth = _packed(target, ("labels", "ignore", "occlusion"))
        self.targets.append(truth.flatten())
        self.target_counts.append(truth.new_tensor([len(truth)]))

    def _best(self, found: Tensor) -> Tensor:
        """Indexes of the detections that any of the scores looks at, in their order."""
        most = max(self.max_detections, _MOST if self.pedestrians is not None else 0)
        order = found[:, 4].argsort(descending=True, stable=True)
        labels = found[order, 5]
        chosen = [
            order[labels == label][: self.max_detections if self.pedestrians is None else most]
            for label in range(self.num_classes)
        ]
        kept: Tensor = torch.cat(chosen).sort().values if chosen else order
        return kept

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """As the base; a process that has seen no image takes part with empty states."""
        for name in self._defaults:
            state = getattr(self, name)
            if isinstance(state, list) and not state:
                state.append(torch.zeros(0, dtype=torch.float64, device=self.device))
        super().sync(*args, **kwargs)

    def compute(self) -> dict[str, Any]:
        """Scores in [0, 1], NaN where there is nothing to find.

        Returns:
            AP, AP50, AP75, APs, APm, APl; AP50_image, the mean over the images with objects of each
            one's own AP50; AP50_class, AP_class and support (boxes that count), arrays (K,); MR,
            if pedestrians are asked for.
        """
        images = self._images()
        evaluation = _evaluate(images, self.num_classes, self.max_detections)
        precision = evaluation.eval["precision"][..., -1]  # (T,R,K,A)
        scores: dict[str, Any] = {
            "AP": _mean(precision[..., 0]),
            "AP50": _mean(precision[0, :, :, 0]),
            "AP75": _mean(precision[5, :, :, 0]),
        }
        scores |= {name: _mean(precision[..., i]) for i, name in enumerate(_AREAS, 1)}
        by_image = _by_image(evaluation)
        scores["AP50_image"] = float(np.nanmean(by_image)) if by_image.size else math.nan
        classes = range(self.num_classes)
        # arrays: torchmetrics would make numbers of tensors of a single class
        scores["AP50_class"] = np.array([_mean(precision[0, :, k, 0]) for k in classes])
        scores["AP_class"] = np.array([_mean(precision[:, :, k, 0]) for k in classes])
        counted = [truth[truth[:, 5] == 0, 4] for _, truth in images]
        labels = np.concatenate([np.zeros(0), *counted]).astype(int)
        scores["support"] = np.bincount(labels, minlength=self.num_classes)
        if self.pedestrians is not None:
            scores["MR"] = self._miss_rate(images)
        return scores

    def curves(self) -> dict[str, Tensor]:
        """Precision and recall at IoU .5 of all detections from a score on, classes together.

        Returns:
            "precision" (1 where nothing is detected) and "recall" (256,), at the thresholds 0,
            1/255, ..., 1.
        """
        with self.sync_context():
            images = self._images()
        evaluation = _evaluate(images, self.num_classes, self.max_detections)
        scores, hits, positives = [np.zeros(0)], [np.zeros(0, bool)], 0
        for entry in _whole_entries(evaluation):
            counted = ~np.asarray(entry["dtIgnore"][0], bool)
            scores.append(np.asarray(entry["dtScores"])[counted])
            hits.append(np.asarray(entry["dtMatches"][0] > 0)[counted])
            positives += int((~np.asarray(entry["gtIgnore"], bool)).sum())
        score, hit = np.concatenate(scores), np.concatenate(hits)
        order = np.argsort(score)
        above = len(score) - np.searchsorted(score[order], np.linspace(0, 1, _LEVELS))
        right = np.concatenate([np.cumsum(hit[order][::-1])[::-1], [0]])[len(score) - above]
        precision = np.where(above > 0, right / np.maximum(above, 1), 1.0)
        recall = right / positives if positives else np.full(_LEVELS, np.nan)
        return {"precision": torch.from_numpy(precision), "recall": torch.from_numpy(recall)}

    def protocol(self) -> dict[str, str]:
        """Metric -> sentence that says what was averaged over what."""
        names = [n for n in family_metrics("boxes") if n != "MR" or self.pedestrians is not None]
        rule = "" if self.pedestrians is None else self.pedestrians.sentence()
        said = {"most": self.max_detections, "pedestrians": rule}
        return {name: metric_info(name).protocol.format(**said) for name in names}

    def _miss_rate(self, images: Sequence[Image]) -> float:
        assert self.pedestrians is not None
        matched = []
        for found, truth in images:
            prediction = {"boxes": found[:, :4], "scores": found[:, 4]}
            target = {"boxes": truth[:, :4], "ignore": truth[:, 5] > 0, "occlusion": truth[:, 6]}
            matched.append(pedestrians(prediction, target, self.pedestrians))
        return miss_rate(matched)

    def _images(self) -> list[Image]:
        """The images, one after the other, whichever process they come from."""
        rows = [
            _rows(getattr(self, name), getattr(self, counts), width)
            for name, counts, width in (
                ("detections", "detection_counts", _DETECTION),
                ("targets", "target_counts", _TARGET),
            )
        ]
        return list(zip(*rows, strict=True))


def _packed(values: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """Boxes and some numbers of each side by side, (n, 4 + names), float64."""
    boxes = values["boxes"].reshape(-1, 4).double()
    zeros = torch.zeros(len(boxes), device=boxes.device)
    columns = [values.get(name, zeros).to(boxes) for name in names]
    return torch.cat([boxes, *(column.reshape(-1, 1) for column in columns)], 1)


def _rows(
    parts: list[Tensor] | Tensor, counts: list[Tensor] | Tensor, width: int
) -> list[NDArray[np.float64]]:
    """Flat numbers of all images as one array for each; states are lists, or joined already."""
    flat, lengths = (
        torch.cat([p.reshape(-1) for p in state]) if isinstance(state, list) and state else state
        for state in (parts, counts)
    )
    if isinstance(flat, list) or isinstance(lengths, list):
        return []
    array = flat.cpu().double().numpy().reshape(-1, width)
    ends = np.cumsum(lengths.cpu().numpy().astype(int))[:-1]
    return np.split(array, ends)


def _evaluate(images: Sequence[Image], num_classes: int, most: int) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, (detections, targets) in enumerate(images):
        for *corners, label, ignored, _ in targets.tolist():
            truth.append(_entry(len(truth), image, label, corners) | {"iscrowd": int(ignored)})
        for *corners, score, label in detections.tolist():
            found.append(_entry(len(found), image, label, corners) | {"score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        sets = []
        for entries in (truth, found):
            coco = COCO()
            coco.dataset = {
                "images": [{"id": i} for i in range(len(images))],
                "categories": [{"id": k} for k in range(num_classes)],
                "annotations": entries,
            }
            coco.createIndex()
            sets.append(coco)
        evaluation = COCOeval(*sets, "bbox")
        evaluation.params.maxDets = [most]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def _entry(index: int, image: int, label: float, corners: Sequence[float]) -> dict[str, Any]:
    """One annotation; ids begin at 1, as pycocotools takes 0 for "no match"."""
    x1, y1, x2, y2 = corners
    width, height = x2 - x1, y2 - y1
    box = [x1, y1, width, height]
    return {
        "id": index + 1,
        "image_id": image,
        "category_id": int(label),
        "bbox": box,
        "area": width * height,
        "iscrowd": 0,
    }


def _mean(precision: NDArray[np.float64]) -> float:
    """Mean of what is known; NaN where nothing is (pycocotools: -1)."""
    known = precision[precision > -1]
    return float(known.mean()) if known.size else math.nan


def _whole_entries(evaluation: Any) -> Iterator[Mapping[str, Any]]:
    """What was matched of every image and class, boxes of any size."""
    for entry in evaluation.evalImgs:
        if entry is not None and entry["aRng"] == evaluation.params.areaRng[0]:
            yield entry


def _by_image(evaluation: Any) -> NDArray[np.float64]:
    """AP50 of every image with objects, the mean over the classes that it has."""
    found: dict[int, list[float]] = {}
    for entry in _whole_entries(evaluation):
        positives = int((~np.asarray(entry["gtIgnore"], bool)).sum())
        if not positives:
            continue
        counted = ~np.asarray(entry["dtIgnore"][0], bool)
        hits = np.asarray(entry["dtMatches"][0] > 0)[counted]
        found.setdefault(entry["image_id"], []).append(_area(hits, positives))
    return np.array([np.mean(values) for values in found.values()])


def _area(hits: NDArray[np.bool_], positives: int) -> float:
    """Mean precision at 101 recalls of detections in falling order of their scores."""
    if not hits.any():
        return 0.0
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(right / positives, _RECALLS, side="left")
    reached = precision[np.minimum(places, len(hits) - 1)]
    return float(np.where(places < len(hits), reached, 0).mean())
