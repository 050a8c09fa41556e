"""Boxes of detectors: anchors, coding, matching and sampling.

Boxes are (n,4) tensors of x1, y1, x2, y2 in pixels of the network's input; their width is x2 - x1.
The rules are mmdet 3's, which UniRGB-IR was trained with; torchvision's own differ in ways that
show in no shape (rounded anchors, one-sided clamping, all anchors used).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Generator, Tensor
from torchvision.ops import box_iou

__all__ = [
    "Matched",
    "anchors",
    "clip_boxes",
    "decode_boxes",
    "encode_boxes",
    "inside",
    "match_boxes",
    "mean_over_ranks",
    "outside_ignored",
    "sample_matched",
]

_LARGEST = math.log(1000 / 16)  # of |dw| and |dh|: no box grows by more than 62.5
Stds = tuple[float, float, float, float]


def anchors(
    sizes: Sequence[Sequence[int]],
    strides: Sequence[int],
    scale: float = 8.0,
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
    device: torch.device | None = None,
) -> list[Tensor]:
    """The anchors of every level: a row of cells after the other, all ratios of a cell together.

    Args:
        sizes: (h,w) of every level's map.
        strides: of every level; an anchor's side is scale x stride at ratio 1, and the centre of
            cell (i,j) lies at (j x stride, i x stride), neither shifted nor rounded.
        scale: see there.
        ratios: height over width.
        device: of the result.

    Returns:
        One (h x w x ratios, 4) float32 tensor for each level.
    """
    roots = torch.tensor(ratios, dtype=torch.float64).sqrt()
    found = []
    for (height, width), stride in zip(sizes, strides, strict=True):
        half = 0.5 * scale * stride * torch.stack([1 / roots, roots], 1)
        base = torch.cat([-half, half], 1)
        y, x = (torch.arange(n, dtype=torch.float64) * stride for n in (height, width))
        centres = torch.stack([x.repeat(height), y.repeat_interleave(width)], 1).repeat(1, 2)
        found.append((centres[:, None] + base).reshape(-1, 4).to(device, torch.float32))
    return found


def clip_boxes(boxes: Tensor, size: Sequence[int]) -> Tensor:
    """Boxes (...,4) moved into an image of (h,w)."""
    limit = boxes.new_tensor([size[1], size[0]] * 2)
    return torch.minimum(boxes.clamp(min=0), limit)


def inside(boxes: Tensor, size: Sequence[int]) -> Tensor:
    """(n,) bool: which boxes do not reach the border of an image of (h,w) on the far sides."""
    return (boxes[:, :2] >= 0).all(1) & (boxes[:, 2] < size[1]) & (boxes[:, 3] < size[0])


def _centres(boxes: Tensor) -> tuple[Tensor, Tensor]:
    sides = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * sides, sides


def encode_boxes(boxes: Tensor, targets: Tensor, stds: Stds = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """What moves boxes onto their targets: (dx, dy, dw, dh) / stds.

    dx and dy are shifts of the centre over the box's sides, dw and dh logarithms of the ratio of
    the sides (Girshick et al., R-CNN, CVPR 2014, appendix C).

    Args:
        boxes: (n,4) of positive sides.
        targets: (n,4) of positive sides.
        stds: what the four are divided by.
    """
    (centre, sides), (wanted, wanted_sides) = _centres(boxes), _centres(targets)
    deltas = torch.cat([(wanted - centre) / sides, (wanted_sides / sides).log()], -1)
    return deltas / deltas.new_tensor(stds)


def decode_boxes(
    boxes: Tensor,
    deltas: Tensor,
    stds: Stds = (1.0, 1.0, 1.0, 1.0),
    size: Sequence[int] | None = None,
) -> Tensor:
    """The inverse of `encode_boxes`; dw and dh are clamped to +-log(1000 / 16).

    Args:
        boxes: (n,4).
        deltas: (n,4).
        stds: what the deltas were divided by.
        size: (h,w) of the image that results are clipped to.
    """
    shift, growth = (deltas * deltas.new_tensor(stds)).split(2, -1)
    centre, sides = _centres(boxes)
    centre = centre + shift * sides
    half = 0.5 * sides * growth.clamp(-_LARGEST, _LARGEST).exp()
    moved = torch.cat([centre - half, centre + half], -1)
    return moved if size is None else clip_boxes(moved, size)


class Matched(NamedTuple):
    """Which boxes stand for which target.

    Attributes:
        positive: (p,) indexes of boxes that stand for a target.
        target: (p,) index of that target.
        negative: (n,) indexes of boxes that stand for background.
    """

    positive: Tensor
    target: Tensor
    negative: Tensor

    @property
    def chosen(self) -> Tensor:
        """Indexes of all boxes that are trained on, the positive ones first."""
        return torch.cat([self.positive, self.negative])


def match_boxes(
    boxes: Tensor, targets: Tensor, above: float, below: float, least: float | None = None
) -> Matched:
    """Give every box the target that it overlaps most, if it does so enough.

    Args:
        boxes: (n,4).
        targets: (m,4); m may be 0, then all boxes are background.
        above: IoU from which on a box is positive.
        below: IoU below which it is negative; between the two it is neither.
        least: if given, each target with a best IoU of at least this also takes every box that
            reaches its best (of several such targets the last takes the box).
    """
    if not len(targets) or not len(boxes):
        none = torch.zeros(0, dtype=torch.int64, device=boxes.device)
        return Matched(none, none, torch.arange(len(boxes), device=boxes.device))
    overlap = box_iou(boxes, targets)  # (n,m)
    most, owner = overlap.max(1)
    owner = torch.where(most >= above, owner, -1)
    owner = torch.where(most < below, -2, owner)
    if least is not None:
        best = overlap.max(0).values
        ties = (overlap == best) & (best >= least)
        numbers = torch.arange(len(targets), device=boxes.device).expand_as(ties)
        last = torch.where(ties, numbers, -1).max(1).values
        owner = torch.where(last >= 0, last, owner)
    positive = (owner >= 0).nonzero()[:, 0]
    return Matched(positive, owner[positive], (owner == -2).nonzero()[:, 0])


def outside_ignored(
    matched: Matched, boxes: Tensor, ignored: Tensor, share: float | None
) -> Matched:
    """Leave out negative boxes of which more than a share lies in one ignored region.

    Args:
        matched: indexes into `boxes`.
        boxes: (n,4).
        ignored: (m,4) regions that are neither object nor background.
        share: see there; None keeps all.
    """
    if share is None or not len(ignored) or not len(matched.negative):
        return matched
    negative = boxes[matched.negative]
    ignored = ignored.to(negative.dtype)
    low = torch.maximum(negative[:, None, :2], ignored[:, :2])
    high = torch.minimum(negative[:, None, 2:], ignored[:, 2:])
    common = (high - low).clamp(min=0).prod(-1)
    area = (negative[:, 2:] - negative[:, :2]).prod(-1).clamp(min=1e-9)
    free = (common / area[:, None] <= share).all(1)
    return matched._replace(negative=matched.negative[free])


def sample_matched(matched: Matched, count: int, share: float, generator: Generator) -> Matched:
    """A random choice of the boxes to train on.

    Args:
        matched: all of them.
        count: how many are wanted.
        share: the positive ones are at most this part of `count`; negative ones fill it up.
        generator: on the CPU; the choice is a function of its state and of the numbers of boxes.
    """
    wanted = int(count * share)
    positive, target, negative = matched
    if len(positive) > wanted:
        kept = torch.randperm(len(positive), generator=generator)[:wanted].sort().values
        kept = kept.to(positive.device)
        positive, target = positive[kept], target[kept]
    left = count - len(positive)
    if len(negative) > left:
        kept = torch.randperm(len(negative), generator=generator)[:left].sort().values
        negative = negative[kept.to(negative.device)]
    return Matched(positive, target, negative)


def mean_over_ranks(count: float, device: torch.device) -> Tensor:
    """A count that losses are divided by, averaged over the processes; of all at least 1.

    DDP averages gradients over processes; so divided, they are those of one process that has seen
    all images. Every process has to call this equally often.
    """
    total, ranks = torch.tensor(float(count), device=device), 1
    if dist.is_available() and dist.is_initialized():
        ranks = dist.get_world_size()
        dist.all_reduce(total)
    return total.clamp(min=1.0) / ranks
