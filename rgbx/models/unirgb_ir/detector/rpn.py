"""The region proposal network of UniRGB-IR's detector."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torchvision.ops import batched_nms

from rgbx.blocks.boxes import (
    Matched,
    anchors,
    decode_boxes,
    encode_boxes,
    inside,
    match_boxes,
    mean_over_ranks,
    outside_ignored,
    sample_matched,
)
from rgbx.models.unirgb_ir.detector.options import RPNConfig
from rgbx.models.unirgb_ir.detector.targets import Target

__all__ = ["RPN"]


class _Conv(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu_()


class RPN(nn.Module):
    """Two shared convolutions, then objectness and box deltas of every anchor.

    Module names are those of the released detectors.

    Args:
        channels: c of the pyramid.
        strides: of its levels.
        config: what it decides.

    Shape: maps (B,c,h,w) -> objectness (B,A,h,w) before the sigmoid and deltas (B,4A,h,w) for each
    level, A anchors per cell; float32 or wider.
    """

    def __init__(
        self,
        channels: int = 256,
        strides: Sequence[int] = (4, 8, 16, 32, 64),
        config: RPNConfig = RPNConfig(),
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.config = config
        self.rpn_conv = nn.Sequential(_Conv(channels), _Conv(channels))
        self.rpn_cls = nn.Conv2d(channels, len(config.ratios), 1)
        self.rpn_reg = nn.Conv2d(channels, 4 * len(config.ratios), 1)
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.normal_(parameter, std=0.01)
            else:
                nn.init.zeros_(parameter)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Objectness and deltas of every level."""
        objectness: list[Tensor] = []
        deltas: list[Tensor] = []
        for level in maps:
            shared = self.rpn_conv(level)
            for layer, found in ((self.rpn_cls, objectness), (self.rpn_reg, deltas)):
                output = layer(shared)
                found.append(output.to(torch.promote_types(output.dtype, torch.float32)))
        return objectness, deltas

    def anchors(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The anchors of every level of (B,...,h,w) maps, see `rgbx.blocks.boxes.anchors`."""
        sizes = [(level.shape[-2], level.shape[-1]) for level in maps]
        config, device = self.config, maps[0].device
        return anchors(sizes, self.strides, config.anchor_scale, config.ratios, device)

    @torch.no_grad()
    def proposals(
        self,
        objectness: Sequence[Tensor],
        deltas: Sequence[Tensor],
        size: Sequence[int],
        for_training: bool = False,
    ) -> list[Tensor]:
        """The boxes of every image that are worth a second look, best first.

        Args:
            objectness: as `forward` gives it.
            deltas: likewise.
            size: (H,W) of the images; boxes are clipped to it.
            for_training: with the NMS of training, whatever mode the module is in.

        Returns:
            (n,4) for each image, n at most `RPNConfig.proposals`.
        """
        if objectness[0].is_meta:  # costs are counted with as many boxes as there can be
            cells = sum(level[0].numel() for level in objectness)
            count = min(cells, self.config.proposals)
            return [level.new_empty(count, 4) for level in objectness[0]]
        levels = list(zip(objectness, deltas, self.anchors(objectness), strict=True))
        found = []
        for image in range(len(objectness[0])):
            parts = [self._best(o[image], d[image], a, size) for o, d, a in levels]
            boxes, scores = (torch.cat(part) for part in zip(*parts, strict=True))
            level = torch.cat(
                [
                    torch.full((len(part[0]),), i, device=boxes.device)
                    for i, part in enumerate(parts)
                ]
            )
            there = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
            boxes, scores, level = boxes[there], scores[there], level[there]
            threshold = self.config.train_nms if for_training else self.config.test_nms
            kept = batched_nms(boxes, scores, level, threshold)[: self.config.proposals]
            found.append(boxes[kept])
        return found

    def _best(
        self, objectness: Tensor, deltas: Tensor, boxes: Tensor, size: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """The best anchors of one level of one image, decoded, and their scores."""
        scores = objectness.permute(1, 2, 0).flatten().sigmoid()
        # stable: of anchors with one score (1.0 in float32) the first comes first, on any machine
        scores, places = scores.sort(descending=True, stable=True)
        scores, places = (part[: self.config.candidates] for part in (scores, places))
        moves = deltas.permute(1, 2, 0).reshape(-1, 4)[places]
        return decode_boxes(boxes[places], moves, size=size), scores

    def losses(
        self,
        objectness: Sequence[Tensor],
        deltas: Sequence[Tensor],
        size: Sequence[int],
        targets: Sequence[Target],
        generators: Sequence[Generator],
    ) -> dict[str, Tensor]:
        """Cross-entropy of objects against background, and smooth L1 of the boxes.

        Both are divided by the number of sampled anchors of all images of all processes; an image
        without positive (negative) anchors counts as if it had one, as mmdet does.

        Args:
            objectness: as `forward` gives it.
            deltas: likewise.
            size: (H,W) of the images.
            targets: of every image.
            generators: of every image, for the choice of anchors.

        Returns:
            ``rpn_cls`` and ``rpn_box``.
        """
        all_anchors = torch.cat(self.anchors(objectness))
        scores = torch.cat([o.permute(0, 2, 3, 1).flatten(1) for o in objectness], 1)
        moves = torch.cat([d.permute(0, 2, 3, 1).reshape(len(d), -1, 4) for d in deltas], 1)
        usable = torch.ones(len(all_anchors), dtype=torch.bool, device=scores.device)
        if not self.config.allow_border:
            usable = inside(all_anchors, size)
        usable = usable.nonzero()[:, 0]
        cls, box, count = scores.sum() * 0, moves.sum() * 0, 0
        for image, (target, generator) in enumerate(zip(targets, generators, strict=True)):
            sample = self._sample(all_anchors[usable], target, generator)
            chosen, positive = usable[sample.chosen], usable[sample.positive]
            wanted = torch.zeros_like(scores[image, chosen])
            wanted[: len(positive)] = 1
            cls = cls + F.binary_cross_entropy_with_logits(
                scores[image, chosen], wanted, reduction="sum"
            )
            boxes = target.boxes.to(moves.dtype)[sample.target]
            code = encode_boxes(all_anchors[positive].to(moves.dtype), boxes)
            box = box + F.smooth_l1_loss(
                moves[image, positive], code, beta=self.config.beta, reduction="sum"
            )
            count += max(len(positive), 1) + max(len(sample.negative), 1)
        normaliser = mean_over_ranks(count, scores.device)
        return {"rpn_cls": cls / normaliser, "rpn_box": box / normaliser}

    def _sample(self, boxes: Tensor, target: Target, generator: Generator) -> Matched:
        config = self.config
        matched = match_boxes(
            boxes,
            target.boxes.to(boxes.dtype),
            config.positive_iou,
            config.negative_iou,
            config.least_iou,
        )
        matched = outside_ignored(matched, boxes, target.ignored, config.ignore_iof)
        return sample_matched(matched, config.samples, config.positive_share, generator)
