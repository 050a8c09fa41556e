"""SAM's mask decoder without any prompt, as SAM-Adapter uses and trains it."""

import torch
from torch import Tensor, nn

from rgbx.backbones.freeze import freeze
from rgbx.backbones.sam import SAM
from rgbx.backbones.sam_position import grid_position

__all__ = ["RandomPrompt", "decode_without_prompt", "train_decoder_only"]


class RandomPrompt(nn.Module):
    """A quirk of SAM-Adapter's published code: two tensors that are not taken from SAM's file.

    Args:
        sam: gives their shapes.

    Attributes:
        frequencies: (2,C/2) buffer, random, of the position encoding.
        no_mask: (1,C) parameter, random and trained, the "no mask" vector.
    """

    frequencies: Tensor

    def __init__(self, sam: SAM) -> None:
        super().__init__()
        matrix, no_mask = _own_prompt(sam)
        self.register_buffer("frequencies", torch.randn_like(matrix))
        self.no_mask = nn.Parameter(torch.randn_like(no_mask))


def train_decoder_only(sam: SAM) -> SAM:
    """Freeze all of SAM but what the promptless output of the mask decoder depends on.

    The quality head and the other masks' hypernetworks cannot change the output: they are never
    run, and frozen. Encoder and prompt encoder are frozen as a whole.
    """
    freeze(sam.image_encoder)
    freeze(sam.prompt_encoder)
    freeze(sam.mask_decoder.iou_prediction_head)
    for other in sam.mask_decoder.output_hypernetworks_mlps[1:]:
        freeze(other)
    return sam


def decode_without_prompt(
    sam: SAM, embedding: Tensor, random_prompt: RandomPrompt | None = None
) -> Tensor:
    """One mask per image, from SAM's first mask token.

    No sparse prompt; the dense prompt is the "no mask" vector everywhere.

    Args:
        sam: with its own decoder.
        embedding: (B,C,h,w) of the encoder.
        random_prompt: stands in for SAM's position encoding and "no mask" vector.

    Returns:
        Logits (B,1,4h,4w).
    """
    decoder, grid = sam.mask_decoder, embedding.shape[-2:]
    matrix, no_mask = _own_prompt(sam)
    if random_prompt is not None:
        matrix, no_mask = random_prompt.frequencies, random_prompt.no_mask
    tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    states, pixels = decoder.transformer(
        embedding + no_mask.reshape(1, -1, 1, 1),
        grid_position(matrix, grid).to(embedding.dtype),
        tokens.expand(embedding.shape[0], -1, -1),
    )
    pixels = decoder.output_upscaling(pixels.transpose(1, 2).unflatten(2, grid))
    kernel = decoder.output_hypernetworks_mlps[0](states[:, 1])
    return (kernel[:, None] @ pixels.flatten(2)).unflatten(-1, pixels.shape[-2:])


def _own_prompt(sam: SAM) -> tuple[Tensor, Tensor]:
    """SAM's position frequencies (2,C/2) and "no mask" vector (1,C)."""
    encoder = sam.prompt_encoder
    return encoder.pe_layer.positional_encoding_gaussian_matrix, encoder.no_mask_embed.weight
