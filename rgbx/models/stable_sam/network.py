"""Stable-SAM's network: SAM with the plug-in on its mask decoder, or with parts of it trained."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from rgbx.backbones.freeze import freeze
from rgbx.backbones.sam import SAM
from rgbx.backbones.sam_position import grid_position
from rgbx.errors import RGBXError
from rgbx.models.stable_sam.attach import OUTPUT_TOKEN, Attachment, Listener, attach
from rgbx.models.stable_sam.plugin import Plugin, Routing
from rgbx.models.stable_sam.prompting import EncodedPrompts, encode_prompts
from rgbx.prompts import Prompt

__all__ = ["StableSAMNetwork", "Train"]

Train: TypeAlias = Literal["plugin", "decoder", "token"]

_CELLS, _CPU_CELLS = 2**17, 2**14  # cells of all prompts of a decoder call


class StableSAMNetwork(nn.Module):
    """SAM, prompted; runs without Lightning.

    The decoder returns the mask of its single-mask token; what only serves the other masks and the
    quality score is never run, and frozen. The plug-in sits on the decoder for the length of a
    call: between calls, and in copies, SAM carries no hooks.

    Args:
        sam: SAM with its weights; taken over, and frozen but for what `train` names.
        plugin: attached to the mask decoder; None for plain SAM.
        train: "plugin": nothing of SAM; "decoder": all of the mask decoder that this mask depends
            on (DT-SAM, or the paper's Table 11 together with a plug-in); "token": the output mask
            token and its hypernetwork (PT-SAM).
        decode_batch: prompts per decoder call when no gradients are needed; None: as many as keep
            the device busy and, on a CPU, its caches useful (4 at 1024 x 1024, else 32).

    Attributes:
        mask_token: with `train` = "token" the trained (1,C) token; it stands in for the first row
            of SAM's token table, which stays as it is.

    Raises:
        RGBXError: `train` is unknown, or "plugin" without a plug-in.
    """

    def __init__(
        self,
        sam: SAM,
        plugin: Plugin | None,
        train: Train = "plugin",
        decode_batch: int | None = None,
    ) -> None:
        super().__init__()
        if train not in ("plugin", "decoder", "token"):
            raise RGBXError(f"train is {train!r}: choose plugin, decoder or token.")
        if train == "plugin" and plugin is None:
            raise RGBXError("train is plugin, but there is no plug-in to train.")
        self.sam = sam
        self.plugin = plugin
        self.decode_batch = decode_batch
        self.mask_token: nn.Parameter | None = None
        decoder = sam.mask_decoder
        freeze(sam.image_encoder)
        freeze(sam.prompt_encoder)
        freeze(decoder.iou_prediction_head)
        for other in decoder.output_hypernetworks_mlps[1:]:
            freeze(other)
        if train == "plugin":
            freeze(sam)
        elif train == "token":
            # a parameter of its own: no gradient and no weight decay can touch the other tokens
            self.mask_token = nn.Parameter(decoder.mask_tokens.weight[:1].detach().clone())
            for part in (decoder.transformer, decoder.output_upscaling, decoder.iou_token):
                freeze(part)
            freeze(decoder.mask_tokens)

    def embed(self, rgb: Tensor) -> Tensor:
        """Image embeddings (B,C,H/16,W/16) of (B,3,H,W), without gradients: nothing is trained."""
        with torch.no_grad():
            return self.sam.image_encoder(rgb)

    def decode(
        self,
        embedding: Tensor,
        prompts: Sequence[Prompt],
        size: tuple[int, int],
        plugin: bool = True,
        listener: Listener | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Answer prompts in as few decoder calls as their forms allow.

        Args:
            embedding: (1,C,h,w), one image with N prompts, or (N,C,h,w), one prompt for each image.
            prompts: N, of any kinds, coordinates in pixels of the image.
            size: (H, W) of the image.
            plugin: False decodes as SAM would without the plug-in.
            listener: told of every routing, see `attach`.

        Returns:
            Logits (N,1,4h,4w) and, with DRP, the routing weights (N,2) of the last layer that the
            plug-in serves.
        """
        grid = (embedding.shape[-2], embedding.shape[-1])
        matrix = self.sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
        position = grid_position(matrix, grid)
        logits, weights, order = [], [], []
        for group in encode_prompts(self.sam.prompt_encoder, prompts, size):
            whole = torch.is_grad_enabled()
            for piece in [group] if whole else group.split(self._together(embedding)):
                images = embedding if len(embedding) == 1 else embedding[piece.positions]
                if plugin and self.plugin is not None:
                    with _Listening(self.plugin, self.sam, listener) as alpha:
                        logits.append(self._decode_group(images, piece, position))
                    weights += alpha
                else:
                    logits.append(self._decode_group(images, piece, position))
                order += piece.positions
        if not logits:
            return embedding.new_zeros(0, 1, 4 * grid[0], 4 * grid[1]), None
        back = torch.tensor(order, device=embedding.device).argsort()
        return torch.cat(logits)[back], torch.cat(weights)[back] if weights else None

    def decode_encoded(
        self, embedding: Tensor, sparse: Tensor, dense: Tensor, position: Tensor
    ) -> Tensor:
        """As `decode`, for prompts of one form that are tokens already.

        Args:
            embedding: (1,C,h,w) or (N,C,h,w).
            sparse: (N,T,C) tokens.
            dense: (1,C,1,1) or (N,C,h,w).
            position: (1,C,h,w) encoding of the grid.

        Returns:
            Logits (N,1,4h,4w).
        """
        prompts = EncodedPrompts([], sparse, dense)
        if self.plugin is None:
            return self._decode_group(embedding, prompts, position)
        with _Listening(self.plugin, self.sam, None):
            return self._decode_group(embedding, prompts, position)

    def _together(self, embedding: Tensor) -> int:
        """Prompts per decoder call."""
        if self.decode_batch is not None:
            return self.decode_batch
        cells = embedding.shape[-2] * embedding.shape[-1]
        return max(1, (_CPU_CELLS if embedding.device.type == "cpu" else _CELLS) // cells)

    def _decode_group(self, embedding: Tensor, prompts: EncodedPrompts, position: Tensor) -> Tensor:
        """SAM's decoder on prompts of one form, without the masks and scores nobody asks for.

        While all prompts share one image, so do the first layer's keys and values: the transformer
        gets a batch of one and broadcasts it.
        """
        decoder = self.sam.mask_decoder
        count, (height, width) = prompts.sparse.shape[0], embedding.shape[-2:]
        first = decoder.mask_tokens.weight[:1] if self.mask_token is None else self.mask_token
        tokens = torch.cat([decoder.iou_token.weight, first, decoder.mask_tokens.weight[1:]])
        tokens = torch.cat([tokens.expand(count, -1, -1), prompts.sparse], dim=1)
        states, pixels = decoder.transformer(embedding + prompts.dense, position, tokens)
        pixels = pixels.transpose(1, 2).unflatten(2, (height, width))
        pixels = decoder.output_upscaling(pixels)
        kernel = decoder.output_hypernetworks_mlps[0](states[:, OUTPUT_TOKEN])
        return (kernel[:, None] @ pixels.flatten(2)).unflatten(-1, pixels.shape[-2:])


class _Listening:
    """The plug-in attached for one decoder call, whose last routing weights are kept."""

    def __init__(self, plugin: Plugin, sam: SAM, listener: Listener | None) -> None:
        self._alpha: list[Tensor] = []
        self._other = listener
        self._attachment: Attachment = attach(plugin, sam.mask_decoder, self._hear)

    def __enter__(self) -> list[Tensor]:
        return self._alpha

    def __exit__(self, *error: object) -> None:
        self._attachment.detach()

    def _hear(self, index: int, routing: Routing) -> None:
        if routing.alpha is not None:
            self._alpha[:] = [routing.alpha.detach()]
        if self._other is not None:
            self._other(index, routing)
