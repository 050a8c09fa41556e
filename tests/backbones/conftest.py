"""segment-anything's own encoder, carrying the weights of an rgbx `ViT`."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from torch import nn

from rgbx.backbones.vit import ViT, join_qkv


@pytest.fixture
def official_encoder() -> Callable[[ViT, int, int], ImageEncoderViT]:
    """Factory: the package's encoder made for height x width."""
    return _official_encoder


def _official_encoder(vit: ViT, height: int, width: int) -> ImageEncoderViT:
    """The package's class made for height x width.

    Its position embedding is `vit.position`; its relative tables keep their length, so that the
    package itself interpolates them.
    """
    config = vit.config
    encoder = ImageEncoderViT(
        img_size=config.pretrain_size,
        embed_dim=config.dim,
        depth=config.depth,
        num_heads=config.heads,
        out_chans=config.out_dim,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=config.window,
        global_attn_indexes=config.global_blocks,
    )
    encoder.load_state_dict(join_qkv(vit.state_dict()))
    with torch.no_grad():
        grid = vit.position(height // config.patch, width // config.patch).clone()
    encoder.pos_embed = nn.Parameter(grid)
    return encoder.eval()
