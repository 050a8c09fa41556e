"""The three-stage heads of UniRGB-IR's detector (Cascade R-CNN, Cai and Vasconcelos)."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torchvision.ops import roi_align

from rgbx.blocks.boxes import (
    decode_boxes,
    encode_boxes,
    match_boxes,
    mean_over_ranks,
    outside_ignored,
    sample_matched,
)
from rgbx.blocks.pyramid import ConvNorm
from rgbx.models.unirgb_ir.detector.options import CascadeConfig
from rgbx.models.unirgb_ir.detector.targets import Target

__all__ = ["SIDE", "BoxHead", "CascadeHeads", "pool_boxes", "pyramid_level"]

SIDE = 7
_TOGETHER = 128  # boxes of an inference on a processor that go through a head together
_FINEST = 56  # the side of a box up to twice which the finest level is read


def pyramid_level(boxes: Tensor, levels: int) -> Tensor:
    """(n,) which level of a pyramid boxes (n,4) are read from: the coarser the larger they are."""
    sides = (boxes[:, 2:] - boxes[:, :2]).prod(1).sqrt()
    return (sides / _FINEST + 1e-6).log2().floor().clamp(0, levels - 1).long()


def pool_boxes(
    maps: Sequence[Tensor], boxes: Sequence[Tensor], strides: Sequence[int] = (4, 8, 16, 32)
) -> Tensor:
    """What the pyramid shows in boxes: RoIAlign 7 x 7, adaptive sampling, half-pixel aligned.

    Args:
        maps: (B,c,h,w) of every level.
        boxes: (n,4) of every image.
        strides: of the levels.

    Returns:
        (N,c,7,7), float32 or wider, image after image.
    """
    if maps[0].is_meta:  # what costs are counted with: shapes alone, no values to choose levels by
        return maps[0].new_empty(sum(map(len, boxes)), maps[0].shape[1], SIDE, SIDE)
    count = torch.tensor([len(b) for b in boxes], device=maps[0].device)
    owner = torch.arange(len(boxes), device=maps[0].device).repeat_interleave(count)
    joined = torch.cat(list(boxes))
    level = pyramid_level(joined, len(maps))
    dtype = torch.promote_types(maps[0].dtype, torch.float32)
    rois = torch.cat([owner[:, None].to(dtype), joined.to(dtype)], 1)
    pooled = torch.zeros(len(rois), maps[0].shape[1], SIDE, SIDE, dtype=dtype, device=rois.device)
    for index, (features, stride) in enumerate(zip(maps, strides, strict=True)):
        places = (level == index).nonzero()[:, 0]
        found = roi_align(
            features.to(dtype), rois[places], SIDE, 1 / stride, sampling_ratio=0, aligned=True
        )
        pooled = pooled.index_put((places,), found)
    return pooled


class BoxHead(nn.Module):
    """Convolutions, one hidden layer, class logits and class-agnostic box deltas.

    Args:
        channels: c of the pooled maps.
        num_classes: K.
        fc_dim: width of the hidden layer.
        convs: number of 3x3 convolutions.

    Shape: (n,c,7,7) -> (n,K+1) logits, background last, and (n,4) deltas.
    """

    def __init__(self, channels: int, num_classes: int, fc_dim: int, convs: int) -> None:
        super().__init__()
        self.shared_convs = nn.ModuleList(ConvNorm(channels, channels, 3) for _ in range(convs))
        hidden = nn.Linear(channels * SIDE**2, fc_dim)
        self.shared_fcs = nn.ModuleList([hidden])
        self.fc_cls = nn.Linear(fc_dim, num_classes + 1)
        self.fc_reg = nn.Linear(fc_dim, 4)
        nn.init.xavier_uniform_(hidden.weight)
        nn.init.normal_(self.fc_cls.weight, std=0.01)
        nn.init.normal_(self.fc_reg.weight, std=0.001)
        for layer in (hidden, self.fc_cls, self.fc_reg):
            nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits and deltas, float32 or wider."""
        x = pooled
        for layer in self.shared_convs:
            x = layer(x).relu_()
        x = x.flatten(1)
        for layer in self.shared_fcs:
            x = layer(x).relu_()
        logits, deltas = self.fc_cls(x), self.fc_reg(x)
        dtype = torch.promote_types(logits.dtype, torch.float32)
        return logits.to(dtype), deltas.to(dtype)


class CascadeHeads(nn.Module):
    """Heads that see boxes, move them, and see them again; module names are the released ones.

    Args:
        channels: c of the pyramid.
        num_classes: K.
        strides: of the pyramid's levels that are read.
        config: what it decides.
    """

    def __init__(
        self,
        channels: int = 256,
        num_classes: int = 3,
        strides: Sequence[int] = (4, 8, 16, 32),
        config: CascadeConfig = CascadeConfig(),
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.strides = tuple(strides)
        self.config = config
        self.bbox_head = nn.ModuleList(
            BoxHead(channels, num_classes, config.fc_dim, config.convs) for _ in config.ious
        )

    def see(
        self, stage: int, maps: Sequence[Tensor], boxes: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Class logits (N,K+1) and deltas (N,4) of one stage for the boxes of all images."""
        head = self.bbox_head[stage]
        if torch.is_grad_enabled() or maps[0].device.type != "cpu":
            logits, deltas = head(pool_boxes(maps, boxes, self.strides))
            return logits, deltas
        # on a processor: heads on what fits into its cache; RoIAlign, a single thread, beside them
        parts = [(i, part) for i, own in enumerate(boxes) for part in own.split(_TOGETHER)]
        inference = torch.is_inference_mode_enabled()  # each thread has a mode of its own

        def pool(item: tuple[int, Tensor]) -> Tensor:
            image, part = item
            with torch.inference_mode(inference), torch.no_grad():
                own = [level[image : image + 1] for level in maps]
                return pool_boxes(own, [part], self.strides)

        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            found = [head(pooled) for pooled in threads.map(pool, parts)]
        logits, deltas = (torch.cat(columns) for columns in zip(*found, strict=True))
        return logits, deltas

    def forward(
        self, maps: Sequence[Tensor], proposals: Sequence[Tensor], size: Sequence[int]
    ) -> list[tuple[Tensor, Tensor]]:
        """What is in every image, before any threshold.

        Args:
            maps: (B,c,h,w) of the levels that are read.
            proposals: (n,4) of every image.
            size: (H,W) of the images; boxes are clipped to it.

        Returns:
            For every image boxes (n,4), and probabilities (n,K) of each class.
        """
        counts = [len(boxes) for boxes in proposals]
        boxes, stages = list(proposals), []
        for stage, stds in enumerate(self.config.stds):
            logits, deltas = self.see(stage, maps, boxes)
            stages.append(logits)
            moved = decode_boxes(torch.cat(boxes), deltas, stds, size)
            boxes = list(moved.split(counts))
        if self.config.average == "logits":
            scores = torch.stack(stages).mean(0).softmax(1)
        else:
            scores = torch.stack(stages).softmax(2).mean(0)
        return list(zip(boxes, scores[:, :-1].split(counts), strict=True))

    def losses(
        self,
        maps: Sequence[Tensor],
        proposals: Sequence[Tensor],
        size: Sequence[int],
        targets: Sequence[Target],
        generators: Sequence[Generator],
    ) -> dict[str, Tensor]:
        """Cross-entropy and smooth L1 of every stage.

        The targets themselves are among the boxes of every stage. Both losses are divided by the
        number of sampled boxes of all images of all processes.

        Args:
            maps: (B,c,h,w) of the levels that are read.
            proposals: (n,4) of every image, without gradient.
            size: (H,W) of the images.
            targets: of every image.
            generators: of every image, for the choice of boxes.

        Returns:
            ``s0_cls``, ``s0_box``, ``s1_cls``, ...
        """
        losses, boxes = {}, list(proposals)
        for stage, weight in enumerate(self.config.weights):
            stds = self.config.stds[stage]
            samples = [
                self._sample(stage, *image)
                for image in zip(boxes, targets, generators, strict=True)
            ]
            seen = [sample.boxes for sample in samples]
            logits, deltas = self.see(stage, maps, seen)
            labels = torch.cat([sample.labels for sample in samples])
            count = mean_over_ranks(len(labels), logits.device)
            positive = labels < self.num_classes
            wanted = torch.cat([sample.wanted for sample in samples])
            code = encode_boxes(torch.cat(seen)[positive], wanted, stds)
            cls = F.cross_entropy(logits, labels, reduction="sum")
            box = F.smooth_l1_loss(deltas[positive], code, beta=self.config.beta, reduction="sum")
            losses[f"s{stage}_cls"] = weight * cls / count
            losses[f"s{stage}_box"] = weight * box / count
            with torch.no_grad():
                moved = decode_boxes(torch.cat(seen), deltas.detach(), stds, size)
            moved = moved.split([len(b) for b in seen])
            boxes = [m[~sample.added] for m, sample in zip(moved, samples, strict=True)]
        return losses

    def _sample(
        self, stage: int, proposals: Tensor, target: Target, generator: Generator
    ) -> "_Sample":
        config = self.config
        own = target.boxes.to(proposals.dtype)
        boxes = torch.cat([own, proposals])
        iou = config.ious[stage]
        matched = match_boxes(boxes, own, iou, iou)
        matched = outside_ignored(matched, boxes, target.ignored, config.ignore_iof)
        matched = sample_matched(matched, config.samples, config.positive_share, generator)
        chosen = matched.chosen
        labels = torch.full_like(chosen, self.num_classes)
        labels[: len(matched.positive)] = target.labels[matched.target]
        return _Sample(boxes[chosen], labels, own[matched.target], chosen < len(own))


class _Sample:
    """The boxes of one image that a stage is trained on, the positive ones first."""

    def __init__(self, boxes: Tensor, labels: Tensor, wanted: Tensor, added: Tensor) -> None:
        self.boxes = boxes  # (n,4)
        self.labels = labels  # (n,) 0 to K-1, K for background
        self.wanted = wanted  # (p,4) the targets of the positive ones
        self.added = added  # (n,) which are targets themselves, and are not handed on
