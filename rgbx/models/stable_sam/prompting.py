"""SAM's prompt encoder at any image size.

The package's `PromptEncoder` holds the size of the image and of its embedding as numbers of the
constructor. Here both come with each call; weights and results are the package's.
"""

from collections.abc import Sequence

import torch
from segment_anything.modeling import PromptEncoder
from torch import Tensor

from rgbx.backbones.sam_position import encode_places
from rgbx.prompts import Prompt, PromptStack, stack_prompts

__all__ = ["EncodedPrompts", "encode_prompts"]

_PADDING, _CORNERS = -1, (2, 3)  # SAM's labels next to 0 (negative) and 1 (positive)


class EncodedPrompts:
    """N prompts that one pass through the mask decoder can take.

    Attributes:
        positions: where they stand in the sequence that was encoded.
        sparse: (N,T,C) tokens, T the same for all of them.
        dense: (1,C,1,1) for prompts without a mask, else (N,C,h,w).
    """

    def __init__(self, positions: list[int], sparse: Tensor, dense: Tensor) -> None:
        self.positions = positions
        self.sparse = sparse
        self.dense = dense

    def split(self, count: int) -> "list[EncodedPrompts]":
        """The same in pieces of at most `count` prompts."""
        pieces = []
        for first in range(0, len(self.positions), count):
            part = slice(first, first + count)
            dense = self.dense if len(self.dense) == 1 else self.dense[part]
            pieces.append(EncodedPrompts(self.positions[part], self.sparse[part], dense))
        return pieces


def encode_prompts(
    encoder: PromptEncoder, prompts: Sequence[Prompt], size: tuple[int, int]
) -> list[EncodedPrompts]:
    """Tokens and dense embeddings of prompts, grouped so that each group is one decoder call.

    Boxes (two tokens) and single points (the point and SAM's "not a point") go together. Other
    numbers of tokens stay apart: the decoder attends to every token, so that filling up the shorter
    prompts would change their masks.

    Args:
        encoder: SAM's.
        prompts: of any kinds, in any order.
        size: (H, W) of the image that the coordinates belong to, in pixels.

    Raises:
        RGBXError: a prompt holds nothing, or more than one of box, points and mask.
    """
    device = encoder.no_mask_embed.weight.device
    groups: dict[int, list[tuple[PromptStack, Tensor]]] = {}
    encoded = []
    for stack in stack_prompts(prompts, device):
        if stack.masks is not None:
            dense = encoder.mask_downscaling(stack.masks)
            nothing = dense.new_zeros(len(dense), 0, encoder.embed_dim)
            encoded.append(EncodedPrompts(stack.positions, nothing, dense))
            continue
        tokens = click_tokens(encoder, *_clicks(stack), size)
        groups.setdefault(tokens.shape[1], []).append((stack, tokens))
    dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
    for members in groups.values():
        positions = [i for stack, _ in members for i in stack.positions]
        encoded.append(EncodedPrompts(positions, torch.cat([t for _, t in members]), dense))
    return encoded


def _clicks(stack: PromptStack) -> tuple[Tensor, Tensor]:
    """Coordinates (N,T,2) and SAM's labels (N,T) of boxes or points."""
    if stack.boxes is not None:
        corners = stack.boxes.reshape(-1, 2, 2)
        return corners, torch.tensor(_CORNERS, device=corners.device).expand(len(corners), 2)
    assert stack.points is not None and stack.labels is not None
    points, labels = stack.points, stack.labels
    # SAM appends one "not a point" token whenever no box is given
    padding = points.new_zeros(len(points), 1, 2)
    return (
        torch.cat([points, padding], dim=1),
        torch.cat([labels, torch.full_like(labels[:, :1], _PADDING)], dim=1),
    )


def click_tokens(
    encoder: PromptEncoder, points: Tensor, labels: Tensor, size: Sequence[int]
) -> Tensor:
    """Tokens (N,T,C) of clicks in an image of `size` (H,W).

    Args:
        encoder: SAM's.
        points: (N,T,2) x and y in pixels.
        labels: (N,T) int64: 1 on the object, 0 next to it, 2 and 3 a box's upper left and lower
            right corner, -1 "not a point".
        size: (H,W).
    """
    matrix = encoder.pe_layer.positional_encoding_gaussian_matrix
    height, width = size
    scale = torch.tensor([width, height], device=points.device, dtype=matrix.dtype)
    encoded = encode_places((points.to(matrix.dtype) + 0.5) / scale, matrix)
    encoded = encoded.where((labels != _PADDING)[..., None], torch.zeros_like(encoded))
    kinds = [encoder.not_a_point_embed, *encoder.point_embeddings]
    return encoded + torch.cat([kind.weight for kind in kinds])[labels + 1]
