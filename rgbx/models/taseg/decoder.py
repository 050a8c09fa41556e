"""TASeg's text-aware mask decoder: SAM's, one mask token per class, pixels attending to text."""

import copy
import math

import torch
from torch import Tensor, nn

from rgbx.backbones.freeze import freeze
from rgbx.backbones.sam import SAM
from rgbx.backbones.sam_position import grid_position
from rgbx.blocks.lora import inject_lora
from rgbx.errors import RGBXError

__all__ = ["TextAttention", "TextAwareDecoder"]


class TextAttention(nn.Module):
    """Pixels ask the class names (Eq. 8).

    ``softmax(e_M W_Q (e_t W_K)^T / sqrt(d_k)) e_t W_V`` and an output projection that starts at
    zero, so that without training the decoder is SAM's.

    Args:
        pixel_dim: channels of the up-scaled pixel features, also d_k (32 in SAM).
        text_dim: width of the text embeddings (768 for CLIP ViT-L/14).

    Shape: pixels (B,C,h,w), text (K,text_dim) -> (B,C,h,w).
    """

    def __init__(self, pixel_dim: int, text_dim: int) -> None:
        super().__init__()
        self.query = nn.Linear(pixel_dim, pixel_dim, bias=False)
        self.key = nn.Linear(text_dim, pixel_dim, bias=False)
        self.value = nn.Linear(text_dim, pixel_dim, bias=False)
        self.project = nn.Linear(pixel_dim, pixel_dim)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, pixels: Tensor, text: Tensor) -> Tensor:
        """The text feature of every pixel."""
        batch, _, height, width = pixels.shape
        query = self.query(pixels.flatten(2).transpose(1, 2))
        key, value = self.key(text), self.value(text)
        # scores are (B, h*w, K): linear in pixels, so they are formed openly
        scores = (query @ key.T) / math.sqrt(key.shape[-1])
        # softmax runs in float32 under autocast
        weights = torch.softmax(scores, dim=-1)
        attended = self.project(weights.to(value.dtype) @ value)
        return attended.transpose(1, 2).reshape(batch, -1, height, width)


class TextAwareDecoder(nn.Module):
    """SAM's mask decoder for K classes.

    The two-way transformer and the prompt encoder stay frozen (LoRA on q and v of all attentions
    when ``lora_rank`` > 0). Mask tokens, hypernetworks and up-scaling are trained: every class
    starts from SAM's single-mask token and its hypernetwork.

    Args:
        sam: source of the parts; they are taken over, not copied, where frozen.
        num_classes: K.
        lora_rank: 0 for no LoRA in the decoder (ablation).
        lora_alpha: LoRA scale.
        text_dim: width of the text embeddings, or 0 for no text attention (ablation).
        point_grid: n > 0 puts an n x n grid of positive points as sparse prompts.

    Shape: embedding (B,256,h,w) -> logits (B,K,4h,4w).
    """

    def __init__(
        self,
        sam: SAM,
        num_classes: int,
        lora_rank: int,
        lora_alpha: float,
        text_dim: int,
        point_grid: int,
    ) -> None:
        super().__init__()
        decoder = sam.mask_decoder
        dim = decoder.transformer_dim
        self.prompt_encoder = freeze(sam.prompt_encoder)
        self.transformer = freeze(decoder.transformer)
        if point_grid < 0:
            raise RGBXError(f"point_grid is {point_grid}: give 0 (no points) or more per side.")
        if lora_rank:
            inject_lora(self.transformer, r".*\.(q_proj|v_proj)", lora_rank, lora_alpha)
        self.iou_token = copy.deepcopy(decoder.iou_token)
        self.mask_tokens = nn.Embedding(num_classes, dim)
        with torch.no_grad():
            self.mask_tokens.weight.copy_(decoder.mask_tokens.weight[:1].expand(num_classes, -1))
        self.upscaling = copy.deepcopy(decoder.output_upscaling)
        self.hypernetworks = nn.ModuleList(
            copy.deepcopy(decoder.output_hypernetworks_mlps[0]) for _ in range(num_classes)
        )
        self.text_attention = TextAttention(dim // 8, text_dim) if text_dim else None
        self.point_grid = point_grid

    def forward(self, embedding: Tensor, text: Tensor | None) -> Tensor:
        """Class logits from an image embedding.

        Args:
            embedding: (B,C,h,w) of the encoder.
            text: (K,text_dim) class embeddings; needed when the decoder has text attention.
        """
        batch, dim, height, width = embedding.shape
        dense = self.prompt_encoder.no_mask_embed.weight.reshape(1, dim, 1, 1)
        position = self._position(height, width).to(embedding.dtype).expand(batch, -1, -1, -1)
        tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = tokens[None].expand(batch, -1, -1)
        if self.point_grid:
            points = self._points().expand(batch, -1, -1)
            tokens = torch.cat([tokens, points.to(tokens.dtype)], dim=1)
        states, pixels = self.transformer(embedding + dense, position, tokens)
        pixels = self.upscaling(pixels.transpose(1, 2).reshape(batch, dim, height, width))
        if self.text_attention is not None:
            assert text is not None
            pixels = pixels + self.text_attention(pixels, text.to(pixels.dtype))
        heads = [head(states[:, 1 + k]) for k, head in enumerate(self.hypernetworks)]
        return torch.einsum("bkc,bchw->bkhw", torch.stack(heads, dim=1), pixels)

    def _position(self, height: int, width: int) -> Tensor:
        """SAM's encoding (1,C,height,width) of the centres of a grid's cells."""
        matrix = self.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
        return grid_position(matrix, (height, width))

    def _points(self) -> Tensor:
        """(1, n*n + 1, C): positive points at the centres of an n x n grid, and a padding point.

        SAM appends one "not a point" token whenever no box is given.
        """
        n, encoder = self.point_grid, self.prompt_encoder
        points = self._position(n, n)[0].flatten(1).T + encoder.point_embeddings[1].weight
        return torch.cat([points, encoder.not_a_point_embed.weight])[None]
