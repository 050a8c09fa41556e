"""One metric per split and subset, so that one pass gives day, night and all."""

import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torchmetrics import Metric

__all__ = ["ALL", "Evaluator"]

ALL = "all"


class Evaluator(nn.Module):
    """Copies of one metric for every (split, subset), and ``"all"`` for each split.

    The copies move with the module to its device, store nothing in checkpoints, and are summed
    over processes when they are computed. Every process must compute the same splits, also those
    in which it has seen no image, because computing is a collective operation.

    Args:
        metric: Prototype, ``update(pred, target)``; it is copied and left as it is.
        splits: Names of the splits, e.g. ("val", "test").
        subsets: Names of the subsets within every split, e.g. ("day", "night").

    Raises:
        ValueError: If a name occurs twice, or a subset is called "all" or "".

    Example:
        >>> import torch
        >>> from rgbx.metrics import SegmentationScores
        >>> evaluator = Evaluator(SegmentationScores(2), splits=("test",), subsets=("day", "night"))
        >>> mask = torch.tensor([[0, 1]])
        >>> evaluator.update("test", "day", mask, mask)
        >>> evaluator.compute("test")["day"]["miou"]
        1.0
    """

    def __init__(self, metric: Metric, splits: Sequence[str], subsets: Sequence[str] = ()) -> None:
        super().__init__()
        for kind, names in (("split", splits), ("subset", (ALL, "", *subsets))):
            if len(set(names)) != len(names):
                raise ValueError(f"Every {kind} needs its own name, got {tuple(names)}.")
        self.splits = tuple(splits)
        self.subsets = tuple(subsets)
        keys = [(split, subset) for split in self.splits for subset in (ALL, *self.subsets)]
        # A list with an index, as nn.ModuleDict refuses keys such as "train" or "a.b".
        self._index = {key: position for position, key in enumerate(keys)}
        self._metrics = nn.ModuleList(metric.clone() for _ in keys)
        self._watched: list[dict[str, Any]] | None = None

    def metric(self, split: str, subset: str = ALL) -> Metric:
        """The metric of one split and subset.

        Raises:
            ValueError: If there is no such split or subset.
        """
        try:
            metric = self._metrics[self._index[split, subset]]
        except KeyError as error:
            raise ValueError(
                f"No scores are kept for split {split!r}, subset {subset!r}; the splits are "
                f"{self.splits}, the subsets {(ALL, *self.subsets)}."
            ) from error
        assert isinstance(metric, Metric)
        return metric

    def update(self, split: str, subset: str, pred: Any, target: Tensor) -> None:
        """Count images of one subset, in ``all`` and in the subset.

        Args:
            split: One of the splits.
            subset: One of the subsets, or "" for images that belong to none.
            pred: Prediction in the form the metric takes.
            target: Target in the form the metric takes.

        Raises:
            ValueError: If the split or the subset is unknown.
        """
        *parts, whole = [self.metric(split, name) for name in ((subset, ALL) if subset else (ALL,))]
        for metric in parts:
            metric.update(pred, target)
        if self._watched is None:
            whole.update(pred, target)
        else:  # forward counts the update and returns its own scores
            self._watched.append(_named(whole, whole(pred, target)))

    def watch(self) -> None:
        """From now on keep the scores of every update by itself, until :meth:`watched`."""
        self._watched = []

    def watched(self) -> list[dict[str, Any]]:
        """The scores of every update since :meth:`watch`, as if it were the whole set.

        Returns:
            Score name -> value, in the order of the updates.
        """
        found, self._watched = self._watched or [], None
        return found

    def compute(self, split: str) -> dict[str, dict[str, Any]]:
        """Subset -> score name -> value, for one split; a subset without images gives NaN.

        Raises:
            ValueError: If the split is unknown.
        """
        return {subset: _computed(self.metric(split, subset)) for subset in (ALL, *self.subsets)}

    def results(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Split -> subset -> score name -> value, for all splits."""
        return {split: self.compute(split) for split in self.splits}

    def overall(self) -> Metric:
        """A metric of the images of all splits together, as if they were one set."""
        whole = self.metric(self.splits[0]).clone()
        whole.reset()
        for split in self.splits:
            whole.merge_state(self.metric(split))
        return whole

    def compute_overall(self) -> dict[str, Any]:
        """Score name -> value of :meth:`overall`."""
        return _computed(self.overall())

    def reset(self, split: str | None = None) -> None:
        """Forget what was counted in one split, or in all of them.

        Raises:
            ValueError: If the split is unknown.
        """
        for name in self.splits if split is None else (split,):
            for subset in (ALL, *self.subsets):
                self.metric(name, subset).reset()


def _computed(metric: Metric) -> dict[str, Any]:
    with warnings.catch_warnings():
        # torchmetrics warns of metrics that saw nothing; here that is an ordinary NaN.
        warnings.filterwarnings("ignore", message=".*was called before the ``update``.*")
        return _named(metric, metric.compute())


def _named(metric: Metric, scores: Any) -> dict[str, Any]:
    """Scores by name; a single one has the name of its metric's class."""
    return scores if isinstance(scores, dict) else {type(metric).__name__: scores}
