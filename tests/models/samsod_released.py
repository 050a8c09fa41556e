"""The released SAMSOD network as the paper sheet describes it, written plainly for tests.

One image at a time, the streams one after the other, every block spelt out; names as in the
released file. Nothing of `rgbx.blocks` or `rgbx.models` is used.
"""

import torch
import torch.nn.functional as F
from sam2.modeling.backbones.hieradet import do_pool
from sam2.modeling.backbones.utils import window_partition, window_unpartition
from torch import Tensor, nn

from rgbx.backbones.sam2 import SAM2, SAM2_PRESETS


class Adapter(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.down_proj, self.up_proj = nn.Linear(dim, 32), nn.Linear(32, dim)

    def forward(self, x: Tensor, share: Tensor, largest: bool) -> Tensor:
        hidden = F.gelu(self.down_proj(x))
        values, indices = hidden.topk(int(32 * share), dim=-1, largest=largest)
        return 0.5 * self.up_proj(torch.zeros_like(hidden).scatter(-1, indices, values))


class Pair(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.router = nn.Sequential(nn.Linear(dim, 2), nn.Softmax(dim=-1))
        self.router_2 = nn.Sequential(nn.Linear(dim, 2), nn.Softmax(dim=-1))
        self.adaptmlp, self.adaptmlp1 = Adapter(dim), Adapter(dim)

    def forward(self, x: Tensor) -> Tensor:
        high, low = self.router(x).mean(dim=(0, 1, 2))
        weights = self.router_2(x)
        foreground = weights[..., :1] * self.adaptmlp(x, 0.45 + 0.1 * high, True)
        return foreground + weights[..., 1:] * self.adaptmlp1(x, 0.35 + 0.1 * low, False)


class Released(nn.Module):
    """Random values everywhere, from the global generator; call with batches of one image."""

    def __init__(self, encoder: str) -> None:
        super().__init__()
        self.model = SAM2(SAM2_PRESETS[encoder])
        self.model.maskmem_tpos_enc = nn.Parameter(torch.zeros(7, 1, 1, 4))
        self.model.memory_encoder = nn.Sequential(nn.Linear(3, 3))
        self.groups: dict[str, list[str]] = {"rgb": [], "depth": []}
        first = 0
        for stage, length in enumerate(self.model.preset.stages):
            dim = self.model.preset.stage_dims[stage]
            for stream, end in (("rgb", ""), ("depth", "d")):
                name = f"{stream}{first}_{first + length - 1}{end}"
                self.groups[stream].append(name)
                self.add_module(name, nn.ModuleList(Pair(dim) for _ in range(length)))
            first += length
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        self.eval()

    def forward(self, rgb: Tensor, depth: Tensor) -> dict[str, Tensor]:
        streams = [self._encode(rgb, "rgb"), self._encode(depth, "depth")]
        sums = [a + b for a, b in zip(*streams, strict=True)]
        names = ("fusion", "rgb", "x")
        return {n: self._decode(m) for n, m in zip(names, (sums, *streams), strict=True)}

    def _encode(self, image: Tensor, stream: str) -> list[Tensor]:
        trunk = self.model.image_encoder.trunk
        adapters = [a for group in self.groups[stream] for a in getattr(self, group)]
        x = trunk.patch_embed(image)
        x = x + trunk._get_pos_embed(x.shape[1:3])
        maps = []
        for index, (block, adapter) in enumerate(zip(trunk.blocks, adapters, strict=True)):
            x = _attend(block, x)
            x = x + block.mlp(block.norm2(x)) + adapter(x)
            if index in trunk.stage_ends:
                maps.append(x.permute(0, 3, 1, 2))
        return maps

    def _decode(self, maps: list[Tensor]) -> Tensor:
        decoder = self.model.sam_mask_decoder
        levels, _ = self.model.image_encoder.neck(maps)
        coarse = levels[2] + self.model.no_mem_embed.reshape(1, -1, 1, 1)
        position = self.model.sam_prompt_encoder.pe_layer(coarse.shape[-2:])[None]
        masks, *_ = decoder.predict_masks(
            image_embeddings=coarse,
            image_pe=position,
            sparse_prompt_embeddings=coarse.new_empty(len(coarse), 0, coarse.shape[1]),
            dense_prompt_embeddings=torch.zeros_like(coarse),
            repeat_image=False,
            high_res_features=[decoder.conv_s0(levels[0]), decoder.conv_s1(levels[1])],
        )
        return F.interpolate(masks[:, :1], scale_factor=4, mode="bilinear", align_corners=False)


def _attend(block: nn.Module, x: Tensor) -> Tensor:
    """The first half of a block: window attention with query pooling, and its shortcut."""
    shortcut, x = x, block.norm1(x)
    if block.dim != block.dim_out:
        shortcut = do_pool(block.proj(x), block.pool)
    size, window = shortcut.shape[1:3], block.window_size
    if window:
        x, padded = window_partition(x, window)
    batch, height, width, _ = x.shape
    heads = block.attn.num_heads
    q, k, v = block.attn.qkv(x).reshape(batch, height, width, 3, -1).unbind(3)
    if block.q_stride:
        q = do_pool(q, block.pool)
        window = window // block.q_stride[0]
        padded = tuple(side // 2 for side in padded)
    pooled = q.shape[1:3]
    q, k, v = (t.reshape(batch, -1, heads, t.shape[-1] // heads).transpose(1, 2) for t in (q, k, v))
    scores = torch.softmax(q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5, dim=-1)
    x = block.attn.proj((scores @ v).transpose(1, 2).reshape(batch, *pooled, -1))
    if window:
        x = window_unpartition(x, window, padded, size)
    return shortcut + x
