"""Dice and IoU of polyp maps: at one threshold, without any, and over all 256."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from rgbx.metrics.catalogue import metric_info
from rgbx.metrics.maps import check_maps, fixed_sum, from_fixed, one_thread
from rgbx.metrics.saliency_maps import LEVELS, plain_levels, tally
from rgbx.metrics.saliency_measures import curve_hits, overlap

__all__ = ["OverlapScores"]

#: measure -> its scores, in the order of the results
_SCORES = {
    "hard": ("mDice", "mIoU"),
    "soft": ("mDice_soft", "mIoU_soft"),
    "swept": ("meanDice", "maxDice", "meanIoU", "maxIoU"),
}
HARD = 0.5  # the threshold of "hard"
_SUMS = (*_SCORES["hard"], *_SCORES["soft"])
_CURVES = ("Dice", "IoU")


class OverlapScores(Metric):
    """Dice and IoU of one set of images, in all the ways that the polyp literature prints them.

    Every score is a mean over the images of 2 I / (P + G) or I / (P + G - I); a score of 0 / 0 (no
    polyp, none found) is 0, as in PySODMetrics. ``compute()`` returns, for the measures

    - "hard": ``mDice``, ``mIoU``: the map at > 0.5, as it is;
    - "soft": ``mDice_soft``, ``mIoU_soft``: no threshold, I is the sum of map * mask and P that of
      the map, rounded to 8 bits as it is written;
    - "swept": ``meanDice``, ``maxDice``, ``meanIoU``, ``maxIoU``: mean and maximum over 256
      thresholds of the curve averaged over the images. As PraNet's evaluation, on the map
      stretched to its own minimum and maximum and rounded to 8 bits.

    Args:
        measures: What to compute, some of "hard", "soft", "swept".

    Raises:
        ValueError: If a measure is unknown or none is asked for.

    Example:
        >>> scores = OverlapScores(("hard", "soft"))
        >>> scores.update(torch.tensor([[0.25, 0.75, 1.0]]), torch.tensor([[0, 0, 1]]))
        >>> {name: round(value, 3) for name, value in scores.compute().items()}
        {'mDice': 0.667, 'mIoU': 0.5, 'mDice_soft': 0.667, 'mIoU_soft': 0.5}
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    score_sums: Tensor
    curve_sums: Tensor
    images: Tensor

    def __init__(self, measures: Sequence[str] = ("hard", "soft", "swept")) -> None:
        super().__init__()
        unknown = [name for name in measures if name not in _SCORES]
        if unknown or not measures or isinstance(measures, str):
            raise ValueError(f"measures={measures!r}: choose some of {tuple(_SCORES)}.")
        self.measures = tuple(name for name in _SCORES if name in measures)
        zeros = {"score_sums": (len(_SUMS),), "curve_sums": (len(_CURVES), LEVELS), "images": ()}
        for name, shape in zeros.items():
            default = torch.zeros(shape, dtype=torch.int64)
            self.add_state(name, default=default, dist_reduce_fx="sum")

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Score some images, at their own size.

        Args:
            pred: Maps, (B, H, W) or (H, W), floating point in [0, 1].
            target: Masks of the same shape, integer or bool; everything above 0 is the object.

        Raises:
            ValueError: As :func:`rgbx.metrics.maps.check_maps`.
        """
        with one_thread():
            maps, objects = check_maps(pred, target)
            if not len(maps):
                return
            if "hard" in self.measures:
                self._add_scores("hard", (maps > HARD).double(), objects)
            if "soft" in self.measures:
                self._add_scores("soft", plain_levels(maps, (HARD,)).double() / 255, objects)
            if "swept" in self.measures:
                curves = reversed(overlap(curve_hits(tally(maps, objects))))
                for index, curve in enumerate(curves):
                    self.curve_sums[index] += fixed_sum(curve).to(self.images.device)
        self.images += len(maps)

    def _add_scores(self, measure: str, maps: Tensor, objects: Tensor) -> None:
        """Dice and IoU of (B, H, W) float64 maps, whose sums take the place of pixel counts."""
        # One by one: the rounding of a sum must not depend on what else is in the batch.
        shared = torch.stack([map_[mask].sum() for map_, mask in zip(maps, objects, strict=True)])
        both = torch.stack([map_.sum() for map_ in maps]) + objects.flatten(1).sum(dim=1)
        shared, both = shared.cpu(), both.cpu()
        values = (_quotient(2 * shared, both), _quotient(shared, both - shared))
        for name, value in zip(_SCORES[measure], values, strict=True):
            self.score_sums[_SUMS.index(name)] += fixed_sum(value).to(self.images.device)

    def compute(self) -> dict[str, float]:
        """The scores of the images seen since the last reset (by all processes).

        Returns:
            Score -> float in [0, 1], those of the chosen measures; NaN where no image was seen.
        """
        images = int(self.images)
        scores = dict(zip(_SUMS, (from_fixed(self.score_sums) / images).tolist(), strict=True))
        for name, curve in self._mean_curves().items():
            scores[f"mean{name}"], scores[f"max{name}"] = float(curve.mean()), float(curve.max())
        return {name: scores[name] for measure in self.measures for name in _SCORES[measure]}

    def curves(self) -> dict[str, Tensor]:
        """Curves by threshold, averaged over the images seen (by all processes).

        Returns:
            "Dice" and "IoU" if "swept" was asked for: (256,) float64 on the CPU, entry t for
            floor(255 * map) >= t; NaN where no image was seen.
        """
        if "swept" not in self.measures:
            return {}
        # As Metric.compute does; every process has to take part.
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn,
            should_sync=self._to_sync,
            should_unsync=self._should_unsync,
        ):
            return self._mean_curves()

    def _mean_curves(self) -> dict[str, Tensor]:
        means = from_fixed(self.curve_sums) / int(self.images)
        return dict(zip(_CURVES, means, strict=True))

    def protocol(self) -> dict[str, str]:
        """One sentence per score, for the foot of a table."""
        names = (name for measure in self.measures for name in _SCORES[measure])
        return {name: metric_info(name).protocol for name in names}


def _quotient(part: Tensor, whole: Tensor) -> Tensor:
    """Quotient of float64 sums; 0 where the sum is 0."""
    return torch.where(whole > 0, part / torch.where(whole > 0, whole, 1.0), 0.0)
