"""MCA-SAM, and SAM-Adapter as a setting of it, as a LightningModule."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from rgbx.backbones.sam import build_sam
from rgbx.backbones.weights import Weights
from rgbx.errors import RGBXError
from rgbx.losses import balanced_bce, binary_cross_entropy, iou
from rgbx.models.mca_sam.adaptors import AdaptorInput, Branching
from rgbx.models.mca_sam.contrast import SampleContrast, TokenContrast, TokenTarget
from rgbx.models.mca_sam.network import MCASAMNetwork
from rgbx.models.mca_sam.options import SCORES, Loss, Task, check_options, contrast_layers_of
from rgbx.models.mca_sam.views import colour_view
from rgbx.models.mca_sam.watch import Watch, pooling_weights
from rgbx.optim.schedules import Cosine, Schedule
from rgbx.tasks.base import OptimizerFactory, as_weights, resize
from rgbx.tasks.image_input import check_rgb
from rgbx.tasks.map_evaluation import EvalSize
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

    With ``token_weight: 0``, ``sample_weight: 0`` and ``sample_branch: false`` the model is
    SAM-Adapter (Chen et al., ICCV workshops 2023). The paper's body is not public: what its
    abstract leaves open is an option here, and the defaults are this project's choice.

    Args:
        encoder: ``tiny``, ``vit_b``, ``vit_l`` or ``vit_h`` (the paper).
        weights: SAM's published file; None for random numbers (announced).
        task: ``camouflage``, ``shadow`` or ``polyp``: which loss trains, and which scores are
            printed.
        loss: ``bce_iou`` or ``balanced_bce``; None: balanced BCE for shadows, else BCE + IoU.
        scale_factor: C / r, the reduction of the adaptors' bottleneck.
        handcrafted: high frequencies in the task features.
        freq_nums: share of the spectrum that is removed from them.
        layers: encoder blocks with an adaptor, or ``all``.
        adaptor_input: ``task`` features (SAM-Adapter), or ``hidden``, the previous block's output.
        branching: ``parallel``, TC and SC branches summed; ``shared``, both losses on one branch.
        sample_branch: the SC branch (parallel only); also without its loss, for its capacity.
        zero_init_sc: the SC branch adds 0 at the start.
        token_weight: lambda_t; 0 switches the token-level loss off.
        sample_weight: lambda_s; 0 switches the sample-level loss off.
        token_temperature: tau of the token-level loss.
        sample_temperature: tau of the sample-level loss.
        num_tokens: K, tokens of each image that are contrasted, or ``all``.
        token_target: the token before the adaptor: ``patch`` embedding, ``hidden`` (the previous
            block's output), or ``bottleneck`` (task features against the adaptor's activations,
            both r wide); None: patch with task input, hidden with hidden input.
        contrast_layers: encoder blocks whose adaptors get the losses: ``all``, ``last``, or a list.
        symmetric: the token-level loss also in the other direction.
        exclude_radius: tokens at most so many cells away are no negatives.
        layer_weights: one per contrast layer, for the mean over layers; None: all alike.
        sample_views: ``original`` against a colour-augmented view, or ``two`` augmented views.
        sample_pool: an image's descriptor is the ``mean`` over all tokens, or over those of the
            ``foreground`` in its mask.
        queue: descriptors of earlier views per layer that are further negatives; 0 for none.
        projection: a two-layer head before each loss, unused in evaluation.
        augmented_loss: the augmented view gets a segmentation loss, too.
        sam_adapter_quirks: see `rgbx.models.mca_sam.decoder.RandomPrompt`.
        checkpoint_blocks: recompute encoder blocks in the backward pass (less memory, more time).
        eval_size: ``original`` size of each mask, ``input`` size, or ``both``.
        wf_beta2: beta^2 of the weighted F-measure; SAM-Adapter's code has 0.3.
        ber_threshold: a pixel is shadow above it; papers use 0.5 or 125/255.
        optimizer: from trainable parameters to an optimiser.
        schedule: learning-rate schedule, per optimiser step.

    Raises:
        RGBXError: an option has a value that cannot work.
        WeightsError: a weight file is missing, damaged or of another model.
    """

    published: ClassVar[Path] = Path(__file__).with_name("published.yaml")
    needs_x = False
    outside_forward: ClassVar[tuple[str, ...]] = (
        *("task", "loss", "zero_init_sc", "token_weight", "sample_weight", "token_temperature"),
        *("sample_temperature", "num_tokens", "token_target", "contrast_layers", "symmetric"),
        *("exclude_radius", "layer_weights", "sample_views", "sample_pool", "queue", "projection"),
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
        scale_factor: int = 32,
        handcrafted: bool = True,
        freq_nums: float = 0.25,
        layers: Sequence[int] | Literal["all"] = "all",
        adaptor_input: AdaptorInput = "task",
        branching: Branching = "parallel",
        sample_branch: bool = True,
        zero_init_sc: bool = False,
        token_weight: float = 0.1,
        sample_weight: float = 0.1,
        token_temperature: float = 0.1,
        sample_temperature: float = 0.1,
        num_tokens: int | Literal["all"] = 1024,
        token_target: TokenTarget | None = None,
        contrast_layers: Sequence[int] | Literal["all", "last"] = "all",
        symmetric: bool = False,
        exclude_radius: int = 0,
        layer_weights: Sequence[float] | None = None,
        sample_views: Literal["original", "two"] = "original",
        sample_pool: Literal["mean", "foreground"] = "mean",
        queue: int = 0,
        projection: bool = False,
        augmented_loss: bool = False,
        sam_adapter_quirks: bool = False,
        checkpoint_blocks: bool = False,
        eval_size: EvalSize = "original",
        wf_beta2: float = 1.0,
        ber_threshold: float = 0.5,
        optimizer: OptimizerFactory = lambda p: torch.optim.AdamW(p, lr=2e-4, weight_decay=0.01),
        schedule: Schedule = Cosine(warmup_epochs=0.0, final=5e-4),  # noqa: B008 (immutable)
    ) -> None:
        arguments = dict(locals())
        check_options(arguments)
        super().__init__(
            *(optimizer, schedule, SCORES[task], eval_size, wf_beta2, ber_threshold),
        )
        self.keep_arguments(arguments)
        self.loss = loss or ("balanced_bce" if task == "shadow" else "bce_iou")
        sam = build_sam(encoder, as_weights(weights), checkpoint_blocks)
        self.network = MCASAMNetwork(
            *(sam, scale_factor, layers, adaptor_input, branching, sample_branch),
            *(handcrafted, freq_nums, zero_init_sc, sam_adapter_quirks),
        )
        generator, dim = self.network.generator, sam.preset.dim
        contrasted = contrast_layers_of(contrast_layers, generator.layers, layer_weights)
        self.token_contrast: TokenContrast | None = None
        if token_weight:
            target = token_target or ("patch" if adaptor_input == "task" else "hidden")
            width = dim // scale_factor if target == "bottleneck" else dim
            self.token_contrast = TokenContrast(
                *(contrasted, token_temperature, num_tokens, target, symmetric, exclude_radius),
                *(layer_weights, width if projection else None),
            )
        self.sample_contrast: SampleContrast | None = None
        if sample_weight:
            self.sample_contrast = SampleContrast(
                contrasted, dim, sample_temperature, layer_weights, queue, projection
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
        options, generator = self.hparams, self.network.generator
        watch = self._watch(mask, sample=options["sample_views"] == "original", token=True)
        losses = self.segmentation(self.network(rgb, watch), mask)
        measures: dict[str, Tensor] = {}
        if self.token_contrast is not None:
            columns = rgb.shape[-1] // self.network.sam.image_encoder.config.patch
            found = self.token_contrast(generator, watch, columns)
            losses["token"] = options["token_weight"] * found.loss
            measures |= {"token_raw": found.loss.detach(), "token_top1": found.top1}
        if self.sample_contrast is None and not options["augmented_loss"]:
            return losses, measures
        first, second, of_view = self._views(rgb, mask, watch)
        losses |= of_view
        if self.sample_contrast is not None:
            found = self.sample_contrast(generator, first, second)
            losses["sample"] = options["sample_weight"] * found.loss
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
        foreground = pool and self.hparams["sample_pool"] == "foreground"
        contrast = self.token_contrast if token else None
        drawn = None if contrast is None else contrast.draw(len(mask), h * w, mask.device)
        return Watch(
            self._contrasted,
            positions=drawn,
            weights=pooling_weights(mask, grid) if foreground else None,
            hidden=contrast is not None and contrast.target == "hidden",
            pool=pool,
        )

    def _views(
        self, rgb: Tensor, mask: Tensor, original: Watch
    ) -> tuple[Watch, Watch, dict[str, Tensor]]:
        """Both sides of the sample-level loss, and the segmentation losses of the last view."""
        sides = [] if self.hparams["sample_views"] == "two" else [original]
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
