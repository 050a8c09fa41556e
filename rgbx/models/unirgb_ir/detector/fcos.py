"""A single-stage head without anchors (FCOS, Tian et al., arXiv 1904.01355)."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from rgbx.blocks.boxes import clip_boxes, mean_over_ranks
from rgbx.blocks.conv import norm_layer
from rgbx.models.unirgb_ir.detector.options import FCOSConfig
from rgbx.models.unirgb_ir.detector.targets import Target

__all__ = ["FCOSHead"]

_PRIOR = 0.01  # probability of every class at the start
_WIDEST = 8.0  # logarithm of the largest distance in strides


class FCOSHead(nn.Module):
    """Every cell of the pyramid says what lies around it, and how far it is to the four sides.

    Two towers of convolutions, GroupNorm and ReLU, shared by all levels. Positive are the cells
    near the centre of a target whose farthest side is in the level's range; of several targets the
    smallest. Losses: focal loss of the classes, generalised IoU of the boxes, cross-entropy of the
    centredness (at the box tower, as the paper's later versions). Scores are the root of class
    times centredness.

    Args:
        channels: c of the pyramid.
        num_classes: K.
        strides: of its levels.
        config: what it decides.

    Shape: maps (B,c,h,w) -> (B,N,K) class logits, (B,N,4) distances to left, top, right and bottom
    in pixels, (B,N) logits of the centredness; N cells of all levels; float32 or wider.
    """

    def __init__(
        self,
        channels: int = 256,
        num_classes: int = 3,
        strides: Sequence[int] = (8, 16, 32, 64),
        config: FCOSConfig = FCOSConfig(),
    ) -> None:
        super().__init__()
        self.num_classes, self.strides, self.config = num_classes, tuple(strides), config
        self.cls_tower = _tower(channels, config.convs)
        self.box_tower = _tower(channels, config.convs)
        self.cls = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.box = nn.Conv2d(channels, 4, 3, padding=1)
        self.centre = nn.Conv2d(channels, 1, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(len(self.strides)))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        assert self.cls.bias is not None
        nn.init.constant_(self.cls.bias, -math.log((1 - _PRIOR) / _PRIOR))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Class logits, distances and centredness of all cells."""
        found: list[list[Tensor]] = [[], [], []]
        for level, stride, scale in zip(maps, self.strides, self.scales, strict=True):
            shared = self.box_tower(level)
            parts = (self.cls(self.cls_tower(level)), self.box(shared), self.centre(shared))
            dtype = torch.promote_types(parts[0].dtype, torch.float32)
            classes, sides, centre = (p.to(dtype).flatten(2).transpose(1, 2) for p in parts)
            found[0].append(classes)
            found[1].append((sides * scale).clamp(max=_WIDEST).exp() * stride)
            found[2].append(centre[..., 0])
        classes, sides, centre = (torch.cat(parts, 1) for parts in found)
        return classes, sides, centre

    def cells(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Centres (N,2), x and y in pixels, and strides (N,) of all cells."""
        points, strides = [], []
        for level, stride in zip(maps, self.strides, strict=True):
            h, w = level.shape[-2:]
            y, x = ((torch.arange(n, device=level.device) + 0.5) * stride for n in (h, w))
            points.append(torch.stack([x.repeat(h), y.repeat_interleave(w)], 1))
            strides.append(torch.full((h * w,), float(stride), device=level.device))
        return torch.cat(points), torch.cat(strides)

    def decoded(self, maps: Sequence[Tensor], size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Boxes (B,N,4), clipped to an image of (H,W), and scores (B,N,K) of all cells."""
        classes, sides, centre = self(maps)
        points, _ = self.cells(maps)
        scores = (classes.sigmoid() * centre.sigmoid()[..., None]).sqrt()
        return clip_boxes(_boxes(points, sides), size), scores

    def decode(self, maps: Sequence[Tensor], size: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """The best cells of every image, before any threshold.

        Args:
            maps: (B,c,h,w) of every level.
            size: (H,W) of the images; boxes are clipped to it.

        Returns:
            For every image boxes (n,4) and scores (n,K).
        """
        boxes, scores = self.decoded(maps, size)
        counts = [level.shape[-2] * level.shape[-1] for level in maps]
        found = []
        for own, score in zip(boxes, scores, strict=True):
            best = [
                part.max(1).values.topk(min(self.config.candidates, len(part))).indices + begin
                for part, begin in zip(score.split(counts), _starts(counts), strict=True)
            ]
            kept = torch.cat(best)
            found.append((own[kept], score[kept]))
        return found

    def losses(self, maps: Sequence[Tensor], targets: Sequence[Target]) -> dict[str, Tensor]:
        """Focal loss, generalised IoU loss and centredness of all images.

        The first is divided by the number of positive cells of all images of all processes; boxes
        are weighted by their centredness, and divided by its sum.

        Args:
            maps: (B,c,h,w) of every level.
            targets: of every image.

        Returns:
            ``cls``, ``box`` and ``centre``.
        """
        classes, sides, centre = self(maps)
        points, strides = self.cells(maps)
        owners = [self._assign(points, strides, target) for target in targets]
        goal = torch.zeros_like(classes)
        free = torch.ones_like(centre)
        wanted = []
        for place, (owner, target) in enumerate(zip(owners, targets, strict=True)):
            cells = (owner >= 0).nonzero()[:, 0]
            goal[place, cells, target.labels[owner[cells]]] = 1
            wanted.append(target.boxes[owner[cells]])
            free[place] = self._counted(points, owner, target)
        focal = sigmoid_focal_loss(classes, goal, self.config.alpha, self.config.gamma)
        positive = torch.stack(owners) >= 0
        image, cell = positive.nonzero(as_tuple=True)
        middle = points[cell].to(sides.dtype)
        boxes = torch.cat(wanted).to(sides.dtype)
        centred = _centredness(torch.cat([middle - boxes[:, :2], boxes[:, 2:] - middle], 1))
        found = _boxes(middle, sides[image, cell])
        overlap = (generalized_box_iou_loss(found, boxes) * centred).sum() + sides.sum() * 0
        centring = F.binary_cross_entropy_with_logits(centre[positive], centred, reduction="sum")
        count = mean_over_ranks(len(cell), classes.device)
        weight = mean_over_ranks(float(centred.sum()), classes.device)
        return {
            "cls": (focal * free[..., None]).sum() / count,
            "box": overlap / weight,
            "centre": (centring + centre.sum() * 0) / count,
        }

    def _assign(self, points: Tensor, strides: Tensor, target: Target) -> Tensor:
        """(N,) index of the target that every cell looks for, -1 for background."""
        boxes = target.boxes.to(points.dtype)
        if not len(boxes):
            return torch.full((len(points),), -1, device=points.device)
        edges = (0.0, *self.config.ranges[-len(self.strides) + 1 :], math.inf)
        ranges = dict(zip(self.strides, pairwise(edges), strict=True))
        bounds = torch.tensor([ranges[int(s)] for s in strides.tolist()], device=points.device)
        sides = torch.cat([points[:, None] - boxes[:, :2], boxes[:, 2:] - points[:, None]], 2)
        farthest = sides.max(2).values
        away = (points[:, None] - (boxes[:, :2] + boxes[:, 2:]) / 2).abs().max(2).values
        fits = (
            (sides.min(2).values > 0)
            & (away < self.config.radius * strides[:, None])
            & (farthest >= bounds[:, :1])
            & (farthest < bounds[:, 1:])
        )
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1).expand_as(fits)
        smallest, owner = torch.where(fits, area, math.inf).min(1)
        return torch.where(smallest < math.inf, owner, -1)

    def _counted(self, points: Tensor, owner: Tensor, target: Target) -> Tensor:
        """(N,) 0 for background cells that lie in an ignored region, else 1."""
        counted = torch.ones(len(points), device=points.device)
        if not self.config.skip_ignored or not len(target.ignored):
            return counted
        low, high = target.ignored[:, :2], target.ignored[:, 2:]
        within = ((points[:, None] >= low) & (points[:, None] < high)).all(2).any(1)
        counted[within & (owner < 0)] = 0
        return counted


def _tower(channels: int, convs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(convs):
        layers += [nn.Conv2d(channels, channels, 3, padding=1, bias=False)]
        layers += [norm_layer("gn", channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _boxes(points: Tensor, sides: Tensor) -> Tensor:
    return torch.cat([points - sides[..., :2], points + sides[..., 2:]], -1)


def _centredness(sides: Tensor) -> Tensor:
    """(n,) of distances (n,4) to left, top, right, bottom: 1 at the centre, 0 at a side."""
    x, y = sides[:, ::2], sides[:, 1::2]
    return ((x.amin(1) / x.amax(1)) * (y.amin(1) / y.amax(1))).clamp(min=0).sqrt()


def _starts(counts: Sequence[int]) -> list[int]:
    return [sum(counts[:i]) for i in range(len(counts))]
