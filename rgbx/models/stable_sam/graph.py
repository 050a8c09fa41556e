"""Stable-SAM cut into graphs that other programs can run: encoder, clicks, coarse masks."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rgbx.backbones.vit import ViT
from rgbx.models.stable_sam.network import StableSAMNetwork
from rgbx.models.stable_sam.prompting import click_tokens
from rgbx.prompts import Prompt
from rgbx.tasks.base import resize

__all__ = ["BOX_LABELS", "PADDING", "ClickDecoder", "MaskPromptDecoder", "click_prompts", "cut"]

#: labels of a box's upper left and lower right corner, next to 1 (object) and 0 (not)
BOX_LABELS = (2, 3)
#: label of the last token of every prompt without a box
PADDING = -1


class ClickDecoder(nn.Module):
    """Answers boxes and points on one image.

    Args:
        network: whose prompt encoder, mask decoder and plug-in are used.
        size: (H,W) of the image.

    Shape: embedding (1,C,H/16,W/16), points (N,T,2) in pixels, labels (N,T) int64
    -> logits (N,1,H,W).
    """

    def __init__(self, network: StableSAMNetwork, size: tuple[int, int]) -> None:
        super().__init__()
        self.network = network
        self.size = size

    def forward(self, embedding: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """Logits of every prompt; see `click_prompts` for what points and labels mean."""
        encoder = self.network.sam.prompt_encoder
        sparse = click_tokens(encoder, points, labels, self.size)
        dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        position = encoder.pe_layer(embedding.shape[-2:])[None]
        return resize(self.network.answer_encoded(embedding, sparse, dense, position), self.size)


class MaskPromptDecoder(nn.Module):
    """Answers coarse masks on one image; they have no tokens, so they need a graph of their own.

    Args:
        network: see `ClickDecoder`.
        size: see there.

    Shape: embedding (1,C,H/16,W/16), masks (N,1,H/4,W/4) -> logits (N,1,H,W).
    """

    def __init__(self, network: StableSAMNetwork, size: tuple[int, int]) -> None:
        super().__init__()
        self.network = network
        self.size = size

    def forward(self, embedding: Tensor, masks: Tensor) -> Tensor:
        """Logits of every prompt."""
        encoder = self.network.sam.prompt_encoder
        dense = encoder.mask_downscaling(masks)
        nothing = dense.new_zeros(dense.shape[0], 0, encoder.embed_dim)
        position = encoder.pe_layer(embedding.shape[-2:])[None]
        return resize(self.network.answer_encoded(embedding, nothing, dense, position), self.size)


def cut(
    network: StableSAMNetwork, size: tuple[int, int]
) -> tuple[ViT, ClickDecoder, MaskPromptDecoder]:
    """The graphs of a network that is given up for them: its encoder is taken out.

    Args:
        network: a copy.
        size: (H,W) of the images.
    """
    encoder = network.sam.image_encoder
    del network.sam.image_encoder
    return encoder, ClickDecoder(network, size), MaskPromptDecoder(network, size)


def click_prompts(points: Tensor, labels: Tensor) -> Sequence[Prompt]:
    """The prompts that rows of points and labels stand for.

    Args:
        points: (N,T,2) x and y in pixels of the network's input.
        labels: (N,T): a box is its two corners, labelled `BOX_LABELS`; points are labelled 1 (on
            the object) or 0, and followed by one place of any value labelled `PADDING`.
    """
    corners = torch.tensor(BOX_LABELS)
    prompts = []
    for places, marks in zip(points, labels, strict=True):
        if torch.equal(marks, corners):
            prompts.append(Prompt(kind="box", box=places.reshape(4)))
        else:
            prompts.append(Prompt(kind="points", points=places[:-1], labels=marks[:-1]))
    return prompts
