"""Scores of semantic segmentation, each under the name of its protocol."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torchmetrics import Metric

from rgbx.metrics.catalogue import family_metrics, metric_info

__all__ = ["Absent", "SegmentationScores"]

Absent: TypeAlias = Literal["nan", "zero"]

# Per-image scores are summed as whole multiples of 2^-40: integer sums are exact, so neither the
# order of the images nor the number of processes changes a single bit of the result. It also keeps
# float64 off the device, which some accelerators lack.
_FIXED_POINT = 2**40


class SegmentationScores(Metric):
    """The mean-IoU family of one set of images, from one pass over them.

    The literature prints several numbers under the name "mIoU" that differ by many points on the
    same predictions. All rates are in [0, 1]; "valid" pixels are those whose target is not
    ``ignore_index``; TP, FP, FN of a class are counted over valid pixels only.

    ``compute()`` returns floats

    - ``miou``: one confusion matrix over the whole set, IoU = TP / (TP + FP + FN) per class, mean
      over the classes, id 0 included. A class that occurs neither in a target nor in a prediction
      of the set (0 / 0) is left out of the mean ("nan") or counts 0 ("zero"), see ``absent``.
    - ``macc``: mean over the classes of TP / (TP + FN), from the same matrix. A class without a
      target pixel is 0 / 0 here even if it was predicted.
    - ``acc``: share of valid pixels that are right.
    - ``miou_fg``: as ``miou``, mean over ids >= 1; pixels of target 0 still count as FP.
    - ``miou_drop0``: row and column 0 of the matrix are deleted first, so pixels whose target or
      prediction is 0 count nowhere (original MFNet code, LASNet).
    - ``miou_image``: per image the mean IoU over the classes that occur in that image's *target*
      (a class that is only predicted lowers nothing but the IoU of those it displaces), then the
      mean over the images. Images without valid pixels are left out. Not affected by ``absent``.

    and per-class CPU tensors of shape (K,): ``iou`` and ``accuracy`` (float64, NaN where 0 / 0,
    whatever ``absent`` says) and ``support`` (int64, valid target pixels).
    A mean over nothing is NaN.

    Args:
        num_classes: K, number of class ids, >= 1.
        ignore_index: Target id that is left out; must not be one of the K ids.
        absent: What a 0 / 0 class does to the means.
        unscored: Ids that no target holds, because the data ignore them ("void"): they are left out
            of all means. Predicting one is an error of the class that it displaces.

    Raises:
        ValueError: If ``num_classes`` < 1, or ``ignore_index`` is one of the ids.

    Example:
        >>> scores = SegmentationScores(num_classes=2)
        >>> scores.update(torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 0], [1, 255]]))
        >>> scores.compute()["miou"]
        0.5
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    confusion: Tensor
    image_iou: Tensor
    images: Tensor

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        absent: Absent = "nan",
        unscored: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if num_classes < 1 or 0 <= ignore_index < num_classes:
            raise ValueError(
                f"num_classes={num_classes}, ignore_index={ignore_index}: at least one class is "
                "needed, and the ignored id must lie outside 0..num_classes-1."
            )
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.absent = absent
        self.unscored = tuple(unscored)
        matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.add_state("confusion", default=matrix, dist_reduce_fx="sum")
        self.add_state("image_iou", default=torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("images", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Count the pixels of some images.

        Args:
            pred: Predicted ids 0..K-1, (B, H, W) or (H, W), integer or bool.
            target: Target ids 0..K-1 or ``ignore_index``, same shape, integer or bool.

        Raises:
            ValueError: If the shapes differ or are no images, the types are not integer, or an
                id is outside the classes.
        """
        matrices = self._matrices(pred, target)
        self.confusion += matrices.sum(dim=0)
        per_image = matrices.cpu().double()
        iou, _ = _iou(per_image)
        present = per_image.sum(dim=2) > 0
        scored = present.any(dim=1)
        mean = torch.where(present, iou, 0.0).sum(dim=1)[scored] / present.sum(dim=1)[scored]
        self.image_iou += int((mean * _FIXED_POINT).round().long().sum())
        self.images += int(scored.sum())

    def _matrices(self, pred: Tensor, target: Tensor) -> Tensor:
        """One (K, K) int64 matrix per image, rows = target, columns = prediction: (B, K, K)."""
        self._check(pred, target)
        k = self.num_classes
        # int64 before the arithmetic: K * target + pred overflows uint8 for K > 15.
        target = target.reshape(-1, target.shape[-2] * target.shape[-1]).long()
        pred = pred.reshape(target.shape).long()
        image = torch.arange(target.shape[0], device=target.device).unsqueeze(1)
        codes = (image * k + target) * k + pred
        valid = target != self.ignore_index
        return torch.bincount(codes[valid], minlength=image.numel() * k * k).reshape(-1, k, k)

    def _check(self, pred: Tensor, target: Tensor) -> None:
        if pred.shape != target.shape or pred.ndim not in (2, 3):
            raise ValueError(
                "Prediction and target must both be (H, W) or (B, H, W) class ids, got shapes "
                f"{tuple(pred.shape)} and {tuple(target.shape)}."
            )
        if pred.is_floating_point() or target.is_floating_point():
            raise ValueError(
                f"Prediction and target must hold class ids, got {pred.dtype} and {target.dtype}; "
                "take the argmax of the logits first."
            )
        for name, ids in (("Prediction", pred), ("Target", target[target != self.ignore_index])):
            outside = ids[(ids < 0) | (ids >= self.num_classes)]
            if outside.numel():
                raise ValueError(
                    f"{name} holds the id {int(outside.flatten()[0])}, outside the classes "
                    f"0..{self.num_classes - 1}"
                    f"{f' and not {self.ignore_index} (ignored)' if name == 'Target' else ''}."
                )

    def compute(self) -> dict[str, float | Tensor]:
        """All scores of the images seen since the last reset (by all processes).

        Returns:
            Name -> float in [0, 1] or per-class tensor (K,), as listed in the class docstring.
        """
        matrix = self.confusion.cpu()
        counts = matrix.double()
        kept = torch.ones(self.num_classes, dtype=torch.bool)
        kept[list(self.unscored)] = False
        iou, seen = _iou(counts)
        iou, seen = torch.where(kept, iou, torch.nan), seen & kept
        support = counts.sum(dim=1)
        accuracy = counts.diagonal() / support
        dropped_iou, dropped_seen = _iou(counts[1:, 1:])
        dropped_seen &= kept[1:]
        images = int(self.images)
        return {
            "miou": self._mean(iou[kept], seen[kept]),
            "macc": self._mean(accuracy[kept], support[kept] > 0),
            "acc": float(counts.diagonal().sum() / counts.sum()),
            "miou_fg": self._mean(iou[1:][kept[1:]], seen[1:][kept[1:]]),
            "miou_drop0": self._mean(dropped_iou[kept[1:]], dropped_seen[kept[1:]]),
            "miou_image": int(self.image_iou) / _FIXED_POINT / images if images else float("nan"),
            "iou": iou,
            "accuracy": accuracy,
            "support": matrix.sum(dim=1),
        }

    def _mean(self, values: Tensor, seen: Tensor) -> float:
        if self.absent == "zero" and seen.any():
            return float(torch.where(seen, values, 0.0).mean())
        return float(values[seen].mean())

    def protocol(self) -> dict[str, str]:
        """One sentence per score, for the foot of a table: what exactly was averaged over what."""
        ids = f"{self.num_classes} ids incl. 0"
        if self.unscored:
            listed = ", ".join(map(str, self.unscored))
            ids = f"{self.num_classes - len(self.unscored)} ids (without {listed}, ignored)"
        empty = "left out" if self.absent == "nan" else "counted as 0"
        return {
            name: metric_info(name).protocol.format(ids=ids, empty=empty)
            for name in family_metrics("classes")
        }


def _iou(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """IoU per class (..., K) of float matrices (..., K, K), and where it is not 0 / 0."""
    hit = matrix.diagonal(dim1=-2, dim2=-1)
    union = matrix.sum(dim=-1) + matrix.sum(dim=-2) - hit
    return hit / union, union > 0
