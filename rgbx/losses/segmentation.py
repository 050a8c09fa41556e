"""Losses as plain functions: shapes, ignored pixels and the source of each in its docstring.

Every loss is reduced per image first and then averaged over the batch. Averaging gradients over
processes is therefore exactly the gradient of the joined batch, provided each process holds the
same number of images: 2 processes x 4 images equal 1 process x 8 images, however the ignored
pixels are spread. A mean over all valid pixels of a batch does not have this property.
An image without a single valid pixel adds 0 (with a zero gradient) and still counts in the mean.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "balanced_bce",
    "binary_cross_entropy",
    "cross_entropy",
    "dice",
    "iou",
    "partial_cross_entropy",
    "ssim",
    "structure",
    "weighted_cross_entropy",
]


def _at_least_float32(logits: Tensor) -> Tensor:
    """Half precision is widened because sums over 10^5 pixels do not fit it."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def cross_entropy(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    """Pixel-wise cross-entropy: mean over an image's valid pixels, then over the images.

    Args:
        logits: Class scores before softmax, (B, K, H, W), any real range and floating type.
        target: Class ids 0..K-1 or ``ignore_index``, (B, H, W) int64.
        ignore_index: Id of pixels that are left out.

    Returns:
        Scalar >= 0 in float32 (float64 for float64 logits), in nats.
    """
    with torch.autocast(logits.device.type, enabled=False):
        pixels = F.cross_entropy(
            _at_least_float32(logits), target, ignore_index=ignore_index, reduction="none"
        )
        valid = (target != ignore_index).sum(dim=(1, 2))
        return (pixels.sum(dim=(1, 2)) / valid.clamp(min=1)).mean()


def weighted_cross_entropy(
    logits: Tensor, target: Tensor, weights: Tensor, ignore_index: int = 255
) -> Tensor:
    """Cross-entropy times a weight of the true class, divided by the number of ALL pixels.

    ``sum(w[y] * nll(y)) / (H W)`` per image, then the mean over the images. Ignored pixels add
    nothing to the sum and still count in the divisor, and the weights are not normalised: two
    differences from ``torch.nn.functional.cross_entropy(weight=...)``, whose mean divides by the
    sum of the weights that were used. Source: the code published with UniRGB-IR.

    Args:
        logits: Class scores before softmax, (B, K, H, W), any real range and floating type.
        target: Class ids 0..K-1 or ``ignore_index``, (B, H, W) int64.
        weights: (K,), >= 0.
        ignore_index: Id of pixels that are left out.

    Returns:
        Scalar >= 0 in float32 (float64 for float64 logits), in weighted nats.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = _at_least_float32(logits)
        return F.cross_entropy(
            logits,
            target,
            weights.to(logits.dtype),
            ignore_index=ignore_index,
            reduction="none",
        ).mean()


def dice(
    logits: Tensor,
    target: Tensor,
    ignore_index: int = 255,
    smooth: float = 1.0,
    classes: Literal["present", "all"] = "present",
) -> Tensor:
    """Multi-class soft Dice loss: mean over an image's classes, then over the images.

    With p the softmax over the classes and t the one-hot target, both zero at ignored pixels, the
    loss of one class in one image is ``1 - (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth)``.
    The sums run over the pixels of that image and are plain, not squared.

    Source: Milletari et al., "V-Net", 3DV 2016 (there with squared sums); the plain sums are those
    of Sudre et al., "Generalised Dice overlap as a deep learning loss function", DLMIA 2017.

    Args:
        logits: Class scores before softmax, (B, K, H, W), any real range and floating type.
        target: Class ids 0..K-1 or ``ignore_index``, (B, H, W) int64.
        ignore_index: Id of pixels that are left out.
        smooth: Added to numerator and denominator, in pixels, >= 0.
        classes: "present" averages over the classes with at least one valid target pixel in that
            image; "all" averages over all K, so that an absent class is penalised by itself.

    Returns:
        Scalar in [0, 1], in float32 (float64 for float64 logits).
    """
    with torch.autocast(logits.device.type, enabled=False):
        probabilities = _at_least_float32(logits).softmax(dim=1)
        ids = torch.arange(logits.shape[1], device=target.device).view(1, -1, 1, 1)
        truth = target.unsqueeze(1) == ids
        valid = (target != ignore_index).unsqueeze(1)

        overlap = (probabilities * truth).sum(dim=(2, 3))
        target_size = truth.sum(dim=(2, 3))
        size = (probabilities * valid).sum(dim=(2, 3)) + target_size
        # With smooth = 0 an image without valid pixels would divide 0 by 0 and spoil the gradient.
        ratio = (2 * overlap + smooth) / (size + smooth).clamp(min=1e-12)

        counted = target_size > 0 if classes == "present" else valid.any(dim=3).any(dim=2)
        counted = counted.expand_as(ratio)
        return (((1 - ratio) * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)).mean()


def structure(logits: Tensor, target: Tensor) -> Tensor:
    """Structure loss: BCE and IoU, both weighted towards object borders.

    Wei et al., "F3Net", AAAI 2020, Eq. 8 to 11; SAMSOD, Eq. 3. The weight is
    ``1 + 5 |mean_31x31(target) - target|`` (the mean counts zeros beyond the edge). Per image:
    ``sum(w bce) / sum(w)`` plus ``1 - (inter + 1) / (union - inter + 1)`` with weighted sums.

    Args:
        logits: Before the sigmoid, (B, 1, H, W), any floating type.
        target: (B, 1, H, W) float in [0, 1]; may be soft.

    Returns:
        Scalar >= 0 in float32 (float64 for float64 logits).
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = _at_least_float32(logits)
        target = target.to(logits.dtype)
        # a box is separable: two strips of 31 instead of a square of 961
        mean = F.avg_pool2d(target, (31, 1), stride=1, padding=(15, 0))
        mean = F.avg_pool2d(mean, (1, 31), stride=1, padding=(0, 15))
        weight = 1 + 5 * (mean - target).abs()
        bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        weighted_bce = (weight * bce).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))
        probability = logits.sigmoid()
        inter = (probability * target * weight).sum(dim=(1, 2, 3))
        union = ((probability + target) * weight).sum(dim=(1, 2, 3))
        weighted_iou = 1 - (inter + 1) / (union - inter + 1)
        return (weighted_bce + weighted_iou).mean()


def partial_cross_entropy(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    """Binary cross-entropy on labelled pixels only (scribbles): mean per image, then over images.

    Args:
        logits: Before the sigmoid, (B, 1, H, W), any floating type.
        target: (B, H, W) int64: 0 background, 1 foreground, ``ignore_index`` elsewhere.
        ignore_index: Id of unlabelled pixels.

    Returns:
        Scalar >= 0 in float32 (float64 for float64 logits), in nats; an image without a labelled
        pixel adds 0.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = _at_least_float32(logits[:, 0])
        valid = target != ignore_index
        pixels = F.binary_cross_entropy_with_logits(
            logits, (target == 1).to(logits.dtype), reduction="none"
        )
        return ((pixels * valid).sum(dim=(1, 2)) / valid.sum(dim=(1, 2)).clamp(min=1)).mean()


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over all pixels.

    Args:
        logits: Before the sigmoid, (B, 1, H, W), any floating type.
        target: (B, 1, H, W) float in [0, 1]; may be soft.

    Returns:
        Scalar >= 0 in float32 (float64 for float64 logits), in nats.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = _at_least_float32(logits)
        return F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype))


def iou(logits: Tensor, target: Tensor) -> Tensor:
    """Soft IoU loss: ``1 - I / (U + 1e-6)`` of each image, then the mean over the images.

    With p the sigmoid and g the target, ``I = sum(p g)`` and ``U = sum(p + g) - I``. An empty
    target costs 1 whatever is predicted, almost without a gradient.

    Source: Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image
    Segmentation", ISVC 2016; the constant is that of UniRGB-IR's code.

    Args:
        logits: Before the sigmoid, (B, 1, H, W), any floating type.
        target: (B, 1, H, W) float in [0, 1]; may be soft.

    Returns:
        Scalar in [0, 1] in float32 (float64 for float64 logits).
    """
    with torch.autocast(logits.device.type, enabled=False):
        probability = _at_least_float32(logits).sigmoid()
        target = target.to(probability.dtype)
        inter = (probability * target).sum(dim=(1, 2, 3))
        union = (probability + target).sum(dim=(1, 2, 3)) - inter
        return (1 - inter / (union + 1e-6)).mean()


def ssim(logits: Tensor, target: Tensor) -> Tensor:
    """``1 - SSIM`` of the sigmoid and the target, the mean over all pixels.

    Means, variances and the covariance are those under a Gaussian window of 11 x 11 pixels (sigma
    1.5, weights that sum to 1; zeros beyond the edge), the constants 0.01^2 and 0.03^2.

    Source: Wang et al., "Image Quality Assessment: From Error Visibility to Structural
    Similarity", TIP 2004, Eq. 13; as a loss for saliency in Qin et al., "BASNet", CVPR 2019.

    Args:
        logits: Before the sigmoid, (B, 1, H, W), any floating type.
        target: (B, 1, H, W) float in [0, 1]; may be soft.

    Returns:
        Scalar in [0, 2] in float32 (float64 for float64 logits).
    """
    with torch.autocast(logits.device.type, enabled=False):
        p = _at_least_float32(logits).sigmoid()
        g = target.to(p.dtype)
        p_mean, g_mean, p_square, g_square, product = _blur(
            torch.cat([p, g, p * p, g * g, p * g], dim=1)
        ).split(1, dim=1)
        p_variance = p_square - p_mean.square()
        g_variance = g_square - g_mean.square()
        covariance = product - p_mean * g_mean
        c1, c2 = 0.01**2, 0.03**2
        similarity = (2 * p_mean * g_mean + c1) * (2 * covariance + c2)
        norm = (p_mean.square() + g_mean.square() + c1) * (p_variance + g_variance + c2)
        return (1 - similarity / norm).mean()


def _gaussian(like: Tensor) -> Tensor:
    """(11,) weights of one axis; the window is their outer product."""
    distance = torch.arange(-5, 6, dtype=like.dtype, device=like.device)
    weights = torch.exp(-distance.square() / (2 * 1.5**2))
    return weights / weights.sum()


def _blur(maps: Tensor) -> Tensor:
    """Weighted local means of (B,C,H,W) maps: a column of 11, then a row of 11, zeros outside."""
    weights = _gaussian(maps)
    channels = maps.shape[1]
    column = weights.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    row = weights.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    maps = F.conv2d(maps, column, padding=(5, 0), groups=channels)
    return F.conv2d(maps, row, padding=(0, 5), groups=channels)


def balanced_bce(
    logits: Tensor, target: Tensor, positive_share: Tensor | float | None = None
) -> Tensor:
    """Binary cross-entropy in which both classes weigh alike: the rarer, the more per pixel.

    With n+ and n- the positive and negative pixels of the batch and n their sum, a positive pixel
    has the weight n-/n and a negative one n+/n; the mean runs over all pixels. The same as
    ``n+/n * BCE(pos_weight = n-/n+)`` without its division by 0: where a class is absent, the loss
    is 0.

    The only loss here that counts over the batch. For batches spread over processes, pass the
    share of positive pixels of the whole: the average over processes is then the whole's loss.

    Source: Chen et al., "SAM-Adapter", ICCV workshops 2023, for shadows.

    Args:
        logits: Before the sigmoid, (B, 1, H, W), any floating type.
        target: (B, 1, H, W) float in [0, 1]; may be soft.
        positive_share: n+/n in [0, 1], where it is not that of `target`.

    Returns:
        Scalar >= 0 in float32 (float64 for float64 logits), in weighted nats.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = _at_least_float32(logits)
        target = target.to(logits.dtype)
        share = target.mean() if positive_share is None else positive_share
        weight = (1 - share) * target + share * (1 - target)
        pixels = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return (weight * pixels).mean()
