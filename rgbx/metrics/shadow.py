"""The balanced error rate of shadow maps, pooled over the set and per image."""

import torch
from torch import Tensor
from torchmetrics import Metric

from rgbx.metrics.catalogue import family_metrics, metric_info
from rgbx.metrics.maps import check_maps, fixed_sum, from_fixed, one_thread

__all__ = ["ShadowScores"]


class ShadowScores(Metric):
    """Balanced error rate (BER) of one set of images, in both ways that papers print it.

    With TP, FN counted in the shadow and TN, FP outside of it,

        BER = 1 - (TP / (TP + FN) + TN / (TN + FP)) / 2

    of which less is better: 0 is perfect, 0.5 calls everything shadow or nothing, 1 is inverted
    (papers print percent). ``compute()`` returns

    - ``BER``: the pixels of the whole set are counted first (the practice of shadow detection);
    - ``BER_image``: of every image, then the mean over the images (SAM-Adapter's code).

    A class without pixels (in the set, or in an image) has no rate: its term is skipped, and what
    is left is the error rate of the other class. PySODMetrics counts such a term as wrong.

    Source: Vicente et al., "Large-scale Training of Shadow Detectors with Noisily-annotated Shadow
    Examples", ECCV 2016.

    Args:
        threshold: A pixel is called shadow if the map lies above it. 0.5, or 125 / 255 as code
            does that reads 8-bit maps.

    Raises:
        ValueError: If the threshold does not lie in [0, 1).

    Example:
        >>> scores = ShadowScores()
        >>> scores.update(torch.tensor([[0.9, 0.1, 0.2, 0.7]]), torch.tensor([[1, 1, 0, 0]]))
        >>> scores.compute()["BER"]
        0.5
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    pixels: Tensor
    image_errors: Tensor
    images: Tensor

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold={threshold}: give a number from 0 to below 1.")
        self.threshold = threshold
        # object right, object, background right, background
        for name, shape in {"pixels": (4,), "image_errors": (), "images": ()}.items():
            default = torch.zeros(shape, dtype=torch.int64)
            self.add_state(name, default=default, dist_reduce_fx="sum")

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Count the pixels of some images, at their own size.

        Args:
            pred: Shadow maps, (B, H, W) or (H, W), floating point in [0, 1].
            target: Masks of the same shape, integer or bool; everything above 0 is shadow.

        Raises:
            ValueError: As :func:`rgbx.metrics.maps.check_maps`.
        """
        with one_thread():
            maps, shadow = check_maps(pred, target)
            chosen = maps > self.threshold
            groups = (chosen & shadow, shadow, ~(chosen | shadow), ~shadow)
            pixels = torch.stack([group.flatten(1).sum(dim=1) for group in groups], dim=1)
        self.pixels += pixels.sum(dim=0).to(self.pixels.device)
        self.image_errors += fixed_sum(_error(pixels)).to(self.images.device)
        self.images += len(pixels)

    def compute(self) -> dict[str, float]:
        """The scores of the images seen since the last reset (by all processes).

        Returns:
            "BER" and "BER_image" in [0, 1]; NaN where no image was seen.
        """
        mean = from_fixed(self.image_errors) / int(self.images)
        return {"BER": float(_error(self.pixels[None])[0]), "BER_image": float(mean)}

    def protocol(self) -> dict[str, str]:
        """One sentence per score, for the foot of a table."""
        level = f"map > {_text(self.threshold)} is shadow"
        names = family_metrics("shadow")
        return {name: metric_info(name).protocol.format(level=level) for name in names}


def _error(pixels: Tensor) -> Tensor:
    """BER (N,) float64 on the CPU from right and all pixels of object and background (N, 4).

    A class without pixels is left out of the mean; NaN without any pixel.
    """
    right, whole = pixels.cpu().double().reshape(-1, 2, 2).unbind(dim=2)
    return 1 - (right / whole).nanmean(dim=1)


def _text(threshold: float) -> str:
    """0.5, or 125/255 where it is a grey level."""
    level = threshold * 255
    whole = abs(level - round(level)) < 1e-9 and round(level) > 0
    return f"{round(level)}/255" if whole else f"{threshold:g}"
