"""UniRGB-IR's detector: adapted backbone, pyramid, and one of two heads."""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Generator, Tensor, nn
from torchvision.ops import batched_nms

from rgbx.backbones.weights import Weights
from rgbx.blocks.conv import Norm
from rgbx.blocks.pyramid import SimpleFPN
from rgbx.models.unirgb_ir.backbone import UniRGBIRBackbone
from rgbx.models.unirgb_ir.build import build_backbone
from rgbx.models.unirgb_ir.detector.cascade import CascadeHeads
from rgbx.models.unirgb_ir.detector.fcos import FCOSHead
from rgbx.models.unirgb_ir.detector.options import CascadeConfig, FCOSConfig, RPNConfig
from rgbx.models.unirgb_ir.detector.rpn import RPN
from rgbx.models.unirgb_ir.detector.targets import Target

__all__ = ["CascadeDetector", "FCOSDetector", "build_detector", "select_boxes"]


def select_boxes(
    boxes: Tensor, scores: Tensor, threshold: float, iou: float, most: int
) -> dict[str, Tensor]:
    """Detections of one image: scores above a threshold, NMS class by class, the best of them.

    Args:
        boxes: (n,4), of all classes.
        scores: (n,K).
        threshold: see there.
        iou: of the NMS.
        most: detections that are kept.

    Returns:
        ``boxes`` (m,4), ``scores`` (m,) falling, ``labels`` (m,) 0 to K-1.
    """
    place, label = (scores > threshold).nonzero(as_tuple=True)
    chosen, score = boxes[place], scores[place, label]
    kept = batched_nms(chosen, score, label, iou)[:most]
    return {"boxes": chosen[kept], "scores": score[kept], "labels": label[kept]}


class _Detector(nn.Module):
    """What both heads share: backbone and pyramid."""

    def __init__(self, backbone: UniRGBIRBackbone, channels: int, first_stride: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = SimpleFPN(backbone.vit.config.dim, channels, first_stride)

    def maps(self, rgb: Tensor, ir: Tensor) -> list[Tensor]:
        """The pyramid of images (B,3,H,W) and (B,1|3,H,W)."""
        pyramid: list[Tensor] = self.neck(self.backbone(rgb, ir)[-1])
        return pyramid

    def raw(self, rgb: Tensor, ir: Tensor) -> list[tuple[Tensor, Tensor]]:
        """For every image boxes (n,4) and scores (n,K), before threshold and NMS."""
        raise NotImplementedError

    def forward(
        self, rgb: Tensor, ir: Tensor, threshold: float = 0.05, iou: float = 0.5, most: int = 2000
    ) -> list[dict[str, Tensor]]:
        """The detections of every image, see `select_boxes`."""
        return [select_boxes(*image, threshold, iou, most) for image in self.raw(rgb, ir)]


class CascadeDetector(_Detector):
    """The paper's detector, with the tensor names of its released files below the backbone.

    Args:
        backbone: the frozen ViT with its adapter.
        num_classes: K.
        channels: c of the pyramid.
        rpn: options of the proposals.
        cascade: options of the heads.

    Shape: rgb (B,3,H,W), ir (B,1|3,H,W) -> a list of B dicts, see `select_boxes`.
    """

    def __init__(
        self,
        backbone: UniRGBIRBackbone,
        num_classes: int,
        channels: int = 256,
        rpn: RPNConfig = RPNConfig(),
        cascade: CascadeConfig = CascadeConfig(),
    ) -> None:
        super().__init__(backbone, channels, first_stride=4)
        self.rpn_head = RPN(channels, self.neck.strides, rpn)
        self.roi_head = CascadeHeads(channels, num_classes, self.neck.strides[:-1], cascade)

    def raw(self, rgb: Tensor, ir: Tensor) -> list[tuple[Tensor, Tensor]]:
        """See the base; from the proposals of a test."""
        maps, size = self.maps(rgb, ir), rgb.shape[-2:]
        objectness, deltas = self.rpn_head(maps)
        proposals = self.rpn_head.proposals(objectness, deltas, size)
        found: list[tuple[Tensor, Tensor]] = self.roi_head(maps[:-1], proposals, size)
        return found

    def losses(
        self,
        rgb: Tensor,
        ir: Tensor,
        targets: Sequence[Target],
        generators: Sequence[Generator],
    ) -> dict[str, Tensor]:
        """``rpn_cls``, ``rpn_box``, and ``sI_cls``, ``sI_box`` of every stage I.

        Args:
            rgb: (B,3,H,W).
            ir: (B,1|3,H,W).
            targets: of every image, in pixels of the input.
            generators: of every image, on the CPU: what anchors and boxes are sampled with.
        """
        maps, size = self.maps(rgb, ir), rgb.shape[-2:]
        objectness, deltas = self.rpn_head(maps)
        losses = self.rpn_head.losses(objectness, deltas, size, targets, generators)
        proposals = self.rpn_head.proposals(objectness, deltas, size, for_training=True)
        return losses | self.roi_head.losses(maps[:-1], proposals, size, targets, generators)


class FCOSDetector(_Detector):
    """A lighter detector on the same backbone: pyramid from stride 8 on, one `FCOSHead`.

    Args:
        backbone: the frozen ViT with its adapter.
        num_classes: K.
        channels: c of the pyramid.
        fcos: options of the head.

    Shape: as `CascadeDetector`.
    """

    def __init__(
        self,
        backbone: UniRGBIRBackbone,
        num_classes: int,
        channels: int = 256,
        fcos: FCOSConfig = FCOSConfig(),
    ) -> None:
        super().__init__(backbone, channels, first_stride=8)
        self.fcos_head = FCOSHead(channels, num_classes, self.neck.strides, fcos)

    def raw(self, rgb: Tensor, ir: Tensor) -> list[tuple[Tensor, Tensor]]:
        """See the base; the best cells of every level."""
        found: list[tuple[Tensor, Tensor]] = self.fcos_head.decode(
            self.maps(rgb, ir), rgb.shape[-2:]
        )
        return found

    def cells(self, rgb: Tensor, ir: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (B,N,4) and scores (B,N,K) of all cells."""
        found: tuple[Tensor, Tensor] = self.fcos_head.decoded(self.maps(rgb, ir), rgb.shape[-2:])
        return found

    def losses(
        self,
        rgb: Tensor,
        ir: Tensor,
        targets: Sequence[Target],
        generators: Sequence[Generator] = (),
    ) -> dict[str, Tensor]:
        """``cls``, ``box`` and ``centre``; nothing is sampled, so generators are not used."""
        return self.fcos_head.losses(self.maps(rgb, ir), targets)


def build_detector(
    encoder: str,
    weights: Weights | None,
    num_classes: int,
    head: Literal["cascade", "fcos"] = "cascade",
    channels: int = 256,
    norm: Norm = "bn",
    rpn: RPNConfig = RPNConfig(),
    cascade: CascadeConfig = CascadeConfig(),
    fcos: FCOSConfig = FCOSConfig(),
    **options: Any,
) -> CascadeDetector | FCOSDetector:
    """A detector on a preset's backbone.

    Args:
        encoder: ``vit_b`` or ``tiny``.
        weights: of the backbone; None for random numbers (announced).
        num_classes: K.
        head: which one.
        channels: c of the pyramid.
        norm: of the feature pool's convolutions.
        rpn: options of the cascade's proposals.
        cascade: options of its heads.
        fcos: options of the other head.
        **options: further arguments of `UniRGBIRBackbone`.

    Raises:
        RGBXError: no such encoder or head, or an option that cannot work.
        WeightsError: the weight file is missing, damaged or of another model.
    """
    backbone = build_backbone(encoder, weights, norm=norm, **options)
    if head == "cascade":
        return CascadeDetector(backbone, num_classes, channels, rpn, cascade)
    return FCOSDetector(backbone, num_classes, channels, fcos)
