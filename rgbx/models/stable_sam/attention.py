"""Where a prompt looks, with and without the plug-in (the paper's Fig. 4)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rgbx.errors import RGBXError
from rgbx.models.stable_sam.attach import OUTPUT_TOKEN
from rgbx.models.stable_sam.network import StableSAMNetwork
from rgbx.models.stable_sam.plugin import PluginLayer, Routing
from rgbx.prompts import Prompt

__all__ = ["AttentionMap", "attention_map"]


@dataclass(frozen=True)
class AttentionMap:
    """The output mask token's look at the image, in the last layer that the plug-in serves.

    Attributes:
        offsets: (2,h,w) in cells of the embedding, x then y; zeros where nothing is moved.
        locations: (h,w,2) x and y in pixels of the network's input: what each cell reads.
        before: (h,w) attention of the output mask token on the cells, mean over the heads, sum 1,
            without the plug-in.
        after: the same with it; a cell now stands for its location.
        alpha: (2,) routing weights of re-sampled and original features; (1, 0) without DRP.
        logits_before: (1,1,4h,4w) the mask's logits without the plug-in.
        logits_after: the same with it.
    """

    offsets: Tensor
    locations: Tensor
    before: Tensor
    after: Tensor
    alpha: Tensor
    logits_before: Tensor
    logits_after: Tensor


@torch.no_grad()
def attention_map(network: StableSAMNetwork, rgb: Tensor, prompt: Prompt) -> AttentionMap:
    """Decode one prompt twice and watch.

    Args:
        network: with a plug-in.
        rgb: (1,3,H,W) normalised.
        prompt: in pixels of that image.

    Returns:
        Tensors on the CPU.

    Raises:
        RGBXError: the network has no plug-in.
    """
    if network.plugin is None:
        raise RGBXError("There is no plug-in whose effect could be shown: set `train: plugin`.")
    size = (rgb.shape[-2], rgb.shape[-1])
    embedding = network.embed(rgb)
    grid = embedding.shape[-2:]
    index = max(int(name) for name in network.plugin.layers)
    part = network.plugin.layers[str(index)]
    assert isinstance(part, PluginLayer)
    layer: nn.Module = network.sam.mask_decoder.transformer.layers[index]
    seen: list[Routing] = []

    def keep(at: int, routing: Routing) -> None:
        if at == index:
            seen.append(routing)

    def look(plugin: bool) -> tuple[Tensor, Tensor]:
        with _weights(layer.get_submodule("cross_attn_token_to_image")) as found:
            logits, _ = network.decode(embedding, [prompt], size, plugin=plugin, listener=keep)
        return found[0].reshape(grid).float().cpu(), logits.float().cpu()

    (before, logits_before), (after, logits_after) = look(False), look(True)
    offsets, alpha = seen[0].offsets, seen[0].alpha
    moves = torch.zeros(2, *grid) if offsets is None else offsets[0].float().cpu()
    return AttentionMap(
        offsets=moves,
        locations=_locations(moves, size, part.border),
        before=before,
        after=after,
        alpha=torch.tensor([1.0, 0.0]) if alpha is None else alpha[0].float().cpu(),
        logits_before=logits_before,
        logits_after=logits_after,
    )


@contextmanager
def _weights(attention: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the output token's attention (h*w,), mean over heads, from the calls inside.

    Queries and keys are taken from the layer's own projections, after whatever the plug-in did.
    """
    parts: dict[str, Tensor] = {}
    found: list[Tensor] = []

    def project(name: str) -> Any:
        def keep(_: nn.Module, inputs: Any, output: Tensor) -> None:
            parts[name] = output.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)

        return keep

    def finish(_: nn.Module, inputs: Any, output: Tensor) -> None:
        query, key = parts["q"][0, :, OUTPUT_TOKEN], parts["k"][0]
        scores = (key @ query[..., None])[..., 0] / query.shape[-1] ** 0.5
        found.append(scores.float().softmax(-1).mean(0))

    handles = [
        attention.get_submodule("q_proj").register_forward_hook(project("q")),
        attention.get_submodule("k_proj").register_forward_hook(project("k")),
        attention.register_forward_hook(finish),
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _locations(offsets: Tensor, size: tuple[int, int], border: str) -> Tensor:
    """Pixels (h,w,2) that the cells' offsets (2,h,w) point at; a cell's place is its centre."""
    height, width = offsets.shape[-2:]
    x = torch.arange(width) + offsets[0]
    y = torch.arange(height)[:, None] + offsets[1]
    if border == "clamp":
        x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    scale = torch.tensor([size[1] / width, size[0] / height])
    return (torch.stack([x, y], dim=-1) + 0.5) * scale - 0.5
