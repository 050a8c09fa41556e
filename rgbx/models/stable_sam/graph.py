"""Stable-SAM cut into graphs that other programs can run: encoder, clicks, coarse masks."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from rgbx.models.stable_sam.network import StableSAMNetwork
from rgbx.models.stable_sam.prompting import click_tokens
from rgbx.prompts import Prompt
from rgbx.tasks.base import resize
from rgbx.tasks.export_part import RGB, Part, Port, Sizes, example_images

__all__ = ["ClickDecoder", "MaskPromptDecoder", "prompted_parts"]

_POINTS = "x and y in pixels of the encoder's input; the first pixel's centre is (0, 0)"
_LABELS = (
    "a box: 2 (upper left corner), 3 (lower right corner); points: 1 (on the object) or 0 each, "
    "then one more point (0, 0) with -1"
)
_MASKS = "0 next to and 255 on the object (or -10 and 10), a quarter of the input's size"
_LOGITS = "of each prompt; resize to the image, then above 0 is the object"
_BOX_LABELS, _PADDING = (2, 3), -1


class _Decoder(nn.Module):
    """Decodes prompts of one form on one image of `size` (H,W)."""

    def __init__(self, network: StableSAMNetwork, size: tuple[int, int]) -> None:
        super().__init__()
        self.network = network
        self.size = size

    def decode(self, embedding: Tensor, sparse: Tensor, dense: Tensor) -> Tensor:
        """Logits (N,1,H,W) of tokens (N,T,C) and maps (1 or N,C,h,w)."""
        position = self.network.sam.prompt_encoder.pe_layer(embedding.shape[-2:])[None]
        return resize(self.network.decode_encoded(embedding, sparse, dense, position), self.size)


class ClickDecoder(_Decoder):
    """Decodes boxes and points on one image.

    Shape: embedding (1,C,H/16,W/16), points (N,T,2) in pixels, labels (N,T) int64
    -> logits (N,1,H,W).
    """

    def forward(self, embedding: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """Logits of every prompt; see `click_tokens` for what points and labels mean."""
        encoder = self.network.sam.prompt_encoder
        sparse = click_tokens(encoder, points, labels, self.size)
        return self.decode(embedding, sparse, encoder.no_mask_embed.weight.reshape(1, -1, 1, 1))


class MaskPromptDecoder(_Decoder):
    """Decodes coarse masks on one image; they have no tokens, so they need a graph of their own.

    Shape: embedding (1,C,H/16,W/16), masks (N,1,H/4,W/4) -> logits (N,1,H,W).
    """

    def forward(self, embedding: Tensor, masks: Tensor) -> Tensor:
        """Logits of every prompt."""
        encoder = self.network.sam.prompt_encoder
        dense = encoder.mask_downscaling(masks)
        no_tokens = dense.new_zeros(dense.shape[0], 0, encoder.embed_dim)
        return self.decode(embedding, no_tokens, dense)


def prompted_parts(
    network: StableSAMNetwork, merged: StableSAMNetwork, size: tuple[int, int]
) -> list[Part]:
    """Encoder, decoder of boxes and points, decoder of coarse masks.

    Boxes and points are tokens, coarse masks are a map and no token: two graphs, because the
    number of tokens cannot be 0 in one that has some.

    Args:
        network: as trained.
        merged: a copy, which is given up: its encoder is taken out.
        size: (H,W) of the network's input.
    """
    encoder = merged.sam.image_encoder
    del merged.sam.image_encoder
    grid = (network.sam.preset.decoder_dim, size[0] // 16, size[1] // 16)

    def example(sizes: Sizes, generator: Generator) -> tuple[Tensor, ...]:
        return (example_images(sizes["batch"], size, generator),)

    encoding = Part(
        name="encoder",
        module=encoder,
        reference=network.embed,
        inputs=(Port("rgb", ("batch", 3, *size), RGB),),
        output=Port("embedding", ("batch", *grid), "of each image"),
        example=example,
        traced={"batch": 2},
        checked=({"batch": 1}, {"batch": 3}),
    )
    of_one = "one image's share of what the encoder returns, [i:i+1]"
    embedding = Port("embedding", (1, *grid), of_one)
    logits = Port("logits", ("prompts", 1, *size), _LOGITS)
    return [
        encoding,
        _click_part(network, ClickDecoder(merged, size), embedding, logits),
        _mask_part(network, MaskPromptDecoder(merged, size), embedding, logits),
    ]


def _click_part(
    network: StableSAMNetwork, decoder: ClickDecoder, embedding: Port, logits: Port
) -> Part:
    size, shape = decoder.size, tuple(map(int, embedding.shape))

    def example(sizes: Sizes, generator: Generator) -> tuple[Tensor, ...]:
        image = torch.randn(shape, generator=generator)
        return image, *_example_clicks(sizes["prompts"], sizes["tokens"], size, generator)

    def reference(image: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        return resize(network.decode(image, _as_prompts(points, labels), size)[0], size)

    return Part(
        name="decoder",
        module=decoder,
        reference=reference,
        inputs=(
            embedding,
            Port("points", ("prompts", "tokens", 2), _POINTS),
            Port("labels", ("prompts", "tokens"), _LABELS, torch.int64),
        ),
        output=logits,
        example=example,
        traced={"prompts": 3, "tokens": 4},
        checked=(
            {"prompts": 1, "tokens": 2},
            {"prompts": 4, "tokens": 2},
            {"prompts": 2, "tokens": 5},
        ),
    )


def _mask_part(
    network: StableSAMNetwork, decoder: MaskPromptDecoder, embedding: Port, logits: Port
) -> Part:
    size, shape = decoder.size, tuple(map(int, embedding.shape))
    height, width = size[0] // 4, size[1] // 4

    def example(sizes: Sizes, generator: Generator) -> tuple[Tensor, ...]:
        image = torch.randn(shape, generator=generator)
        noise = torch.rand(sizes["prompts"], 1, height, width, generator=generator)
        ragged_half = noise + torch.linspace(-1, 1, width) > 0.5
        return image, 255.0 * ragged_half

    def reference(image: Tensor, masks: Tensor) -> Tensor:
        prompts = [Prompt(kind="coarse_mask", mask=mask) for mask in masks]
        return resize(network.decode(image, prompts, size)[0], size)

    return Part(
        name="decoder_masks",
        module=decoder,
        reference=reference,
        inputs=(embedding, Port("masks", ("prompts", 1, height, width), _MASKS)),
        output=logits,
        example=example,
        traced={"prompts": 2},
        checked=({"prompts": 1}, {"prompts": 3}),
    )


def _example_clicks(
    count: int, tokens: int, size: tuple[int, int], generator: Generator
) -> tuple[Tensor, Tensor]:
    """Points (count,tokens,2) in pixels and labels (count,tokens): boxes and points in turn.

    Only prompts of two tokens can be boxes; the others are points and their padding.
    """
    extent = torch.tensor([size[1] - 1.0, size[0] - 1.0])
    points = torch.rand(count, tokens, 2, generator=generator) * extent
    labels = torch.randint(0, 2, (count, tokens), generator=generator)
    labels[:, -1], points[:, -1] = _PADDING, 0.0
    if tokens == 2:
        corners = torch.rand(count, 2, 2, generator=generator).sort(dim=1).values * extent
        points[::2], labels[::2] = corners[::2], torch.tensor(_BOX_LABELS)
    return points, labels


def _as_prompts(points: Tensor, labels: Tensor) -> Sequence[Prompt]:
    """The prompts that rows of points (N,T,2) and labels (N,T) stand for."""
    prompts = []
    for row, marks in zip(points, labels, strict=True):
        if tuple(marks.tolist()) == _BOX_LABELS:
            prompts.append(Prompt(kind="box", box=row.reshape(4)))
        else:
            prompts.append(Prompt(kind="points", points=row[:-1], labels=marks[:-1]))
    return prompts
