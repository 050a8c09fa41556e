"""Scores of saliency maps as the papers print them, equal to PySODMetrics 1.6."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torchmetrics import Metric

from rgbx.metrics.catalogue import family_metrics, metric_info
from rgbx.metrics.maps import check_maps, fixed_sum, from_fixed, one_thread
from rgbx.metrics.saliency_maps import LEVELS, Tally, tally
from rgbx.metrics.saliency_measures import (
    adaptive_hits,
    alignment,
    curve_hits,
    f_measure,
    fixed_hits,
    mean_absolute_error,
    overlap,
    precision_recall,
    s_measure,
)
from rgbx.metrics.saliency_weighted import weighted_f

__all__ = ["SaliencyScores"]

_T = TypeVar("_T")

#: measure -> its scores, in the order of the results
_SCORES = {
    "S": ("S",),
    "E": ("adpE", "meanE", "maxE"),
    "F": ("adpF", "meanF", "maxF"),
    "wF": ("wF",),
    "MAE": ("MAE",),
    "overlap": ("IoU", "Dice"),
}
_SUMS = ("S", "adpE", "adpF", "wF", "MAE", "IoU", "Dice")
_CURVES = ("precision", "recall", "F", "E")


class SaliencyScores(Metric):
    """S, E, F, weighted F, MAE and overlap of one set of images, from one pass over them.

    Every score is the mean over the images. ``maxE`` and ``maxF`` are the maxima over 256
    thresholds of the curve averaged over the images (not means of per-image maxima), ``meanE`` and
    ``meanF`` the means of that curve, ``adpE`` and ``adpF`` take one threshold per image,
    min(1, 2 * mean of the map). ``protocol()`` describes each.

    With both switches on, as the papers do, a map is stretched to its own minimum and maximum,
    rounded to 8 bits, and stretched again as read back (``grey_levels`` says how, and which maps
    are not stretched before rounding): the numbers are those of PySODMetrics on
    ``grey_levels(map)``. An image without object scores 0 in F, weighted F and overlap.

    Where the object lies in the last row or column PySODMetrics returns S = NaN; here the empty
    quadrant counts nothing. An image of one pixel has E of 0 or 1 instead of 0 or 2^52.

    Args:
        measures: What to compute, some of "S", "E", "F", "wF", "MAE", "overlap".
        quantise: Round maps to 8 bits as saving them would. Off: scored in float64 as they are.
        stretch: Stretch every map that is not constant to [0, 1]. Off: level / 255, as PySODMetrics
            with ``normalize=False``.
        wf_beta2: beta^2 of the weighted F. The score is "wF" for 1, as the papers print it, and
            "wF_0.3" for 0.3 (SAM-Adapter's released code): no two share a column.

    Raises:
        ValueError: If a measure is unknown or none is asked for, or ``wf_beta2`` is not above 0.

    Example:
        >>> scores = SaliencyScores(("F", "MAE"))
        >>> scores.update(torch.tensor([[0.0, 0.6], [0.2, 1.0]]), torch.tensor([[0, 1], [0, 1]]))
        >>> round(scores.compute()["MAE"], 6), scores.compute()["maxF"]
        (0.15, 1.0)
    """

    is_differentiable = False
    full_state_update = False

    score_sums: Tensor
    curve_sums: Tensor
    images: Tensor

    def __init__(
        self,
        measures: Sequence[str] = ("S", "E", "F", "wF", "MAE", "overlap"),
        quantise: bool = True,
        stretch: bool = True,
        wf_beta2: float = 1.0,
    ) -> None:
        super().__init__()
        unknown = [name for name in measures if name not in _SCORES]
        if unknown or not measures or isinstance(measures, str):
            raise ValueError(f"measures={measures!r}: choose some of {tuple(_SCORES)}.")
        if not 0 < wf_beta2 < math.inf:
            raise ValueError(f"wf_beta2={wf_beta2}: give a finite number above 0.")
        self.measures = tuple(name for name in _SCORES if name in measures)
        self.quantise = quantise
        self.stretch = stretch
        self.wf_beta2 = wf_beta2
        zeros = {"score_sums": (len(_SUMS),), "curve_sums": (len(_CURVES), LEVELS), "images": ()}
        for name, shape in zeros.items():
            default = torch.zeros(shape, dtype=torch.int64)
            self.add_state(name, default=default, dist_reduce_fx="sum")

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Score some images, at their own size.

        Args:
            pred: Saliency maps, (B, H, W) or (H, W), floating point in [0, 1].
            target: Masks of the same shape, integer or bool; everything above 0 is the object.

        Raises:
            ValueError: If the shapes differ or are no images, the types are wrong, or a map holds
                NaN or values outside [0, 1].
        """
        with one_thread():
            maps, objects = check_maps(pred, target)
            if objects.shape[0]:
                self._add(tally(maps, objects, self.quantise, self.stretch), objects)

    def _add(self, pixels: Tally, objects: Tensor) -> None:
        """Add the scores of every image to the sums."""
        if "E" in self.measures or "F" in self.measures:
            self._add_curves(pixels)
        if "S" in self.measures:
            self._add_score("S", s_measure(pixels))
        if "wF" in self.measures:
            beta2 = self.wf_beta2
            values = [weighted_f(pixels.values(i), mask, beta2) for i, mask in enumerate(objects)]
            self._add_score("wF", torch.stack(values))
        if "MAE" in self.measures:
            self._add_score("MAE", mean_absolute_error(pixels))
        if "overlap" in self.measures:
            iou, dice = overlap(fixed_hits(pixels))
            self._add_score("IoU", iou[:, 0])
            self._add_score("Dice", dice[:, 0])
        self.images += objects.shape[0]

    def _add_curves(self, pixels: Tally) -> None:
        """E, F, precision and recall at 256 thresholds and at the adaptive one."""
        hits = curve_hits(pixels) + adaptive_hits(pixels)
        precision, recall = precision_recall(hits)
        curves = {"precision": precision, "recall": recall, "F": f_measure(hits)}
        for name, curve in (curves | {"E": alignment(hits)}).items():
            self.curve_sums[_CURVES.index(name)] += self._fixed(curve[:, :LEVELS])
            if name in ("E", "F"):
                self._add_score(f"adp{name}", curve[:, LEVELS])

    def _add_score(self, name: str, values: Tensor) -> None:
        self.score_sums[_SUMS.index(name)] += self._fixed(values)

    def _fixed(self, values: Tensor) -> Tensor:
        """Sum over the images as a whole multiple of 2^-40, on the device of the states."""
        return fixed_sum(values).to(self.images.device)

    def compute(self) -> dict[str, float]:
        """The scores of the images seen since the last reset (by all processes).

        Returns:
            Score -> float in [0, 1] (E up to pixels / (pixels - 1)), those of the chosen measures;
            NaN where no image was seen.
        """
        images = int(self.images)
        sums = (from_fixed(self.score_sums) / images).tolist()
        scores = dict(zip(_SUMS, sums, strict=True))
        means = self._mean_curves()
        for name in ("E", "F"):
            scores[f"mean{name}"] = float(means[name].mean())
            scores[f"max{name}"] = float(means[name].max())
        return self._chosen(scores)

    def curves(self) -> dict[str, Tensor]:
        """Curves by threshold, averaged over the images seen (by all processes).

        Returns:
            "precision", "recall" and "F" (if "F" was asked for) and "E" (if "E" was): (256,)
            float64 on the CPU, entry t for floor(255 * map) >= t; NaN where no image was seen.
        """
        # As Metric.compute does; every process has to take part.
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn,
            should_sync=self._to_sync,
            should_unsync=self._should_unsync,
        ):
            means = self._mean_curves()
        kept = {"precision": "F", "recall": "F", "F": "F", "E": "E"}
        return {name: means[name] for name, measure in kept.items() if measure in self.measures}

    def _mean_curves(self) -> dict[str, Tensor]:
        """All four curves from threshold 0 to 255; NaN without images."""
        means = from_fixed(self.curve_sums) / int(self.images)
        return dict(zip(_CURVES, means, strict=True))

    def protocol(self) -> dict[str, str]:
        """One sentence per score, for the foot of a table: what exactly was averaged over what."""
        rounding = "rounded to 8 bits" if self.quantise else "not rounded to 8 bits"
        order = {
            (True, True): "map stretched to [0, 1], rounded to 8 bits, stretched again as read",
            (False, True): f"map stretched to [0, 1], {rounding}",
        }.get((self.quantise, self.stretch), f"map {rounding}, not stretched")
        beta = "beta 1" if self.wf_beta2 == 1 else f"beta^2 {self.wf_beta2:g}"
        texts = {
            name: metric_info(name).protocol.format(order=order, beta=beta)
            for name in family_metrics("saliency")
        }
        return self._chosen(texts)

    def _chosen(self, by_score: Mapping[str, _T]) -> dict[str, _T]:
        """What belongs to the scores of the chosen measures, in order and under their names."""
        names = [name for measure in self.measures for name in _SCORES[measure]]
        beta = "" if self.wf_beta2 == 1 else f"_{self.wf_beta2:g}"
        return {name + beta * (name == "wF"): by_score[name] for name in names}
