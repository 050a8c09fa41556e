"""The files of a model with prompts: encoder, decoder of clicks, decoder of coarse masks."""

import torch
from torch import Generator, Tensor

from rgbx.export.inputs import clicks, coarse_masks, images
from rgbx.export.part import RGB, Part, Port, Sizes
from rgbx.models.stable_sam.graph import click_prompts, cut
from rgbx.models.stable_sam.network import StableSAMNetwork
from rgbx.prompts import Prompt
from rgbx.tasks.base import resize

__all__ = ["prompted_parts"]

_EMBEDDING = "one image's share of what the encoder returns, [i:i+1]"
_POINTS = "x and y in pixels of the encoder's input; the first pixel's centre is (0, 0)"
_LABELS = (
    "a box: 2 (upper left corner), 3 (lower right corner); points: 1 (on the object) or 0 each, "
    "then one more place (0, 0) with -1"
)
_MASKS = "0 next to and 255 on the object (or -10 and 10), a quarter of the input's size"
_LOGITS = "of each prompt; resize to the image, then above 0 is the object"


def prompted_parts(
    network: StableSAMNetwork, merged: StableSAMNetwork, size: tuple[int, int]
) -> list[Part]:
    """Encoder, decoder of boxes and points, decoder of coarse masks.

    Boxes and points are tokens, coarse masks are a map and no token: two graphs, because the
    number of tokens cannot be 0 in one that has some.

    Args:
        network: as trained.
        merged: a copy, which is taken apart.
        size: (H,W) of the network's input.
    """
    sam = network.sam
    grid = (sam.preset.decoder_dim, size[0] // 16, size[1] // 16)
    encoder, click_decoder, mask_decoder = cut(merged, size)
    embedding = Port("embedding", (1, *grid), _EMBEDDING)
    logits = Port("logits", ("prompts", 1, *size), _LOGITS)
    points = Port("points", ("prompts", "tokens", 2), _POINTS)
    labels = Port("labels", ("prompts", "tokens"), _LABELS, torch.int64)
    masks = Port("masks", ("prompts", 1, size[0] // 4, size[1] // 4), _MASKS)

    def embeddings(generator: Generator) -> Tensor:
        return torch.randn(1, *grid, generator=generator)

    def see(sizes: Sizes, generator: Generator) -> tuple[Tensor, ...]:
        return (images(sizes["batch"], size, generator),)

    def click(sizes: Sizes, generator: Generator) -> tuple[Tensor, ...]:
        drawn = clicks(sizes["prompts"], sizes["tokens"], size, generator)
        return embeddings(generator), *drawn

    def sketch(sizes: Sizes, generator: Generator) -> tuple[Tensor, ...]:
        return embeddings(generator), coarse_masks(sizes["prompts"], size, generator)

    def answer_clicks(image: Tensor, places: Tensor, marks: Tensor) -> Tensor:
        return resize(network.decode(image, click_prompts(places, marks), size)[0], size)

    def answer_masks(image: Tensor, sketches: Tensor) -> Tensor:
        prompts = [Prompt(kind="coarse_mask", mask=mask) for mask in sketches]
        return resize(network.decode(image, prompts, size)[0], size)

    return [
        Part(
            *("encoder", encoder, network.embed),
            inputs=(Port("rgb", ("batch", 3, *size), RGB),),
            output=Port("embedding", ("batch", *grid), "of each image"),
            least={"batch": 1},
            example=see,
            traced={"batch": 2},
            checked=({"batch": 1}, {"batch": 3}),
        ),
        Part(
            *("decoder", click_decoder, answer_clicks),
            inputs=(embedding, points, labels),
            output=logits,
            least={"prompts": 1, "tokens": 2},
            example=click,
            traced={"prompts": 3, "tokens": 4},
            checked=(
                {"prompts": 1, "tokens": 2},
                {"prompts": 4, "tokens": 2},
                {"prompts": 2, "tokens": 5},
            ),
        ),
        Part(
            *("decoder_masks", mask_decoder, answer_masks),
            inputs=(embedding, masks),
            output=logits,
            least={"prompts": 1},
            example=sketch,
            traced={"prompts": 2},
            checked=({"prompts": 1}, {"prompts": 3}),
        ),
    ]
