"""MCA-SAM on the tiny SAM, a batch for it, and SAM-Adapter written down a second time."""

import math
from functools import partial

import torch
import torch.nn.functional as F
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import nn

from rgbx.backbones.sam import SAM_PRESETS
from rgbx.models import MCASAM
from tests.grouped import MCA_SAM, grouped

TINY = {"encoder": "tiny", "scale_factor": 8, "num_tokens": "all"}
PLAIN = {"token_weight": 0.0, "sample_weight": 0.0, "sample_branch": False}


def model(**options) -> MCASAM:
    torch.manual_seed(0)
    return MCASAM(**grouped(MCA_SAM, TINY | options))


def moved(module: nn.Module, scale: float = 0.05) -> nn.Module:
    """With every adaptor away from its start, so that everything has an effect."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return module


def batch(count: int = 2, size: tuple[int, int] = (64, 96), seed: int = 0) -> dict:
    """Smooth images with a darker box each."""
    generator = torch.Generator().manual_seed(seed)
    rgb = F.interpolate(torch.randn(count, 3, 6, 6, generator=generator), size, mode="bilinear")
    mask = torch.zeros(count, *size, dtype=torch.long)
    for i in range(count):
        top, left = 8 + 8 * (i % 3), 16 + 8 * (i % 4)
        mask[i, top : top + 24, left : left + 32] = 1
    rgb = rgb - 1.5 * mask[:, None]
    return {"rgb": rgb, "mask": mask, "name": [f"image {i}" for i in range(count)]}


def official_sam(state: dict) -> Sam:
    """The package's own SAM at the size of the tiny preset."""
    p = SAM_PRESETS["tiny"]
    side, width, grid = p.pretrain_size, p.out_dim, p.grid
    sam = Sam(
        ImageEncoderViT(
            img_size=side,
            embed_dim=p.dim,
            depth=p.depth,
            num_heads=p.heads,
            out_chans=width,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=p.window,
            global_attn_indexes=p.global_blocks,
        ),
        PromptEncoder(width, (grid, grid), (side, side), p.mask_channels),
        MaskDecoder(
            transformer_dim=width,
            transformer=TwoWayTransformer(2, width, p.decoder_heads, p.decoder_mlp),
            iou_head_hidden_dim=p.iou_hidden,
        ),
    )
    sam.load_state_dict(state)
    return sam.eval()


class PlainSAMAdapter(nn.Module):
    """SAM-Adapter by hooks on the package's SAM, from the report's formulas."""

    def __init__(self, state: dict, weights: dict) -> None:
        super().__init__()
        self.sam = official_sam(state).to(next(iter(weights.values())).dtype)
        self.weights = weights
        self.image: torch.Tensor
        encoder = self.sam.image_encoder
        encoder.patch_embed.register_forward_hook(self._features)
        for index, block in enumerate(encoder.blocks):
            block.register_forward_pre_hook(partial(self._adapt, index))

    def _layer(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _features(self, _, __, patches):
        height, width = self.image.shape[-2:]
        spectrum = torch.fft.fftshift(torch.fft.fft2(self.image, norm="forward"), dim=(-2, -1))
        n = int(math.sqrt(height * width * 0.25) // 2)
        mask = torch.ones(height, width)
        mask[height // 2 - n : height // 2 + n, width // 2 - n : width // 2 + n] = 0
        spectrum = torch.fft.ifftshift(spectrum * mask, dim=(-2, -1))
        high = torch.fft.ifft2(spectrum, norm="forward").real.abs()
        kernel, bias = (self.weights[f"features.frequency.{n}"] for n in ("weight", "bias"))
        high = F.conv2d(high, kernel, bias, stride=16).permute(0, 2, 3, 1)
        self.task = self._layer("features.embedding", patches) + high

    def _adapt(self, index, _, inputs):
        return (
            self._layer("token.up", F.gelu(self._layer(f"token.tune.{index}", self.task)))
            + (inputs[0])
        )

    def forward(self, rgb):
        self.image = rgb
        embeddings = self.sam.image_encoder(rgb)
        prompts = self.sam.prompt_encoder
        sparse, dense = prompts(points=None, boxes=None, masks=None)
        ys, xs = ((torch.arange(n).to(rgb) + 0.5) / n for n in embeddings.shape[-2:])
        centres = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1)
        position = prompts.pe_layer._pe_encoding(centres).permute(2, 0, 1)[None]  # get_dense_pe
        logits = [
            self.sam.mask_decoder(
                image_embeddings=embedding[None],
                image_pe=position,
                sparse_prompt_embeddings=sparse.to(rgb.dtype),
                dense_prompt_embeddings=dense,
                multimask_output=False,
            )[0]
            for embedding in embeddings
        ]
        return F.interpolate(
            torch.cat(logits), rgb.shape[-2:], mode="bilinear", align_corners=False
        )
