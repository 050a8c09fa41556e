"""Stable-SAM as a LightningModule: arguments, losses, what is trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from PIL import Image
from torch import Tensor
from typing_extensions import Self

from rgbx.backbones.sam import build_sam
from rgbx.backbones.weights import Weights
from rgbx.errors import RGBXError
from rgbx.losses.points import POINTS, dense_losses, point_losses
from rgbx.losses.weights import check_loss_weights
from rgbx.models.stable_sam.attention import AttentionMap, attention_map
from rgbx.models.stable_sam.attention_figure import attention_panel
from rgbx.models.stable_sam.graph import prompted_parts
from rgbx.models.stable_sam.load import build_plugin
from rgbx.models.stable_sam.network import StableSAMNetwork, Train
from rgbx.models.stable_sam.options import PluginConfig
from rgbx.models.stable_sam.plugin import Plugin
from rgbx.optim.schedules import Constant, Schedule
from rgbx.prompts import Prompt
from rgbx.tasks.base import OptimizerFactory, as_config, as_weights
from rgbx.tasks.batch_image import BatchImage
from rgbx.tasks.export_part import Part
from rgbx.tasks.prompt_evaluation import PromptEvalConfig
from rgbx.tasks.promptable import PromptableModule

__all__ = ["StableSAM"]


class StableSAM(PromptableModule):
    """SAM that survives bad prompts (Fan et al., "Stable Segment Anything Model").

    All of SAM is frozen. A plug-in of 0.08 M parameters decides which image features the prompt
    tokens see in the second layer of the mask decoder: DSP re-samples them at learnt offsets, DRP
    weighs the re-sampled against the original ones. Trained with prompts of mixed quality (see
    `rgbx.prompts.PromptMixture`).

    The baselines of the paper's tables are settings of ``train``.

    Args:
        encoder: ``tiny``, ``vit_b``, ``vit_l`` (the paper) or ``vit_h``.
        weights: SAM's published file; None for random numbers (announced).
        train: ``plugin`` (the paper); ``decoder``: SAM's mask decoder without plug-in (DT-SAM);
            ``token``: the output mask token and its hypernetwork, without plug-in (PT-SAM).
        train_decoder: train the mask decoder next to the plug-in (Table 11).
        plugin: what the plug-in is made of, see `rgbx.models.stable_sam.options.PluginConfig`.
        loss: BCE and Dice on ``points`` that are mostly uncertain, or ``dense``, on all pixels.
        points: points per mask.
        bce_weight: weight of the BCE.
        dice_weight: weight of the Dice loss.
        decode_batch: prompts per decoder call in evaluation; None: 32 at 1024 x 1024 (4 on a CPU).
        evaluation: which prompts validation and test give, see
            `rgbx.tasks.prompt_evaluation.PromptEvalConfig`.
        optimizer: from trainable parameters to an optimiser.
        schedule: learning-rate schedule, per optimiser step.

    Raises:
        RGBXError: an option has a value that cannot work.
        WeightsError: a weight file is missing, damaged or of another model.
    """

    published: ClassVar[Path] = Path(__file__).with_name("published.yaml")
    outside_forward: ClassVar[tuple[str, ...]] = (
        "plugin.init",
        "loss",
        "points",
        "bce_weight",
        "dice_weight",
        "decode_batch",
    )
    parts: ClassVar[dict[str, str]] = {
        "DSP": r"plugin\..*\.dsp\.",
        "DRP": r"plugin\..*\.drp\.",
        "mask token": r"mask_token$",
        "mask decoder": r"mask_decoder\.",
    }
    measured: ClassVar[tuple[str, ...]] = ("alpha_1",)
    shows_attention: ClassVar[bool] = True

    def __init__(
        self,
        encoder: str = "vit_l",
        weights: Weights | None = None,
        train: Train = "plugin",
        train_decoder: bool = False,
        plugin: PluginConfig = PluginConfig(),
        loss: Literal["points", "dense"] = "points",
        points: int = POINTS,
        bce_weight: float = 1.0,
        dice_weight: float = 1.0,
        decode_batch: int | None = None,
        evaluation: PromptEvalConfig = PromptEvalConfig(),
        optimizer: OptimizerFactory = lambda p: torch.optim.Adam(p, lr=1e-3),
        schedule: Schedule = Constant(),
    ) -> None:
        plugin = as_config(PluginConfig, plugin)
        evaluation = as_config(PromptEvalConfig, evaluation)
        arguments = dict(locals())
        super().__init__(optimizer, schedule, evaluation)
        self.keep_arguments(arguments)
        check_loss_weights(bce_weight=bce_weight, dice_weight=dice_weight)
        _check(train, train_decoder, loss, points, decode_batch)
        sam = build_sam(encoder, as_weights(weights))
        built = None
        if train == "plugin":
            built = build_plugin(sam.preset.decoder_dim, plugin)
        trained: Train = "decoder" if train_decoder else train
        self.network = StableSAMNetwork(sam, built, trained, decode_batch)

    @classmethod
    def predicts_untrained(cls, arguments: Mapping[str, Any]) -> bool:
        """SAM itself: an untrained plug-in changes nothing, unless it starts from chance.

        Args:
            arguments: of the constructor.
        """
        init = as_config(PluginConfig, arguments.get("plugin") or PluginConfig()).init
        return arguments.get("train", "plugin") != "plugin" or init == "identity"

    @property
    def plugin(self) -> Plugin | None:
        """The trained plug-in; None for the baselines."""
        return self.network.plugin

    def embed(self, rgb: Tensor) -> Tensor:
        """Image embeddings (B,C,H/16,W/16), without gradients: the encoder is frozen."""
        return self.network.embed(rgb)

    def decode(self, embedding: Tensor, prompts: Sequence[Prompt], size: Sequence[int]) -> Tensor:
        """Mask logits (N,1,4h,4w), see `PromptableModule.decode`."""
        return self.network.decode(embedding, prompts, (size[0], size[1]))[0]

    def decode_measured(
        self, embedding: Tensor, prompts: Sequence[Prompt], size: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `decode`; with DRP also ``alpha_1``, the weight of the re-sampled features."""
        logits, alpha = self.network.decode(embedding, prompts, (size[0], size[1]))
        return logits, {} if alpha is None else {"alpha_1": alpha[:, 0]}

    def losses(self, logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """BCE and Dice per mask, on points or on all pixels."""
        if self.hparams["loss"] == "points":
            bce, dice = point_losses(logits, mask, self.hparams["points"])
        else:
            bce, dice = dense_losses(logits, mask)
        return {
            "bce": self.hparams["bce_weight"] * bce,
            "dice": self.hparams["dice_weight"] * dice,
        }

    def protocol(self) -> dict[str, str]:
        """As every promptable model, and what alpha_1 is."""
        found = super().protocol()
        if self.plugin is not None and self.hparams["plugin"]["use_drp"]:
            found["alpha_1"] = "weight of the re-sampled features, mean over prompts, then images"
        return found

    def export_parts(self, merged: Self, size: tuple[int, int]) -> list[Part]:
        """Encoder, decoder of boxes and points, decoder of coarse masks."""
        return prompted_parts(self.network, merged.network, size)

    def attention(self, rgb: Tensor, prompt: Prompt) -> AttentionMap:
        """What the output mask token looks at, with and without the plug-in.

        Args:
            rgb: (3,H,W) or (1,3,H,W), normalised.
            prompt: in pixels of that image.

        Raises:
            RGBXError: a baseline has no plug-in.
        """
        return attention_map(self.network, rgb.reshape(1, *rgb.shape[-3:]), prompt)

    def attention_figure(self, image: BatchImage, prediction: Any) -> Image.Image | None:
        """The paper's Fig. 4 for the first prompt; in a test for the first noisy box.

        Args:
            image: of a batch.
            prediction: kind -> masks of a test, or the masks of a prediction.

        Returns:
            None for an image without prompts.
        """
        if isinstance(prediction, Mapping):
            kind = "noisy_box" if "noisy_box" in prediction else next(iter(prediction))
            prompt = self.first_prompt(image, kind)
        elif image["prompts"]:
            prompt = image["prompts"][0]
        else:
            return None
        found = self.attention(image["rgb"], prompt)
        return attention_panel(image, prompt, found, f"{image.stem} ({prompt['kind']})")


def _check(
    train: str, train_decoder: bool, loss: str, points: int, decode_batch: int | None
) -> None:
    if train_decoder and train != "plugin":
        raise RGBXError(
            f"train_decoder goes with the plug-in, but train is {train!r}: leave it out."
        )
    if loss not in ("points", "dense"):
        raise RGBXError(f"loss is {loss!r}: choose points or dense.")
    if points < 1 or (decode_batch is not None and decode_batch < 1):
        raise RGBXError(f"points is {points}, decode_batch {decode_batch}: give 1 or more.")
