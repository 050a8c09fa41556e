"""What a detector becomes in files without Python: tensors in, tensors out, no NMS inside.

The cascade is three files: ``pyramid`` (images -> features), ``proposals`` (features -> boxes and
scores of all anchors) and ``heads`` (features and boxes -> boxes and scores of each class). FCOS is
one file. The README of the model folder has the NMS between and behind them in numpy.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torchvision.ops import roi_align

from rgbx.blocks.boxes import clip_boxes, decode_boxes
from rgbx.models.unirgb_ir.detector.cascade import SIDE, pyramid_level
from rgbx.models.unirgb_ir.detector.network import CascadeDetector, FCOSDetector
from rgbx.tasks.export_part import RGB, Part, Port, Sizes, X, example_images

__all__ = ["cascade_parts", "fcos_part"]

_PATCH = 16


def level_sizes(size: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """(h,w) of every level of the pyramid for images of (H,W)."""
    h, w = (-(-side // _PATCH) for side in size)
    found = {4: (4 * h, 4 * w), 8: (2 * h, 2 * w), 16: (h, w), 32: (h // 2, w // 2)}
    found[64] = tuple(-(-side // 2) for side in found[32])  # type: ignore[assignment]
    return [found[stride] for stride in strides]


class _Features(nn.Module):
    """Levels of the pyramid flattened, one behind the other, and back."""

    def __init__(self, size: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.sizes = level_sizes(size, strides)
        self.counts = [h * w for h, w in self.sizes]

    def join(self, maps: Sequence[Tensor]) -> Tensor:
        return torch.cat([level.flatten(2) for level in maps], 2)

    def split(self, features: Tensor) -> list[Tensor]:
        edges = [0]
        for count in self.counts:
            edges.append(edges[-1] + count)
        parts = (features[..., a:b] for a, b in pairwise(edges))
        return [part.unflatten(2, size) for part, size in zip(parts, self.sizes, strict=True)]


class _Pyramid(nn.Module):
    def __init__(self, detector: CascadeDetector, size: Sequence[int]) -> None:
        super().__init__()
        self.backbone, self.neck = detector.backbone, detector.neck
        self.features = _Features(size, detector.neck.strides)

    def forward(self, rgb: Tensor, x: Tensor) -> Tensor:
        return self.features.join(self.neck(self.backbone(rgb, x)[-1]))


class _Proposals(nn.Module):
    def __init__(self, detector: CascadeDetector, size: Sequence[int]) -> None:
        super().__init__()
        self.rpn_head, self.size = detector.rpn_head, tuple(size)
        self.features = _Features(size, detector.neck.strides)
        maps = [torch.empty(1, 1, *level, device="cpu") for level in self.features.sizes]
        self.register_buffer("boxes", torch.cat(self.rpn_head.anchors(maps)), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        objectness, deltas = self.rpn_head(self.features.split(features))
        scores = torch.cat([o.permute(0, 2, 3, 1).flatten(1) for o in objectness], 1).sigmoid()
        moves = torch.cat(
            [d.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 4)) for d in deltas], 1
        )
        boxes = decode_boxes(self.get_buffer("boxes"), moves, size=self.size)
        return torch.cat([boxes, scores[..., None]], 2)


class _Heads(nn.Module):
    def __init__(self, detector: CascadeDetector, size: Sequence[int]) -> None:
        super().__init__()
        self.roi_head, self.size = detector.roi_head, tuple(size)
        self.features = _Features(size, detector.neck.strides)

    def forward(self, features: Tensor, boxes: Tensor) -> Tensor:
        maps = self.features.split(features)[: len(self.roi_head.strides)]
        batch, count = boxes.shape[0], boxes.shape[1]
        owner = torch.arange(batch, device=boxes.device)[:, None, None].expand(batch, count, 1)
        owner = owner.reshape(-1, 1).to(boxes.dtype)
        current, logits = boxes.reshape(-1, 4), []
        for head, stds in zip(self.roi_head.bbox_head, self.roi_head.config.stds, strict=True):
            found, deltas = head(self._pool(maps, owner, current))
            logits.append(found)
            current = decode_boxes(current, deltas, stds, self.size)
        if self.roi_head.config.average == "logits":
            scores = torch.stack(logits).mean(0).softmax(1)
        else:
            scores = torch.stack(logits).softmax(2).mean(0)
        return torch.cat([current, scores[:, :-1]], 1).unflatten(0, (batch, count))

    def _pool(self, maps: Sequence[Tensor], owner: Tensor, boxes: Tensor) -> Tensor:
        """As `pool_boxes`, every level read for every box: lengths do not depend on values."""
        level, rois = pyramid_level(boxes, len(maps)), torch.cat([owner, boxes], 1)
        pooled = None
        for index, (features, stride) in enumerate(zip(maps, self.roi_head.strides, strict=True)):
            found = roi_align(features, rois, SIDE, 1 / stride, sampling_ratio=0, aligned=True)
            found = found * (level == index)[:, None, None, None]
            pooled = found if pooled is None else pooled + found
        assert pooled is not None
        return pooled


class _Reference(nn.Module):
    """The heads as the detector runs them."""

    def __init__(self, detector: CascadeDetector, size: Sequence[int]) -> None:
        super().__init__()
        self.heads, self.size = detector.roi_head, tuple(size)
        self.features = _Features(size, detector.neck.strides)

    def forward(self, features: Tensor, boxes: Tensor) -> Tensor:
        maps = self.features.split(features)[: len(self.heads.strides)]
        found = self.heads(maps, list(boxes), self.size)
        return torch.stack([torch.cat(image, 1) for image in found])


class _Cells(nn.Module):
    """All cells of FCOS, decoded."""

    def __init__(self, detector: FCOSDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, rgb: Tensor, x: Tensor) -> Tensor:
        return torch.cat(self.detector.cells(rgb, x), 2)


def _images(size: tuple[int, int]) -> tuple[Port, Port]:
    shape = ("batch", 3, *size)
    return Port("rgb", shape, RGB), Port("x", shape, X)


def cascade_parts(
    detector: CascadeDetector, merged: CascadeDetector, size: tuple[int, int]
) -> list[Part]:
    """The three files of a cascade.

    Args:
        detector: as trained.
        merged: a copy of it.
        size: (H,W) of the images.
    """
    features = _Features(size, merged.neck.strides)
    levels = ", ".join(f"{h} x {w}" for h, w in features.sizes)
    ratios = len(merged.rpn_head.config.ratios)
    rows = [ratios * count for count in features.counts]
    num_classes = merged.roi_head.num_classes
    packed = Port(
        "features",
        ("batch", merged.neck.channels, sum(features.counts)),
        f"maps of the pyramid, flattened, one behind the other: {levels} (height x width)",
    )
    boxes = Port("boxes", ("batch", "boxes", 4), "x1, y1, x2, y2 in pixels of the input")
    batches: dict[str, Sizes] = {"traced": {"batch": 2}}
    checked = ({"batch": 1}, {"batch": 3})

    def images(sizes: Sizes, generator: Generator) -> tuple[Tensor, ...]:
        return tuple(example_images(sizes["batch"], size, generator) for _ in range(2))

    def maps(sizes: Sizes, generator: Generator) -> tuple[Tensor, ...]:
        return (torch.randn(sizes["batch"], *packed.shape[1:], generator=generator),)  # type: ignore[arg-type]

    def seen(sizes: Sizes, generator: Generator) -> tuple[Tensor, ...]:
        corner = torch.rand(sizes["batch"], sizes["boxes"], 2, generator=generator) * 0.8
        side = torch.rand(sizes["batch"], sizes["boxes"], 2, generator=generator) * 0.5 + 0.02
        scale = torch.tensor([size[1], size[0]] * 2)
        found = clip_boxes(torch.cat([corner, corner + side], 2) * scale, size)
        return (*maps(sizes, generator), found)

    meaning = (
        f"of every anchor x1, y1, x2, y2 in pixels and a score in [0, 1]; levels of {rows} rows: "
        "take the best of each, then NMS level by level"
    )
    proposals = Port("proposals", ("batch", sum(rows), 5), meaning)
    meaning = "of every box x1, y1, x2, y2 in pixels, then the score of each class; before NMS"
    detections = Port("detections", ("batch", "boxes", 4 + num_classes), meaning)
    more = ({"batch": 1, "boxes": 1}, {"batch": 2, "boxes": 7})
    return [
        Part(
            "pyramid",
            _Pyramid(merged, size),
            _Pyramid(detector, size),
            _images(size),
            packed,
            images,
            batches["traced"],
            checked,
        ),
        Part(
            "proposals",
            _Proposals(merged, size),
            _Proposals(detector, size),
            (packed,),
            proposals,
            maps,
            batches["traced"],
            checked,
        ),
        Part(
            "heads",
            _Heads(merged, size),
            _Reference(detector, size),
            (packed, boxes),
            detections,
            seen,
            {"batch": 2, "boxes": 5},
            more,
        ),
    ]


def fcos_part(detector: FCOSDetector, merged: FCOSDetector, size: tuple[int, int]) -> Part:
    """The one file of an FCOS detector.

    Args:
        detector: as trained.
        merged: a copy of it.
        size: (H,W) of the images.
    """
    cells = sum(_Features(size, merged.neck.strides).counts)
    columns = 4 + merged.fcos_head.num_classes
    meaning = (
        "of every cell x1, y1, x2, y2 in pixels of the input, then the score of each class; before "
        "NMS"
    )

    def images(sizes: Sizes, generator: Generator) -> tuple[Tensor, ...]:
        return tuple(example_images(sizes["batch"], size, generator) for _ in range(2))

    return Part(
        "",
        _Cells(merged),
        _Cells(detector),
        _images(size),
        Port("detections", ("batch", cells, columns), meaning),
        images,
        {"batch": 2},
        ({"batch": 1}, {"batch": 3}),
    )
