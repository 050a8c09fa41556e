"""UniRGB-IR for semantic segmentation: arguments, weighted cross-entropy, class weights."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from rgbx.backbones.weights import Weights
from rgbx.errors import RGBXError
from rgbx.losses import weighted_cross_entropy
from rgbx.models.unirgb_ir.class_weights import ClassWeights, enet_weights, given_weights
from rgbx.models.unirgb_ir.module import UniRGBIRTask
from rgbx.models.unirgb_ir.network import build_network
from rgbx.optim.schedules import Poly, Schedule
from rgbx.tasks.base import OptimizerFactory, as_weights
from rgbx.tasks.semantic import MFNET_CLASSES, SemanticModule

__all__ = ["UniRGBIRSemantic"]


class UniRGBIRSemantic(UniRGBIRTask, SemanticModule):
    """RGB-IR semantic segmentation on an adapted ViT (Yuan et al., "UniRGB-IR").

    The plain ViT sees one modality and stays frozen but for its relative position tables. A small
    CNN makes a feature pool of both modalities (MFP); before every stage, the tokens draw from the
    pool by deformable attention (SFI). An MLA neck and a SETR-MLA head classify.

    Images of any size: sides are padded to multiples of 16 inside, and predictions cropped.

    Args:
        encoder: ``vit_b`` (the paper) or ``tiny``.
        weights: ViTDet's pickle, MAE's ViT-B, or a UniRGB-IR backbone; None for random numbers
            (announced).
        num_classes: K; linked to the data module on the command line.
        class_names: K names; linked likewise.
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
        class_weights: ``enet``: 1 / ln(1.02 + f) of the frequencies f in the training set,
            computed when training begins and kept in checkpoints; K numbers; null for none.
        aux_weight: weight of each of the auxiliary heads' losses; 0 leaves the heads out.
        checkpoint_blocks: recompute ViT blocks in the backward pass (less memory, more time).
        optimizer: from trainable parameters to an optimiser.
        schedule: learning-rate schedule, per optimiser step.

    Raises:
        RGBXError: an option has a value that cannot work, such as weights that are not K.
        WeightsError: a weight file is missing, damaged or of another model.
    """

    def __init__(
        self,
        encoder: str = "vit_b",
        weights: Weights | None = None,
        num_classes: int = 9,
        class_names: Sequence[str] = MFNET_CLASSES,
        img_size: int = 512,
        main_modality: Literal["rgb", "ir"] = "rgb",
        norm: Literal["bn", "gn"] = "bn",
        num_stages: int = 4,
        drop_path: float = 0.3,
        train_rel_pos: bool = True,
        class_weights: ClassWeights = "enet",
        aux_weight: float = 0.4,
        checkpoint_blocks: bool = False,
        optimizer: OptimizerFactory = lambda p: torch.optim.SGD(
            p, lr=0.01, momentum=0.9, weight_decay=5e-4
        ),
        schedule: Schedule = Poly(power=0.9, warmup_epochs=0, final=0.01),
    ) -> None:
        arguments = dict(locals())
        super().__init__(num_classes, class_names, optimizer, schedule)
        self.keep_arguments(arguments)
        # stored in checkpoints, which so say what was trained on
        self.register_buffer("class_weights", given_weights(class_weights, num_classes))
        self._knows_weights = class_weights != "enet"
        self.network = build_network(
            encoder,
            as_weights(weights),
            num_classes,
            norm,
            auxiliary=self.check_aux_weight(aux_weight),
            img_size=img_size,
            main_modality=main_modality,
            num_stages=num_stages,
            drop_path=drop_path,
            train_rel_pos=train_rel_pos,
            checkpoint_blocks=checkpoint_blocks,
        )

    def low_resolution(self, rgb: Tensor, x: Tensor | None) -> Tensor:
        """Class logits (B,K,H,W): already at the size of the input, as the authors test.

        Their logits are enlarged from stride 4 to the network's input, then to the mask.
        """
        return self.logits(rgb, x)

    def losses(self, logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Cross-entropy, weighted by class and divided by all pixels.

        Raises:
            RGBXError: ``class_weights`` is enet, and no training set has been seen.
        """
        if not self._knows_weights:
            raise RGBXError(
                "class_weights is enet, but no training set has been counted: train with a data "
                "module, or give class_weights numbers or null."
            )
        return {"ce": weighted_cross_entropy(logits, mask, self.get_buffer("class_weights"))}

    # ------------------------------------------------------------------ class weights
    def on_fit_start(self) -> None:
        """Count the classes of the training set, once; a resumed run has its weights already.

        Here and not in ``setup``, which comes before a checkpoint is read.
        """
        super().on_fit_start()
        if self._knows_weights:
            return
        if not hasattr(self._data, "class_frequencies"):
            raise RGBXError(
                "class_weights is enet, which asks a data module for the class frequencies of its "
                "training set, and there is none that could tell: give numbers, or null."
            )
        self.get_buffer("class_weights").copy_(enet_weights(self._data.class_frequencies("train")))
        self._knows_weights = True
        if self.trainer.is_global_zero:
            named = zip(self.class_names, self.get_buffer("class_weights").tolist(), strict=True)
            text = ", ".join(f"{name} {weight:.4g}" for name, weight in named)
            print(f"class weights (ENet, training set): {text}", flush=True)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As every model; weights that were computed come with the checkpoint.

        Weights that are given, or null, are the configuration's: it wins.
        """
        super().on_load_checkpoint(checkpoint)
        computed = checkpoint["hyper_parameters"].get("class_weights") == "enet"
        if computed and self.hparams["class_weights"] == "enet":
            self._knows_weights = True
        else:
            checkpoint["state_dict"]["class_weights"] = self.get_buffer("class_weights").clone()
