"""The log-average miss rate of pedestrian detection, as KAIST's papers print it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rgbx.errors import RGBXError

__all__ = ["MissRateConfig", "Pedestrians", "count_pedestrians", "miss_rate", "pedestrians"]

_IOU = 0.5
_MOST = 1000  # detections of an image that count
#: of the published evaluations, which round: 0.0316 lies below 10^-1.5, and a frame hangs on it
_FPPI = (0.01, 0.0178, 0.0316, 0.0562, 0.1, 0.1778, 0.3162, 0.5623, 1.0)
_MARGIN = 1.25  # UniRGB-IR's own evaluator: heights of detections that are looked at
Array = NDArray[np.float64]


@dataclass(frozen=True)
class MissRateConfig:
    """Which pedestrians count.

    Args:
        protocol: ``kaist``: the evaluation of the KAIST papers (Hwang et al., CVPR 2015; code of
            MLPD): heights, occlusion and border. ``unirgb_ir``: the evaluator of UniRGB-IR's code:
            heights alone, and detections far from them are removed; its numbers are no KAIST
            numbers of other papers.
        min_height: pixels; lower boxes are ignored.
        max_height: pixels; higher boxes are ignored.
        occlusions: levels that count: 0 none, 1 partly, 2 heavily.
        border: x1, y1, x2, y2 in pixels; boxes that reach beyond are ignored.

    Raises:
        RGBXError: no such protocol, or heights that no box has.
    """

    protocol: Literal["kaist", "unirgb_ir"] = "kaist"
    min_height: float = 55.0
    max_height: float = float("inf")
    occlusions: tuple[int, ...] = (0, 1)
    border: tuple[float, float, float, float] = (5.0, 5.0, 635.0, 507.0)

    def __post_init__(self) -> None:
        if self.protocol not in ("kaist", "unirgb_ir"):
            raise RGBXError(f"The miss rate has no protocol {self.protocol!r}: kaist or unirgb_ir.")
        if not 0 <= self.min_height < self.max_height:
            raise RGBXError(
                f"No box is at least {self.min_height:g} and below {self.max_height:g} pixels high."
            )

    def sentence(self) -> str:
        """The protocol in words."""
        heights = f"heights from {self.min_height:g}"
        if np.isfinite(self.max_height):
            heights += f" to {self.max_height:g}"
        base = (
            "log-average miss rate at 0.01 to 1 false positives per image, IoU .5, at most "
            f"{_MOST} detections per image, {heights} pixels"
        )
        if self.protocol == "unirgb_ir":
            return f"{base}, occlusion and border not looked at (UniRGB-IR's evaluator)"
        hidden = ", ".join(map(str, self.occlusions))
        return f"{base}, occlusion {hidden}, inside of {self.border} (KAIST reasonable)"


@dataclass(frozen=True)
class Pedestrians:
    """One image, matched.

    Attributes:
        scores: (n,) of the detections that count, falling.
        hits: (n,) bool, those that found a pedestrian.
        positives: number of pedestrians that count.
    """

    scores: Array
    hits: NDArray[np.bool_]
    positives: int


def count_pedestrians(target: Mapping[str, Any], config: MissRateConfig) -> NDArray[np.bool_]:
    """(m,) which annotated boxes count; all others are ignored."""
    boxes = np.asarray(target["boxes"], np.float64).reshape(-1, 4)
    heights = boxes[:, 3] - boxes[:, 1]
    counted = ~np.asarray(target["ignore"], bool)
    counted &= (heights >= config.min_height) & (heights <= config.max_height)
    if config.protocol == "kaist":
        x1, y1, x2, y2 = config.border
        counted &= np.isin(np.asarray(target["occlusion"]), config.occlusions)
        counted &= (boxes[:, 0] >= x1) & (boxes[:, 1] >= y1)
        counted &= (boxes[:, 2] <= x2) & (boxes[:, 3] <= y2)
    return np.asarray(counted)


def pedestrians(
    prediction: Mapping[str, Any], target: Mapping[str, Any], config: MissRateConfig
) -> Pedestrians:
    """Match the detections of one image, the surest first.

    A detection takes the pedestrian that it overlaps most (IoU of .5 or more, each taken once);
    without one, an ignored box of which it covers half of itself or more, any number of times, and
    then it does not count.

    Args:
        prediction: ``boxes`` (n,4) x1, y1, x2, y2 and ``scores`` (n,).
        target: ``boxes`` (m,4), ``ignore`` (m,) bool, ``occlusion`` (m,).
        config: which boxes count.
    """
    scores = np.asarray(prediction["scores"], np.float64)
    boxes = np.asarray(prediction["boxes"], np.float64).reshape(-1, 4)
    order = np.argsort(-scores, kind="mergesort")[:_MOST]
    scores, boxes = scores[order], boxes[order]
    if config.protocol == "unirgb_ir":
        heights = boxes[:, 3] - boxes[:, 1]
        near = (heights >= config.min_height / _MARGIN) & (heights < config.max_height * _MARGIN)
        scores, boxes = scores[near], boxes[near]
    counted = count_pedestrians(target, config)
    truth = np.asarray(target["boxes"], np.float64).reshape(-1, 4)
    overlap = _overlaps(boxes, truth[counted], of_first=False)
    covered = _overlaps(boxes, truth[~counted], of_first=True)
    kept, hits = np.ones(len(scores), bool), np.zeros(len(scores), bool)
    free = np.ones(overlap.shape[1], bool)
    for i in range(len(scores)):
        candidates = np.where(free, overlap[i], -1.0)
        # of equals the last, as COCO's evaluation takes it
        best = len(candidates) - 1 - int(candidates[::-1].argmax()) if len(candidates) else -1
        if best >= 0 and candidates[best] >= _IOU:
            free[best] = False
            hits[i] = True
        elif covered.shape[1] and covered[i].max() >= _IOU:
            kept[i] = False
    return Pedestrians(scores[kept], hits[kept], int(counted.sum()))


def miss_rate(images: Sequence[Pedestrians]) -> float:
    """The log-average miss rate of a set, in [0, 1].

    The geometric mean of the miss rates at nine numbers of false positives per image (FPPI), 0.01
    to 1, each taken at the last threshold that keeps within it. All images count in FPPI, those
    without detections too. Where even the surest detection is a false positive too many, the
    published evaluations read the recall at the lowest threshold; so does this.

    Returns:
        NaN where no pedestrian counts.
    """
    positives = sum(image.positives for image in images)
    if not positives:
        return float("nan")
    scores = np.concatenate([image.scores for image in images])
    if not len(scores):
        return 1.0
    order = np.argsort(-scores, kind="mergesort")
    hits = np.concatenate([image.hits for image in images])[order]
    recall = np.cumsum(hits) / positives
    fppi = np.cumsum(~hits) / len(images)
    places = np.searchsorted(fppi, _FPPI, side="right") - 1  # -1 reads the last
    with np.errstate(divide="ignore"):  # where nothing is missed, the mean is 0
        return float(np.exp(np.log(1 - recall[places]).mean()))


def _overlaps(boxes: Array, others: Array, of_first: bool) -> Array:
    """(n,m) intersection over union, or over the area of the first."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = np.maximum(high - low, 0).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)[:, None]
    if not of_first:
        area = area + (others[:, 2:] - others[:, :2]).prod(1)[None] - common
    return np.asarray(common / np.maximum(area, 1e-12))
