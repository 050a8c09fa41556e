"""UniRGB-IR for RGB-IR object detection: arguments, losses, what a file of it returns."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Generator, Tensor
from typing_extensions import Self

from rgbx.backbones.weights import Weights
from rgbx.errors import RGBXError
from rgbx.models.unirgb_ir.detector.export import cascade_parts, fcos_part
from rgbx.models.unirgb_ir.detector.network import (
    CascadeDetector,
    FCOSDetector,
    build_detector,
    select_boxes,
)
from rgbx.models.unirgb_ir.detector.options import CascadeConfig, FCOSConfig, RPNConfig
from rgbx.models.unirgb_ir.detector.targets import Target
from rgbx.models.unirgb_ir.detector.weights import fill_detector
from rgbx.optim.schedules import Poly, Schedule
from rgbx.tasks.base import OptimizerFactory, as_config, as_weights
from rgbx.tasks.detection import DetectionEvalConfig, DetectionModule
from rgbx.tasks.export_part import Part
from rgbx.tasks.image_input import check_rgb, check_x

__all__ = ["UniRGBIRDetection"]

FLIR_CLASSES = ("car", "person", "bicycle")


class UniRGBIRDetection(DetectionModule):
    """RGB-IR object detection on an adapted ViT (Yuan et al., "UniRGB-IR").

    The backbone of `UniRGBIRSemantic`; a simple pyramid of its last map; then region proposals and
    a three-stage cascade (`head: cascade`, the paper), or a single-stage head without anchors
    (`head: fcos`), which needs a fraction of the memory.

    Args:
        encoder: ``vit_b`` (the paper) or ``tiny``.
        weights: ViTDet's pickle, MAE's ViT-B, a UniRGB-IR backbone or a whole released detector;
            None for random numbers (announced).
        num_classes: K, without background; linked to the data module on the command line.
        class_names: K names; linked likewise.
        head: ``cascade`` or ``fcos``.
        channels: of the pyramid.
        init_heads: ``random`` (the paper), or ``coco``: pyramid, proposals and heads from ViTDet's
            COCO detector, rows of classes by name.
        keep_rel_pos: take the relative position tables of ViTDet's file, which the authors drop.
        img_size: side in pixels that the relative position tables of global attention are made
            for; other sizes interpolate them.
        main_modality: which modality the ViT sees.
        norm: of the feature pool. ``bn``: BatchNorm (``trainer.sync_batchnorm`` for several GPUs,
            as the authors); ``gn``: GroupNorm, which does not depend on the batch.
        num_stages: parts that the ViT's blocks are divided into.
        drop_path: largest rate of stochastic depth, that of the last block.
        train_rel_pos: train the relative position tables.
        checkpoint_blocks: recompute ViT blocks in the backward pass (less memory, more time).
        rpn: the proposals, see `RPNConfig`.
        cascade: the heads, see `CascadeConfig`.
        fcos: the other head, see `FCOSConfig`.
        evaluation: what counts as a detection, see `DetectionEvalConfig`.
        optimizer: from trainable parameters to an optimiser.
        schedule: learning-rate schedule, per optimiser step.

    Raises:
        RGBXError: an option has a value that cannot work.
        WeightsError: a weight file is missing, damaged or of another model.
    """

    published: ClassVar[Path] = Path(__file__).with_name("published.yaml")
    size_multiple = 1  # the backbone pads
    outside_forward: ClassVar[tuple[str, ...]] = (
        "init_heads",
        "keep_rel_pos",
        "evaluation",
        "rpn.train_nms",
        "rpn.positive_iou",
        "rpn.negative_iou",
        "rpn.least_iou",
        "rpn.samples",
        "rpn.positive_share",
        "rpn.allow_border",
        "rpn.beta",
        "rpn.ignore_iof",
        "cascade.ious",
        "cascade.weights",
        "cascade.samples",
        "cascade.positive_share",
        "cascade.beta",
        "cascade.ignore_iof",
        "fcos.radius",
        "fcos.ranges",
        "fcos.alpha",
        "fcos.gamma",
        "fcos.skip_ignored",
    )
    parts: ClassVar[dict[str, str]] = {
        "feature pool (MFP)": r"adapter_spm|adapter_level_embed",
        "injectors (SFI)": "adapter_stages",
        "gates": "adapter_grus",
        "relative positions": "rel_pos",
        "pyramid": r"network\.neck\.",
        "proposals": r"network\.rpn_head\.",
        "heads": r"network\.(roi|fcos)_head\.",
    }

    def __init__(
        self,
        encoder: str = "vit_b",
        weights: Weights | None = None,
        num_classes: int = 3,
        class_names: Sequence[str] | None = None,
        head: Literal["cascade", "fcos"] = "cascade",
        channels: int = 256,
        init_heads: Literal["random", "coco"] = "random",
        keep_rel_pos: bool = False,
        img_size: int = 1024,
        main_modality: Literal["rgb", "ir"] = "rgb",
        norm: Literal["bn", "gn"] = "bn",
        num_stages: int = 4,
        drop_path: float = 0.3,
        train_rel_pos: bool = True,
        checkpoint_blocks: bool = False,
        rpn: RPNConfig = RPNConfig(),
        cascade: CascadeConfig = CascadeConfig(),
        fcos: FCOSConfig = FCOSConfig(),
        evaluation: DetectionEvalConfig = DetectionEvalConfig(),
        optimizer: OptimizerFactory = lambda p: torch.optim.AdamW(p, lr=1e-4, weight_decay=0.1),
        schedule: Schedule = Poly(power=0.9, warmup_epochs=1.0, final=0.01),
    ) -> None:
        rpn, cascade = as_config(RPNConfig, rpn), as_config(CascadeConfig, cascade)
        fcos, evaluation = as_config(FCOSConfig, fcos), as_config(DetectionEvalConfig, evaluation)
        class_names = _class_names(num_classes, class_names)
        if head not in ("cascade", "fcos"):
            raise RGBXError(f"head is {head!r}: choose cascade or fcos.")
        arguments = dict(locals())
        super().__init__(num_classes, class_names, evaluation, optimizer, schedule)
        self.keep_arguments(arguments)
        weights = as_weights(weights)
        self.network = build_detector(
            encoder,
            weights,
            num_classes,
            head,
            channels,
            norm,
            rpn,
            cascade,
            fcos,
            img_size=img_size,
            main_modality=main_modality,
            num_stages=num_stages,
            drop_path=drop_path,
            train_rel_pos=train_rel_pos,
            checkpoint_blocks=checkpoint_blocks,
        )
        fill_detector(self.network, weights, init_heads, keep_rel_pos, self.class_names)

    def losses(
        self,
        rgb: Tensor,
        x: Tensor | None,
        targets: Sequence[Mapping[str, Tensor]],
        seeds: Sequence[int],
    ) -> dict[str, Tensor]:
        """Of the cascade ``rpn_cls``, ``rpn_box``, ``sI_cls``, ``sI_box``; of FCOS three."""
        rgb, ir = self._checked(rgb, x)
        wanted = [Target.of(target, rgb) for target in targets]
        generators = [Generator().manual_seed(int(seed)) for seed in seeds]
        return self.network.losses(rgb, ir, wanted, generators)

    def forward(self, rgb: Tensor, x: Tensor | None = None) -> list[dict[str, Tensor]]:
        """Detections in pixels of the input, see `DetectionModule.forward`."""
        rgb, ir = self._checked(rgb, x)
        rule = self.evaluation
        return [
            select_boxes(*image, rule.threshold, rule.nms, rule.most)
            for image in self.network.raw(rgb, ir)
        ]

    def raw_output(self, batch: Mapping[str, Any]) -> list[Tensor]:
        """For every image (n,4+K): decoded boxes and scores of each class, before NMS."""
        rgb, ir = self._checked(*self.inputs(batch))
        return [torch.cat(image, 1) for image in self.network.raw(rgb, ir)]

    def export_parts(self, merged: Self, size: tuple[int, int]) -> list[Part]:
        """Three files of the cascade, one of FCOS; none holds an NMS.

        Args:
            merged: a copy of this model.
            size: (H,W) of the images.
        """
        own, copied = self.network, merged.network
        if isinstance(own, CascadeDetector):
            assert isinstance(copied, CascadeDetector)
            return cascade_parts(own, copied, size)
        assert isinstance(copied, FCOSDetector)
        return [fcos_part(own, copied, size)]

    def _checked(self, rgb: Tensor, x: Tensor | None) -> tuple[Tensor, Tensor]:
        check_rgb(type(self).__name__, rgb)
        return rgb, check_x(type(self).__name__, rgb, x)


def _class_names(num_classes: int, given: Sequence[str] | None) -> Sequence[str]:
    """FLIR's three classes, or numbers, where nothing is said."""
    if given is not None:
        return given
    numbered = [f"class {i}" for i in range(max(num_classes, 0))]
    return FLIR_CLASSES if num_classes == len(FLIR_CLASSES) else numbered
