"""UniRGB-IR for salient objects: arguments, BCE + IoU + SSIM."""

from typing import Literal

import torch
from torch import Tensor

from rgbx.backbones.weights import Weights
from rgbx.errors import RGBXError
from rgbx.losses import binary_cross_entropy, iou, ssim
from rgbx.losses.weights import check_loss_weights
from rgbx.models.unirgb_ir.module import UniRGBIRTask
from rgbx.models.unirgb_ir.network import build_network
from rgbx.optim.schedules import Poly, Schedule
from rgbx.tasks.base import OptimizerFactory, as_weights
from rgbx.tasks.saliency import IGNORE, SaliencyModule

__all__ = ["UniRGBIRSaliency"]

_LOSSES = {"bce": binary_cross_entropy, "iou": iou, "ssim": ssim}


class UniRGBIRSaliency(UniRGBIRTask, SaliencyModule):
    """Salient objects in RGB and infrared on an adapted ViT (Yuan et al., "UniRGB-IR").

    The network of `UniRGBIRSemantic` with one output, before the sigmoid.

    Args:
        encoder: ``vit_b`` (the paper) or ``tiny``.
        weights: ViTDet's pickle, MAE's ViT-B, or a UniRGB-IR backbone; None for random numbers
            (announced).
        img_size: side in pixels that the relative position tables of global attention are made
            for; other sizes interpolate them.
        main_modality: which modality the ViT sees.
        norm: ``bn``: BatchNorm (``trainer.sync_batchnorm`` for several GPUs, as the authors);
            ``gn``: GroupNorm, which does not depend on the batch.
        num_stages: parts that the ViT's blocks are divided into.
        drop_path: largest rate of stochastic depth, that of the last block; runs in training
            although the blocks are frozen.
        train_rel_pos: train the relative position tables (the authors' code); false: the entire
            ViT is frozen (the paper's wording).
        bce_weight: weight of the binary cross-entropy; 0 leaves it out, as with the next two.
        iou_weight: weight of the IoU loss.
        ssim_weight: weight of the SSIM loss.
        aux_weight: weight of each of the auxiliary heads' losses; 0 leaves the heads out.
        checkpoint_blocks: recompute ViT blocks in the backward pass (less memory, more time).
        optimizer: from trainable parameters to an optimiser.
        schedule: learning-rate schedule, per optimiser step.

    Raises:
        RGBXError: an option has a value that cannot work.
        WeightsError: a weight file is missing, damaged or of another model.
    """

    def __init__(
        self,
        encoder: str = "vit_b",
        weights: Weights | None = None,
        img_size: int = 512,
        main_modality: Literal["rgb", "ir"] = "rgb",
        norm: Literal["bn", "gn"] = "bn",
        num_stages: int = 4,
        drop_path: float = 0.3,
        train_rel_pos: bool = True,
        bce_weight: float = 1.0,
        iou_weight: float = 1.0,
        ssim_weight: float = 1.0,
        aux_weight: float = 0.4,
        checkpoint_blocks: bool = False,
        optimizer: OptimizerFactory = lambda p: torch.optim.SGD(
            p, lr=0.01, momentum=0.9, weight_decay=5e-4
        ),
        schedule: Schedule = Poly(power=0.9, warmup_epochs=0, final=0.01),
    ) -> None:
        arguments = dict(locals())
        super().__init__(optimizer, schedule)
        self.keep_arguments(arguments)
        self.loss_weights = {"bce": bce_weight, "iou": iou_weight, "ssim": ssim_weight}
        check_loss_weights(bce_weight=bce_weight, iou_weight=iou_weight, ssim_weight=ssim_weight)
        self.network = build_network(
            encoder,
            as_weights(weights),
            1,
            norm,
            auxiliary=self.check_aux_weight(aux_weight),
            img_size=img_size,
            main_modality=main_modality,
            num_stages=num_stages,
            drop_path=drop_path,
            train_rel_pos=train_rel_pos,
            checkpoint_blocks=checkpoint_blocks,
        )

    def forward(self, rgb: Tensor, x: Tensor | None = None) -> Tensor:
        """The prediction before the sigmoid, at the size of the input.

        Args:
            rgb: (B,3,H,W) float, normalised as the data module does; any H and W.
            x: (B,1,H,W) or (B,3,H,W) float, the second modality.

        Returns:
            (B,1,H,W) logits.
        """
        return self.logits(rgb, x)

    def losses(self, logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """BCE, IoU and SSIM losses, those with a weight.

        Args:
            logits: (B,1,H,W).
            mask: (B,1,H,W) float in [0, 1], or (B,H,W) int64 ids 0 and 1.

        Raises:
            RGBXError: the mask has unlabelled pixels (scribbles).
        """
        if not mask.is_floating_point():
            if bool((mask == IGNORE).any()):
                raise RGBXError(
                    "UniRGBIRSaliency needs full masks: its IoU and SSIM losses look at pixels "
                    "that scribbles leave unlabelled; leave out data.scribbles, or use SAMSOD."
                )
            mask = mask[:, None].to(logits.dtype)
        weights = {name: weight for name, weight in self.loss_weights.items() if weight}
        return {name: weight * _LOSSES[name](logits, mask) for name, weight in weights.items()}
