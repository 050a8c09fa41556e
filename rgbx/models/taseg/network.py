"""TASeg's encoder: SAM's frozen ViT with LoRA, a thermal patch embedding and DFFM (Eq. 1-5)."""

import copy
from typing import Literal

from torch import Tensor, nn

from rgbx.backbones.freeze import freeze
from rgbx.backbones.sam import SAM
from rgbx.backbones.vit import ViT
from rgbx.blocks.fusion import ConcatFusion, DynamicFeatureFusion
from rgbx.blocks.lora import inject_lora
from rgbx.models.taseg.decoder import TextAwareDecoder

__all__ = ["Fusion", "TASegEncoder", "TASegNetwork", "dffm_default_width"]

Fusion = Literal["dffm", "concat", "none"]


def dffm_default_width(dim: int) -> int:
    """Inner DFFM width: 192 at D = 1280 (with rank 16 it gives the paper's 28.77 M), 3/20 of D."""
    return max(16, round(dim * 3 / 20 / 16) * 16)


class TASegEncoder(nn.Module):
    """RGB stream through frozen SAM blocks; X joins in front of every block.

    At initialisation the output equals plain SAM on RGB, whatever X is: conv_c, the LoRA products
    and the X half of the concatenation start at zero.

    Args:
        vit: SAM's image encoder with its weights; frozen here.
        fusion: "dffm" (the paper), "concat" (its baseline: patch embeddings concatenated once and
            projected), or "none" (RGB only).
        dffm_width: inner width c of DFFM.
        x_position: add SAM's position embedding to the X tokens too.
        lora_rank: rank on q and v of every attention; 0 leaves the encoder frozen.
        lora_alpha: LoRA scale.

    Shape: rgb (B,3,H,W), x (B,3,H,W) -> (B,256,H/16,W/16), H and W multiples of 16.
    """

    def __init__(
        self,
        vit: ViT,
        fusion: Fusion,
        dffm_width: int,
        x_position: bool,
        lora_rank: int,
        lora_alpha: float,
    ) -> None:
        super().__init__()
        dim, depth = vit.config.dim, len(vit.blocks)
        # copied before freezing: PatchEmbed* starts as PatchEmbed and is trained (Eq. 1)
        self.x_patch_embed = copy.deepcopy(vit.patch_embed) if fusion != "none" else None
        self.vit = freeze(vit)
        if lora_rank:
            inject_lora(self.vit, r"blocks\.\d+\.attn\.(q|v)", lora_rank, lora_alpha)
        self.x_position = x_position
        self.dffm = nn.ModuleList(
            DynamicFeatureFusion(dim, dffm_width) for _ in range(depth if fusion == "dffm" else 0)
        )
        self.concat = ConcatFusion(dim) if fusion == "concat" else None

    def forward(self, rgb: Tensor, x: Tensor | None = None) -> Tensor:
        """Image embedding (B,256,H/16,W/16)."""
        tokens = self.vit.embed(rgb)
        fused = self._embed_x(x)
        if self.concat is not None:
            tokens = self.concat(tokens, fused)
        for index, block in enumerate(self.vit.blocks):
            if self.dffm:
                fused = self.dffm[index](fused, tokens)
                tokens = tokens + fused
            tokens = self.vit.run_block(block, tokens)
        return self.vit.project(tokens)

    def _embed_x(self, x: Tensor | None) -> Tensor | None:
        """Tokens (B,H/16,W/16,D) of the second modality, None for RGB alone."""
        if self.x_patch_embed is None:
            return None
        assert x is not None
        tokens = self.x_patch_embed(x)
        if self.x_position:
            tokens = tokens + self.vit.position(tokens.shape[1], tokens.shape[2])
        return tokens


class TASegNetwork(nn.Module):
    """Encoder and text-aware decoder; runs without Lightning.

    Shape: rgb (B,3,H,W), x (B,3,H,W), text (K,width) or None -> logits (B,K,H/4,W/4).
    """

    def __init__(self, encoder: TASegEncoder, decoder: TextAwareDecoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, rgb: Tensor, x: Tensor | None, text: Tensor | None) -> Tensor:
        """Class logits at a quarter of the input size."""
        return self.decoder(self.encoder(rgb, x), text)


def build_encoder(
    sam: SAM,
    fusion: Fusion,
    dffm_width: int | None,
    x_position: bool,
    lora_rank: int,
    lora_alpha: float,
) -> TASegEncoder:
    """The encoder on SAM's ViT, with the default DFFM width filled in."""
    vit = sam.image_encoder
    width = dffm_width or dffm_default_width(vit.config.dim)
    return TASegEncoder(vit, fusion, width, x_position, lora_rank, lora_alpha)
