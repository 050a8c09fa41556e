"""MCA-SAM, and SAM-Adapter as a setting of it, as a LightningModule."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor

from rgbx.backbones.sam import build_sam
from rgbx.backbones.weights import Weights
from rgbx.errors import RGBXError
from rgbx.losses import balanced_bce, binary_cross_entropy, iou
from rgbx.models.mca_sam.contrast import SampleContrast, TokenContrast
from rgbx.models.mca_sam.network import MCASAMNetwork
from rgbx.models.mca_sam.options import (
    SCORES,
    AdaptorConfig,
    ContrastConfig,
    Loss,
    Task,
    check_together,
    contrast_layers_of,
)
from rgbx.models.mca_sam.views import colour_view
from rgbx.models.mca_sam.watch import Watch, pooling_weights
from rgbx.optim.schedules import Cosine, Schedule
from rgbx.tasks.base import OptimizerFactory, as_config, as_weights, resize
from rgbx.tasks.image_input import check_rgb
from rgbx.tasks.map_evaluation import EvalConfig
from rgbx.tasks.saliency import SaliencyModule

__all__ = ["MCASAM"]

# of the images, where no data module says otherwise: ImageNet's
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class MCASAM(SaliencyModule):
    """Camouflage, shadows, polyps (Zhou et al., "Multi-scale Contrastive Adaptor Learning").

    SAM's encoder is frozen. An adaptor in front of each block adds what it makes of the patch
    embedding and of the image's high frequencies; the mask decoder is trained, without prompts.
    Two InfoNCE losses train the adaptors next to the segmentation loss: a token finds itself behind
    the adaptor (TC), an image finds its other view in the batch (SC). In evaluation neither exists.

    With ``token_weight: 0`` and ``sample_weight: 0`` of `contrast` and ``sample_branch: false`` of
    `adaptor` the model is SAM-Adapter (Chen et al., ICCV workshops 2023). The paper's body is not
    public: what its abstract leaves open is an option here, and the defaults are this project's
    choice.

    Args:
        encoder: ``tiny``, ``vit_b``, ``vit_l`` or ``vit_h`` (the paper).
        weights: SAM's published file; None for random numbers (announced).
        task: ``camouflage``, ``shadow`` or ``polyp``: which loss trains, and which scores are
            printed.
        loss: ``bce_iou`` or ``balanced_bce``; None: balanced BCE for shadows, else BCE + IoU.
        adaptor: what is added in front of the blocks, see `AdaptorConfig`.
        contrast: the contrastive losses, see `ContrastConfig`.
        augmented_loss: the augmented view gets a segmentation loss, too.
        checkpoint_blocks: recompute encoder blocks in the backward pass (less memory, more time).
        evaluation: how a test scores, see `rgbx.tasks.map_evaluation.EvalConfig`.
        optimizer: from trainable parameters to an optimiser.
        schedule: learning-rate schedule, per optimiser step.

    Raises:
        RGBXError: an option has a value that cannot work.
        WeightsError: a weight file is missing, damaged or of another model.
    """

    published: ClassVar[Path] = Path(__file__).with_name("published.yaml")
    needs_x = False
    outside_forward: ClassVar[tuple[str, ...]] = (
        "task",
        "loss",
        "adaptor.zero_init_sc",
        "contrast",
        "augmented_loss",
    )
    parts: ClassVar[dict[str, str]] = {
        "task features": r"generator\.features\.",
        "TC adaptors": r"generator\.token\.",
        "SC adaptors": r"generator\.sample\.",
        "projection heads": r"projection\.",
        "mask decoder": r"mask_decoder\.|random_prompt\.",
    }

    def __init__(
        self,
        encoder: str = "vit_h",
        weights: Weights | None = None,
        task: Task = "camouflage",
        loss: Loss | None = None,
        adaptor: AdaptorConfig = AdaptorConfig(),
        contrast: ContrastConfig = ContrastConfig(),
        augmented_loss: bool = False,
        checkpoint_blocks: bool = False,
        evaluation: EvalConfig = EvalConfig(),
        optimizer: OptimizerFactory = lambda p: torch.optim.AdamW(p, lr=2e-4, weight_decay=0.01),
        schedule: Schedule = Cosine(warmup_epochs=0.0, final=5e-4),
    ) -> None:
        adaptor = as_config(AdaptorConfig, adaptor)
        self.contrast = contrast = as_config(ContrastConfig, contrast)
        evaluation = as_config(EvalConfig, evaluation)
        check_together(task, loss, adaptor, contrast)
        arguments = dict(locals())
        super().__init__(optimizer, schedule, SCORES[task], evaluation)
        self.keep_arguments(arguments)
        self.loss = loss or ("balanced_bce" if task == "shadow" else "bce_iou")
        sam = build_sam(encoder, as_weights(weights), checkpoint_blocks)
        self.network = MCASAMNetwork(sam, adaptor)
        dim = sam.preset.dim
        contrasted = contrast_layers_of(contrast, self.network.generator.layers)
        self.token_contrast: TokenContrast | None = None
        if contrast.token_weight:
            target = contrast.token_target or ("patch" if adaptor.input == "task" else "hidden")
            width = dim // adaptor.scale_factor if target == "bottleneck" else dim
            self.token_contrast = TokenContrast(
                contrasted,
                contrast.token_temperature,
                contrast.num_tokens,
                target,
                contrast.symmetric,
                contrast.exclude_radius,
                contrast.layer_weights,
                width if contrast.projection else None,
            )
        self.sample_contrast: SampleContrast | None = None
        if contrast.sample_weight:
            self.sample_contrast = SampleContrast(
                contrasted,
                dim,
                contrast.sample_temperature,
                contrast.layer_weights,
                contrast.queue,
                contrast.projection,
            )
        self._contrasted = [layer for layer, _ in contrasted]
        self._mean, self._std = _MEAN, _STD

    @classmethod
    def validation_metrics(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """As for every model of maps, and what the task adds."""
        task = arguments.get("task", "camouflage")
        return super().validation_metrics({**arguments, "scores": SCORES[task]})

    def setup(self, stage: str) -> None:
        """Take over how the data module normalised the images: views change the images."""
        super().setup(stage)
        statistics = getattr(self._data, "statistics", None)
        if statistics is not None:
            self._mean, self._std = statistics.rgb_mean, statistics.rgb_std

    def forward(self, rgb: Tensor) -> Tensor:
        """Logits (B,1,H,W) of (B,3,H,W); no contrastive code runs, nothing is drawn."""
        check_rgb(type(self).__name__, rgb, self.size_multiple)
        return resize(self.network(rgb), rgb.shape[-2:])

    def logits(self, rgb: Tensor, x: Tensor | None) -> Tensor:
        """As `forward`; a second modality is not looked at."""
        return self(rgb)

    def training_losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Segmentation losses, lambda_t times ``token``, lambda_s times ``sample``.

        Logs the contrastive losses without their weights as ``train/token_raw`` and
        ``train/sample_raw``, and how often the own token and the own view were the nearest as
        ``train/token_top1`` and ``train/sample_top1``.
        """
        losses, measures = self.measured_losses(batch)
        self.log_dict({f"train/{k}": v for k, v in measures.items()}, batch_size=len(batch["rgb"]))
        return losses

    def measured_losses(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weighted losses, which are summed, and measures without gradient.

        Args:
            batch: ``rgb`` (B,3,H,W) and ``mask``, (B,1,H,W) float in [0, 1] or (B,H,W) ids 0 and 1.

        Raises:
            RGBXError: the masks have other ids, or pixels without a label.
        """
        rgb, _ = self.inputs(batch)
        mask = _two_classes(batch)
        contrast, generator = self.contrast, self.network.generator
        watch = self._watch(mask, sample=contrast.sample_views == "original", token=True)
        losses = self.segmentation(self.network(rgb, watch), mask)
        measures: dict[str, Tensor] = {}
        if self.token_contrast is not None:
            columns = rgb.shape[-1] // self.network.sam.image_encoder.config.patch
            found = self.token_contrast(generator, watch, columns)
            losses["token"] = contrast.token_weight * found.loss
            measures |= {"token_raw": found.loss.detach(), "token_top1": found.top1}
        if self.sample_contrast is None and not self.hparams["augmented_loss"]:
            return losses, measures
        first, second, of_view = self._views(rgb, mask, watch)
        losses |= of_view
        if self.sample_contrast is not None:
            found = self.sample_contrast(generator, first, second)
            losses["sample"] = contrast.sample_weight * found.loss
            measures |= {"sample_raw": found.loss.detach(), "sample_top1": found.top1}
        return losses, measures

    def segmentation(self, logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """``bce`` and ``iou``, or ``balanced_bce``, at the size of the mask (B,1,H,W)."""
        logits = resize(logits, mask.shape[-2:])
        if self.loss == "balanced_bce":
            return {"balanced_bce": balanced_bce(logits, mask, _positive_share(mask))}
        return {"bce": binary_cross_entropy(logits, mask), "iou": iou(logits, mask)}

    def _watch(self, mask: Tensor, sample: bool, token: bool = False) -> Watch:
        """What a pass has to keep for the losses that are on."""
        patch = self.network.sam.image_encoder.config.patch
        grid = h, w = (mask.shape[-2] // patch, mask.shape[-1] // patch)
        pool = sample and self.sample_contrast is not None
        foreground = pool and self.contrast.sample_pool == "foreground"
        tokens = self.token_contrast if token else None
        drawn = None if tokens is None else tokens.draw(len(mask), h * w, mask.device)
        return Watch(
            self._contrasted,
            positions=drawn,
            weights=pooling_weights(mask, grid) if foreground else None,
            hidden=tokens is not None and tokens.target == "hidden",
            pool=pool,
        )

    def _views(
        self, rgb: Tensor, mask: Tensor, original: Watch
    ) -> tuple[Watch, Watch, dict[str, Tensor]]:
        """Both sides of the sample-level loss, and the segmentation losses of the last view."""
        sides = [] if self.contrast.sample_views == "two" else [original]
        losses: dict[str, Tensor] = {}
        mean, std = torch.tensor(self._mean), torch.tensor(self._std)
        while len(sides) < 2:
            view, watch = colour_view(rgb, mean, std), self._watch(mask, sample=True)
            sides.append(watch)
            if len(sides) == 2 and self.hparams["augmented_loss"]:
                found = self.segmentation(self.network(view, watch), mask)
                losses = {f"{name}_view": loss for name, loss in found.items()}
            elif self.sample_contrast is not None:
                self.network.look(view, watch)
        return sides[0], sides[1], losses


def _two_classes(batch: dict[str, Any]) -> Tensor:
    """The masks as (B,1,H,W) in [0, 1]."""
    mask: Tensor = batch["mask"]
    if mask.is_floating_point():
        return mask
    if bool((mask > 1).any()):
        worst = int((mask > 1).flatten(1).any(dim=1).nonzero()[0])
        raise RGBXError(
            f"MCASAM trains on masks of two classes with every pixel labelled, but the mask of "
            f"{batch['name'][worst]} holds {int(mask[worst].max())} (255 is unlabelled): use "
            "another data set, or SAMSOD for scribbles."
        )
    return mask[:, None].float()


def _positive_share(mask: Tensor) -> Tensor:
    """Share of positive pixels in the batches of all processes, which are of one size."""
    share = mask.float().mean()
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(share)
        share = share / dist.get_world_size()
    return share
