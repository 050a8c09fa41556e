"""TASeg's options in groups."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["DFFMConfig", "LoRAConfig", "LossConfig"]


@dataclass(frozen=True)
class DFFMConfig:
    """The fusion before every block of the encoder.

    Args:
        width: inner width c; None: 192 for ViT-H, 3/20 of the width elsewhere.
        x_position: add the position embedding to the X tokens too.
    """

    width: int | None = None
    x_position: bool = True


@dataclass(frozen=True)
class LoRAConfig:
    """LoRA on q and v of the attentions.

    Args:
        rank: of the encoder's and the decoder's; 0 for none.
        alpha: alpha / rank multiplies the product.
        decoder: LoRA in the mask decoder too.
    """

    rank: int = 16
    alpha: float = 16.0
    decoder: bool = True


@dataclass(frozen=True)
class LossConfig:
    """Cross-entropy plus Dice.

    Args:
        ce_weight: weight of the cross-entropy.
        dice_weight: weight of the Dice loss.
        dice_classes: classes that an image's Dice loss averages over: those ``present`` in its
            mask, or ``all``, which also presses down classes that never occur.
    """

    ce_weight: float = 1.0
    dice_weight: float = 1.0
    dice_classes: Literal["present", "all"] = "present"
