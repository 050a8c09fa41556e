"""TASeg as a LightningModule: arguments, losses, parameter groups."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from rgbx.backbones.clip_text import clip_text_preset, encode_classes
from rgbx.backbones.sam import build_sam
from rgbx.backbones.weights import Weights
from rgbx.blocks.lora import export_lora, merge_lora
from rgbx.checkpoints.trained_with import other_arguments
from rgbx.errors import RGBXError
from rgbx.losses import cross_entropy, dice
from rgbx.losses.weights import check_loss_weights
from rgbx.models.taseg.decoder import TextAwareDecoder
from rgbx.models.taseg.network import Fusion, TASegNetwork, build_encoder
from rgbx.models.taseg.options import DFFMConfig, LoRAConfig, LossConfig
from rgbx.optim.schedules import Poly, Schedule
from rgbx.tasks.base import OptimizerFactory, as_config, as_weights
from rgbx.tasks.semantic import MFNET_CLASSES, SemanticModule

__all__ = ["TASeg"]


class TASeg(SemanticModule):
    """Text-aware RGB-T semantic segmentation (Yu et al., "TASeg").

    SAM's image encoder and mask decoder stay frozen and are adapted by LoRA; DFFM brings X into
    the RGB stream before every block; pixels attend to CLIP embeddings of the class names.

    Args:
        encoder: ``tiny``, ``vit_b``, ``vit_l`` or ``vit_h`` (the paper).
        weights: SAM's published file; None for random numbers (announced).
        num_classes: K; linked to the data module on the command line.
        class_names: K names, read by the text encoder; linked likewise.
        fusion: ``dffm`` (the paper), ``concat`` (its baseline), ``none`` (RGB only).
        dffm: width and position of DFFM, see `rgbx.models.taseg.options.DFFMConfig`.
        lora: rank and scale of LoRA, and where it is, see `rgbx.models.taseg.options.LoRAConfig`.
        text: text attention in the mask decoder.
        text_encoder: preset of the CLIP text tower; None: ``tiny`` with the tiny encoder, else
            ``ViT-L-14``.
        text_weights: OpenAI's CLIP file; None for random numbers (announced).
        templates: prompts whose embeddings are averaged; ``{class}`` stands for the name.
        point_grid: n > 0: an n x n grid of positive points as sparse prompts.
        checkpoint_blocks: recompute encoder blocks in the backward pass (less memory, more time).
        loss: weights of the losses, see `rgbx.models.taseg.options.LossConfig`.
        optimizer: from trainable parameters to an optimiser.
        schedule: learning-rate schedule, per optimiser step.

    Raises:
        RGBXError: the number of class names is not ``num_classes``.
        WeightsError: a weight file is missing, damaged or of another model.
    """

    published: ClassVar[Path] = Path(__file__).with_name("published.yaml")
    outside_forward: ClassVar[tuple[str, ...]] = ("loss",)
    parts: ClassVar[dict[str, str]] = {
        "thermal patch embedding": r"x_patch_embed",
        "fusion (DFFM / concat)": r"\.(dffm|concat)\.",
        "encoder LoRA": r"encoder\.vit\..*lora_",
        "decoder LoRA": r"decoder\.transformer\..*lora_",
        "text attention": r"text_attention",
        "decoder heads": r"decoder\.",
    }

    def __init__(
        self,
        encoder: str = "vit_h",
        weights: Weights | None = None,
        num_classes: int = 9,
        class_names: Sequence[str] = MFNET_CLASSES,
        fusion: Fusion = "dffm",
        dffm: DFFMConfig = DFFMConfig(),
        lora: LoRAConfig = LoRAConfig(),
        text: bool = True,
        text_encoder: str | None = None,
        text_weights: Weights | None = None,
        templates: Sequence[str] = ("a photo of a {class}.",),
        point_grid: int = 0,
        checkpoint_blocks: bool = False,
        loss: LossConfig = LossConfig(),
        optimizer: OptimizerFactory = lambda p: torch.optim.AdamW(p, lr=5e-4, weight_decay=0.01),
        schedule: Schedule = Poly(power=0.9, warmup_epochs=1.0),
    ) -> None:
        dffm, lora = as_config(DFFMConfig, dffm), as_config(LoRAConfig, lora)
        loss = as_config(LossConfig, loss)
        arguments = dict(locals())
        super().__init__(num_classes, class_names, optimizer, schedule)
        self.keep_arguments(arguments)
        check_loss_weights(ce_weight=loss.ce_weight, dice_weight=loss.dice_weight)
        self.loss = loss
        self.needs_x = fusion != "none"
        sam = build_sam(encoder, as_weights(weights))
        sam.image_encoder.checkpoint_blocks = checkpoint_blocks
        self.text_encoder = text_encoder or ("tiny" if encoder == "tiny" else "ViT-L-14")
        text_dim = clip_text_preset(self.text_encoder).out_dim if text else 0
        self.network = TASegNetwork(
            build_encoder(sam, fusion, dffm.width, dffm.x_position, lora.rank, lora.alpha),
            TextAwareDecoder(
                sam,
                num_classes,
                lora.rank if lora.decoder else 0,
                lora.alpha,
                text_dim=text_dim,
                point_grid=point_grid,
            ),
        )
        if text:
            # zeros until encoded; stored in checkpoints, so inference needs no CLIP file
            self.register_buffer("text_embeddings", torch.zeros(num_classes, text_dim))
        self._text_is_encoded = not text

    def setup(self, stage: str) -> None:
        """Encode the class names before training, so that a missing CLIP file shows at once."""
        super().setup(stage)
        if stage == "fit" and not self._text_is_encoded:
            self.encode_text()

    def encode_text(self) -> None:
        """Fill the cached text embeddings (K, width) from CLIP; happens once per class list."""
        weights = as_weights(self.hparams["text_weights"])
        embeddings = encode_classes(
            self.text_encoder, weights, self.class_names, self.hparams["templates"]
        )
        self.get_buffer("text_embeddings").copy_(embeddings)
        self._text_is_encoded = True

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As every model; the text embeddings come with the checkpoint.

        Where names, templates or the text encoder are others, they are encoded anew.
        """
        super().on_load_checkpoint(checkpoint)
        if not self.hparams["text"]:
            return
        changed = other_arguments(self, checkpoint.get("hyper_parameters", {}))
        if not {"class_names", "templates", "text_encoder"}.isdisjoint(changed):
            if not self._text_is_encoded:
                self.encode_text()
            checkpoint["state_dict"]["text_embeddings"] = self.get_buffer("text_embeddings").clone()
        self._text_is_encoded = True

    def low_resolution(self, rgb: Tensor, x: Tensor | None) -> Tensor:
        """Class logits (B,K,H/4,W/4)."""
        if not self._text_is_encoded:
            self.encode_text()
        text = self.text_embeddings if self.hparams["text"] else None
        return self.network(rgb, x, text)

    def losses(self, logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Cross-entropy and Dice, per image, ignore index respected."""
        return {
            "ce": self.loss.ce_weight * cross_entropy(logits, mask),
            "dice": self.loss.dice_weight * dice(logits, mask, classes=self.loss.dice_classes),
        }

    def merge_lora(self) -> int:
        """Fold all LoRA products into their base weights, for inference.

        Returns:
            How many layers were merged; forward results stay the same up to rounding.
        """
        return merge_lora(self.network)

    def export_lora(self, folder: str | Path) -> list[Path]:
        """Write LoRA in PEFT's format: ``FOLDER/encoder`` and, if there, ``FOLDER/decoder``.

        ``peft.PeftModel.from_pretrained`` reads them onto a fresh `ViT` / two-way transformer.

        Raises:
            RGBXError: the model was built without LoRA.
        """
        parts = {
            "encoder": self.network.encoder.vit,
            "decoder": self.network.decoder.transformer,
        }
        with_lora = {name: part for name, part in parts.items() if hasattr(part, "peft_config")}
        if not with_lora:
            raise RGBXError("There is no LoRA to export: lora_rank is 0.")
        return [export_lora(part, Path(folder) / name) for name, part in with_lora.items()]
