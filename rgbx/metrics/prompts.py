"""Scores of promptable segmentation: IoU, boundary IoU and stability, by kind of prompt."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from rgbx.metrics.boundary_overlap import boundary, boundary_width, edge_iou
from rgbx.metrics.catalogue import family_metrics, metric_info
from rgbx.metrics.mask_stability import stability
from rgbx.metrics.pixels import mask_iou

__all__ = ["SCORES", "PromptScores"]

_FIXED_POINT = 2**40  # as in SegmentationScores: integer sums are exact in any order
SCORES = family_metrics("prompts")


class PromptScores(Metric):
    """mIoU, mBIoU and mSF of one set of images, for every kind of prompt.

    An image is one object, segmented once per prompt. ``compute()`` gives floats in [0, 1]

    - ``KIND/mIoU``: IoU with the target, mean over the prompts of an image, then over the images;
      0 / 0 (nothing there, nothing found) counts as 0.
    - ``KIND/mBIoU``: the same of the boundaries, see :func:`~rgbx.metrics.boundary_iou`.
    - ``KIND/mSF``: stability of the masks of an image (see `rgbx.metrics.mask_stability`), mean
      over the images with several prompts of that kind; absent if there is none.

    Args:
        kinds: Names of the kinds, e.g. ("box", "noisy_box", "point_1").
        boundary: Width of a boundary as a share of the image's diagonal, above 0.
        empty_union: Stability where all masks of an image are empty, in [0, 1].

    Raises:
        ValueError: If there is no kind or one occurs twice, or a number is out of range.

    Example:
        >>> target = torch.tensor([[True, True, False, False]])
        >>> scores = PromptScores(("noisy_box",))
        >>> scores.update({"noisy_box": torch.stack([target, ~target])}, target)
        >>> scores.compute()
        {'noisy_box/mIoU': 0.5, 'noisy_box/mBIoU': 0.5, 'noisy_box/mSF': 0.5}
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    sums: Tensor
    images: Tensor

    def __init__(
        self, kinds: Sequence[str], boundary: float = 0.02, empty_union: float = 0.0
    ) -> None:
        super().__init__()
        if isinstance(kinds, str) or not kinds or len(set(kinds)) != len(kinds):
            raise ValueError(f"kinds={kinds!r}: at least one kind is needed, each once.")
        if not boundary > 0 or not 0 <= empty_union <= 1:
            raise ValueError(
                f"boundary={boundary} must be above 0, empty_union={empty_union} in [0, 1]."
            )
        self.kinds = tuple(kinds)
        self.boundary = boundary
        self.empty_union = empty_union
        # one column per score: mSF is counted over fewer images than the other two
        for name in ("sums", "images"):
            zeros = torch.zeros(len(self.kinds), len(SCORES), dtype=torch.int64)
            self.add_state(name, default=zeros, dist_reduce_fx="sum")

    def update(self, pred: Mapping[str, Tensor], target: Tensor) -> None:
        """Score one image.

        Args:
            pred: Kind -> (n, h, w) bool, one mask per prompt, n >= 1; a kind that the image was
                not prompted with is left out.
            target: (h, w) bool, on the same device.

        Raises:
            ValueError: If a kind is unknown, or a shape or a type is wrong.
        """
        self._check(pred, target)
        width = boundary_width(target.shape, self.boundary)
        edge = boundary(target, width)
        for kind, masks in pred.items():
            values = [mask_iou(masks, target).mean(), edge_iou(masks, edge, width).mean()]
            if len(masks) > 1:
                values.append(torch.tensor(stability(masks, self.empty_union), dtype=torch.float64))
            fixed = (torch.stack(values) * _FIXED_POINT).round().long()
            row = self.kinds.index(kind)
            self.sums[row, : len(values)] += fixed.to(self.sums.device)
            self.images[row, : len(values)] += 1

    def _check(self, pred: Mapping[str, Tensor], target: Tensor) -> None:
        unknown = [kind for kind in pred if kind not in self.kinds]
        if unknown:
            raise ValueError(f"Unknown kind of prompt {unknown[0]!r}; known are {self.kinds}.")
        for kind, masks in pred.items():
            if masks.ndim != 3 or not len(masks) or masks.shape[1:] != target.shape:
                raise ValueError(
                    f"{kind}: masks must be (n, h, w) with n >= 1 and the target (h, w), got "
                    f"{tuple(masks.shape)} and {tuple(target.shape)}."
                )
            if masks.dtype != torch.bool or target.dtype != torch.bool:
                raise ValueError(
                    f"{kind}: masks and target must be bool, got {masks.dtype} and "
                    f"{target.dtype}; threshold them first."
                )

    def compute(self) -> dict[str, float]:
        """The scores of the images seen since the last reset (by all processes).

        Returns:
            "KIND/SCORE" -> float in [0, 1]; NaN for a kind without images.
        """
        values = (self.sums.cpu().double() / _FIXED_POINT / self.images.cpu()).tolist()
        counts = self.images.tolist()
        return {
            f"{kind}/{name}": value
            for kind, row, seen in zip(self.kinds, values, counts, strict=True)
            for name, value, images in zip(SCORES, row, seen, strict=True)
            if images or name != "mSF"
        }

    def protocol(self) -> dict[str, str]:
        """One sentence per score, for the foot of a table: what exactly was averaged over what."""
        border = f"{self.boundary:g} of the image's diagonal"
        empty = f"{self.empty_union:g} where all masks of an image are empty"
        return {
            name: metric_info(f"KIND/{name}").protocol.format(border=border, empty=empty)
            for name in SCORES
        }
