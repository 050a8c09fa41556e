"""SAMSOD as a LightningModule: arguments, losses, parameter groups."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from rgbx.backbones.sam2 import build_sam2
from rgbx.backbones.weights import Weights
from rgbx.models.samsod.network import SAMSODNetwork
from rgbx.models.samsod.options import AdapterConfig
from rgbx.models.samsod.unlabelled import UnlabelledTerms
from rgbx.optim.gradients import Groups
from rgbx.optim.manual import GradientSurgery
from rgbx.optim.schedules import Constant, Schedule
from rgbx.tasks.base import OptimizerFactory, as_config, as_weights, resize
from rgbx.tasks.image_input import check_rgb, check_x
from rgbx.tasks.saliency import SaliencyModule, saliency_loss

__all__ = ["SAMSOD"]


class SAMSOD(GradientSurgery, SaliencyModule):
    """Salient objects in RGB and a second modality (Liu et al., "SAMSOD").

    SAM2's frozen image encoder serves both modalities, each with adapters of its own; its mask
    decoder is trained and run on the sum of the features and on each modality alone. The three
    losses' gradients are deconflicted per group: RGB adapters, X adapters, decoder.

    Args:
        encoder: ``tiny``, ``hiera_t`` (the paper's tiny), ``hiera_s``, ``hiera_b+`` or
            ``hiera_l`` (the paper's large).
        weights: SAM 2's or 2.1's published file; None for random numbers (announced).
        adapter: ``decoupled`` (Eq. 21 to 23) or ``vanilla`` (Eq. 18).
        modalities: ``both``, or one stream alone: ``rgb``, ``x``.
        adapter_options: what the adapters are made of, see
            `rgbx.models.samsod.options.AdapterConfig`.
        unimodal_supervision: losses and predictions of each modality next to the fused one; without
            it, the fused prediction stands alone.
        surgery: how gradients that compete for a group are merged: ``PCGrad`` (the paper),
            ``Sum``, ``Mean``, a ``torchjd.aggregation.*Weighting`` by class path, or
            ``{class_path: ..., init_args: ...}``; null: one backward pass through the summed loss.
        lsc_weight: weight of the local saliency coherence of each prediction, added to its loss
            (scribbles; see `rgbx.losses.scribbles`). Like the next one it reads the visible image.
            0, as in the authors' sum, leaves it out; the authors' earlier scribble code has 1.
        smoothness_weight: the same of the edge-aware smoothness; that code has 0.3.
        accumulate: batches per optimiser step.
        clip: largest norm of the merged gradient; null to leave it.
        optimizer: from trainable parameters to an optimiser.
        schedule: learning-rate schedule, per optimiser step.

    Raises:
        RGBXError: an option has a value that cannot work.
        WeightsError: a weight file is missing, damaged or of another model.
    """

    published: ClassVar[Path] = Path(__file__).with_name("published.yaml")
    size_multiple = 32
    outside_forward: ClassVar[tuple[str, ...]] = (
        "surgery",
        "lsc_weight",
        "smoothness_weight",
        "accumulate",
        "clip",
    )
    parts: ClassVar[dict[str, str]] = {
        "RGB adapters": "rgb_adapters",
        "X adapters": "x_adapters",
        "mask decoder": r"decoder\.",
    }

    def __init__(
        self,
        encoder: str = "hiera_l",
        weights: Weights | None = None,
        adapter: Literal["decoupled", "vanilla"] = "decoupled",
        modalities: Literal["rgb", "x", "both"] = "both",
        adapter_options: AdapterConfig = AdapterConfig(),
        unimodal_supervision: bool = True,
        surgery: str | dict[str, Any] | None = "PCGrad",
        lsc_weight: float = 0.0,
        smoothness_weight: float = 0.0,
        accumulate: int = 1,
        clip: float | None = None,
        optimizer: OptimizerFactory = lambda p: torch.optim.Adam(p, lr=1e-3),
        schedule: Schedule = Constant(),
    ) -> None:
        adapter_options = as_config(AdapterConfig, adapter_options)
        arguments = dict(locals())
        super().__init__(optimizer, schedule)
        self.keep_arguments(arguments)
        self.needs_x = modalities != "rgb"
        self.surgery, self.accumulate, self.clip = surgery, accumulate, clip
        self.check_options()
        self.unlabelled = UnlabelledTerms(lsc_weight, smoothness_weight)
        self.groups = _groups(modalities, unimodal_supervision)
        self.compared_groups = ("rgb", "x") if modalities == "both" else None
        self.predictions = self.groups["decoder"][1]
        self.network = SAMSODNetwork(
            build_sam2(encoder, as_weights(weights)),
            adapter=adapter,
            modalities=modalities,
            **vars(adapter_options),
        )

    def forward(self, rgb: Tensor | None, x: Tensor | None = None) -> dict[str, Tensor]:
        """All predictions, before the sigmoid, at the size of the input.

        Args:
            rgb: (B,3,H,W) float, normalised as the data module does; H and W multiples of 32. None
                where ``modalities`` is x.
            x: (B,3,H,W) or (B,1,H,W) float in [0, 1], the second modality.

        Returns:
            ``fusion``, ``rgb``, ``x`` (those that are trained) -> (B,1,H,W) logits.

        Raises:
            RGBXError: a modality is missing, or shapes do not fit.
        """
        name = type(self).__name__
        if rgb is not None:
            check_rgb(name, rgb, self.size_multiple)
        if self.needs_x:
            x = check_x(name, rgb, x)
        features = self._features(self.network.encode(rgb, x))
        size = next(image for image in (x, rgb) if image is not None).shape[-2:]
        decoded = self.network.decode(list(features.values()))
        return {name: resize(z, size) for name, z in zip(features, decoded, strict=True)}

    def logits(self, rgb: Tensor, x: Tensor | None) -> Tensor:
        """Sum of the predictions, (B,1,H,W): what the paper thresholds."""
        return torch.stack(list(self(rgb, x).values())).sum(0)

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Structure loss (Eq. 3, 7, 8) of every prediction against the same mask."""
        # both streams pass the encoder as one batch: the graph cannot tell them apart
        features = self._features(self.cut_streams(self.network.encode(*self.inputs(batch))))
        if self.surgery is None:
            decoded = self.network.decode(list(features.values()))
        else:
            # one by one: each loss walks back through its own third, not through a batch of all
            decoded = [self.network.decode([stages])[0] for stages in features.values()]
        losses = {
            name: saliency_loss(z, batch["mask"]) for name, z in zip(features, decoded, strict=True)
        }
        if self.unlabelled.wanted:
            data = getattr(self._trainer, "datamodule", None)
            shown = self.unlabelled.images(batch["rgb"], getattr(data, "statistics", None))
            for name, z in zip(features, decoded, strict=True):
                losses[name] = losses[name] + self.unlabelled.loss(z, *shown)
        self.refuse_bad_loss(losses, batch)
        return losses

    def _features(self, streams: Mapping[str, list[Tensor]]) -> dict[str, list[Tensor]]:
        """Stage maps that are decoded, by prediction: the streams, and their sum."""
        found = dict(streams)
        if "fusion" in self.predictions:
            found["fusion"] = [a + b for a, b in zip(streams["rgb"], streams["x"], strict=True)]
        return {name: found[name] for name in self.predictions}


def _groups(modalities: str, unimodal: bool) -> Groups:
    """Parameter groups and the losses that train them (section 4 of the paper, Eq. 11 to 13)."""
    if modalities != "both":
        return {
            modalities: (f"{modalities}_adapters", (modalities,)),
            "decoder": (r"decoder\.", (modalities,)),
        }
    if not unimodal:
        return {
            "rgb": ("rgb_adapters", ("fusion",)),
            "x": ("x_adapters", ("fusion",)),
            "decoder": (r"decoder\.", ("fusion",)),
        }
    return {
        "rgb": ("rgb_adapters", ("rgb", "fusion")),
        "x": ("x_adapters", ("x", "fusion")),
        "decoder": (r"decoder\.", ("fusion", "rgb", "x")),
    }
