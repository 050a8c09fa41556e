"""BCE and Dice of a mask, on sampled points or on all pixels.

Both are means over the masks of a batch, so gradients averaged over processes are those of the
joined batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["POINTS", "dense_losses", "point_losses", "sample_at", "uncertain_points"]

#: points per mask in the paper: 112 x 112
POINTS = 12544


def point_losses(
    logits: Tensor,
    target: Tensor,
    points: int = POINTS,
    oversample: float = 3.0,
    uncertain: float = 0.75,
) -> tuple[Tensor, Tensor]:
    """BCE and Dice on points, most of them where the logits are near 0.

    Source: Kirillov et al., "PointRend", CVPR 2020, section 3.3 (the choice of points); Ke et al.,
    "HQ-SAM", NeurIPS 2023 (both terms on them, 1 : 1).

    Args:
        logits: Before the sigmoid, (B, 1, h, w), any floating type.
        target: (B, 1, H, W) float in [0, 1], of any size; may be soft.
        points: P, points per mask.
        oversample: see `uncertain_points`.
        uncertain: see `uncertain_points`.

    Returns:
        BCE >= 0 in nats and Dice in [0, 1], scalars in float32 (float64 for float64 logits).
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        places = uncertain_points(logits, points, oversample, uncertain)
        values = sample_at(logits, places)
        return _bce_and_dice(values, sample_at(target.to(logits.dtype), places))


def dense_losses(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The two terms of `point_losses` on every pixel of the target.

    Args:
        logits: Before the sigmoid, (B, 1, h, w), any floating type; resized bilinearly.
        target: (B, 1, H, W) float in [0, 1]; may be soft.

    Returns:
        BCE and Dice, as there.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        logits = F.interpolate(logits, target.shape[-2:], mode="bilinear", align_corners=False)
        return _bce_and_dice(logits.flatten(1), target.to(logits.dtype).flatten(1))


@torch.no_grad()
def uncertain_points(
    logits: Tensor, points: int = POINTS, oversample: float = 3.0, uncertain: float = 0.75
) -> Tensor:
    """Choose points, a share of them where |logit| is small; the rest is drawn evenly.

    ``oversample * points`` places are drawn evenly, and the ``uncertain * points`` with the
    smallest |logit| are kept. Draws come from torch's global generator.

    Args:
        logits: (B, 1, h, w) in float32 or wider.
        points: P.
        oversample: Candidates per point, >= 1.
        uncertain: Share of chosen points, in [0, 1].

    Returns:
        (B, P, 2) x and y in [0, 1] of the image's sides.
    """
    count = len(logits)
    candidates = torch.rand(count, round(oversample * points), 2, device=logits.device)
    kept = round(uncertain * points)
    unsure = sample_at(logits, candidates).abs().topk(kept, dim=1, largest=False, sorted=False)
    chosen = candidates.gather(1, unsure.indices[..., None].expand(-1, -1, 2))
    fresh = torch.rand(count, points - kept, 2, device=logits.device)
    return torch.cat([chosen, fresh], dim=1)


def sample_at(maps: Tensor, places: Tensor) -> Tensor:
    """Bilinear values of maps (B, 1, h, w) at places (B, P, 2) in [0, 1], x first: (B, P).

    Pixel centres lie at (i + 0.5) / w; beyond the outermost centres the border goes on.
    """
    grid = (2 * places.to(maps.dtype) - 1)[:, None]
    sampled = F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled[:, 0, 0]


def _bce_and_dice(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Of (B, P) values: means over the points, then over the masks."""
    bce = F.binary_cross_entropy_with_logits(logits, target)
    probability = logits.sigmoid()
    overlap = (probability * target).sum(1)
    ratio = (2 * overlap + 1) / (probability.sum(1) + target.sum(1) + 1)
    return bce, (1 - ratio).mean()
