"""SAMSOD's network: SAM 2 shared by two streams with an adapter each, and one decoder."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from rgbx.backbones.freeze import freeze
from rgbx.backbones.sam2 import SAM2
from rgbx.backbones.sam_position import grid_position
from rgbx.blocks.adapters import DecoupledAdapter, Gate, VanillaAdapter
from rgbx.errors import RGBXError

__all__ = ["AdapterKind", "Modalities", "SAMSODNetwork"]

AdapterKind = Literal["decoupled", "vanilla"]
Modalities = Literal["rgb", "x", "both"]

_STRIDE = 32  # of the trunk's last stage


class SAMSODNetwork(nn.Module):
    """Two streams through one frozen SAM 2 encoder, decoded from F_R + F_X, F_R and F_X.

    In every block the stream's adapter reads the un-normalised residual after the attention and
    is added next to the MLP: ``x = x + mlp(norm2(x)) + adapter(x)``. Both streams pass each block
    as one batch, and all decodes are one batch. The decoder gets no prompts and no dense prompt
    embedding, and returns the mask of its single-mask token, as in the authors' code.

    Trained: the adapters and the decoder, except those of its parts that the single-mask token
    does not use (mask quality, object score, the other hypernetworks). All else is frozen.

    Args:
        sam2: SAM 2 with its weights; its parts are taken over, frozen here.
        adapter: "decoupled" (the paper) or "vanilla" (its baseline).
        modalities: streams that exist; with one alone there is no fusion.
        gate: see `DecoupledAdapter`, as the following.
        width: width of the adapters' bottlenecks.
        scale: factor of the adapters' outputs.
        alpha_foreground: smallest share of activations that the foreground keeps.
        alpha_background: the same of the background.
        beta: how much the gate can add to both shares.

    Shape: rgb (B,3,H,W), x (B,3,H,W) -> "fusion", "rgb", "x", each (B,1,H/4,W/4) logits. H and W
    are multiples of 32.
    """

    def __init__(
        self,
        sam2: SAM2,
        adapter: AdapterKind = "decoupled",
        modalities: Modalities = "both",
        gate: Gate = "released",
        width: int = 32,
        scale: float = 0.5,
        alpha_foreground: float = 0.45,
        alpha_background: float = 0.35,
        beta: float = 0.1,
    ) -> None:
        super().__init__()
        if adapter not in ("decoupled", "vanilla") or modalities not in ("rgb", "x", "both"):
            raise RGBXError(
                f"adapter = {adapter!r} and modalities = {modalities!r} do not exist: the adapter "
                "is decoupled or vanilla, the modalities are rgb, x or both."
            )
        self.streams = ("rgb", "x") if modalities == "both" else (modalities,)
        self._take_over(sam2)
        shares = (alpha_foreground, alpha_background, beta)

        def adapters(stream: str) -> nn.ModuleList | None:
            if stream not in self.streams:
                return None
            widths = [block.dim_out for block in self.image_encoder.trunk.blocks]
            if adapter == "vanilla":
                return nn.ModuleList(VanillaAdapter(d, width, scale) for d in widths)
            return nn.ModuleList(DecoupledAdapter(d, width, scale, *shares, gate) for d in widths)

        # next to the frozen encoder, not in it: `.train()` must reach them
        self.rgb_adapters = adapters("rgb")
        self.x_adapters = adapters("x")

    def _take_over(self, sam2: SAM2) -> None:
        """SAM 2's parts: frozen, but for what the single-mask token uses of the decoder."""
        self.image_encoder = freeze(sam2.image_encoder)
        self.prompt_encoder = freeze(sam2.sam_prompt_encoder)
        self.no_mem_embed = sam2.no_mem_embed.requires_grad_(False)
        self.decoder = sam2.sam_mask_decoder
        freeze(self.decoder.iou_prediction_head)
        freeze(self.decoder.pred_obj_score_head)
        for other in self.decoder.output_hypernetworks_mlps[1:]:
            freeze(other)

    def forward(self, rgb: Tensor | None, x: Tensor | None) -> dict[str, Tensor]:
        """Logits (B,1,H/4,W/4) of every stream, and of their sum if there are two.

        Raises:
            RGBXError: see `encode`.
        """
        maps = self.encode(rgb, x)
        if len(maps) == 2:
            sums = [a + b for a, b in zip(*maps.values(), strict=True)]
            maps = {"fusion": sums, **maps}
        return dict(zip(maps, self.decode(list(maps.values())), strict=True))

    def encode(self, rgb: Tensor | None, x: Tensor | None) -> dict[str, list[Tensor]]:
        """The trunk's four stage maps of every stream.

        Args:
            rgb: (B,3,H,W); may be None for a network of X alone.
            x: (B,3,H,W); may be None for a network of RGB alone.

        Returns:
            "rgb" and/or "x" -> maps (B,C_i,H/s,W/s), s = 4, 8, 16, 32.

        Raises:
            RGBXError: an image is missing, sizes differ or are no multiples of 32.
        """
        images = self._check({"rgb": rgb, "x": x})
        adapters = [a for a in (self.rgb_adapters, self.x_adapters) if a is not None]
        trunk = self.image_encoder.trunk
        tokens = trunk.patch_embed(torch.cat(images))
        tokens = tokens + trunk._get_pos_embed(tokens.shape[1:3])
        maps: dict[str, list[Tensor]] = {name: [] for name in self.streams}
        for index, block in enumerate(trunk.blocks):
            tokens = _run_block(block, [part[index] for part in adapters], tokens)
            if index in trunk.stage_ends:
                halves = _split(tokens.permute(0, 3, 1, 2), len(images))
                for name, half in zip(self.streams, halves, strict=True):
                    maps[name].append(half)
        return maps

    def decode(self, streams: Sequence[list[Tensor]]) -> list[Tensor]:
        """Neck and decoder on several sets of stage maps, as one batch.

        Args:
            streams: sets of four maps (B,C_i,H/s,W/s), s = 4, 8, 16, 32.

        Returns:
            per set (B,1,H/4,W/4) logits of the single-mask token.
        """
        levels, _ = self.image_encoder.neck(
            [torch.cat([maps[i] for maps in streams]) for i in range(4)]
        )
        fine, middle, coarse, _ = levels
        coarse = coarse + self.no_mem_embed.reshape(1, -1, 1, 1)
        return _split(self._decode(fine, middle, coarse), len(streams))

    def _decode(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        """The decoder's own parts, without the masks and scores that nobody asks for."""
        decoder = self.decoder
        batch, channels, height, width = coarse.shape
        tokens = torch.cat(
            [decoder.obj_score_token.weight, decoder.iou_token.weight, decoder.mask_tokens.weight]
        )
        position = self._position(height, width).expand(batch, -1, -1, -1)
        states, source = decoder.transformer(coarse, position, tokens.expand(batch, -1, -1))
        source = source.transpose(1, 2).reshape(batch, channels, height, width)
        up1, norm, act1, up2, act2 = decoder.output_upscaling
        source = act1(norm(up1(source) + decoder.conv_s1(middle)))
        source = act2(up2(source) + decoder.conv_s0(fine))
        kernel = decoder.output_hypernetworks_mlps[0](states[:, 2])  # after score and IoU tokens
        return (kernel[:, None] @ source.flatten(2)).unflatten(-1, source.shape[-2:])

    def _position(self, height: int, width: int) -> Tensor:
        """SAM's encoding (1, C, height, width) of the centres of a grid's cells."""
        matrix = self.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
        return grid_position(matrix, (height, width))

    def _check(self, images: dict[str, Tensor | None]) -> list[Tensor]:
        """The images of the streams that exist, in order, once their sizes are known to fit."""
        given = [images[name] for name in self.streams]
        present = [image for image in given if image is not None]
        if len(present) < len(given):
            raise RGBXError(
                f"SAMSOD with the streams {' and '.join(self.streams)} needs an image for each; "
                "one is missing: use a data set that has it, or set `modalities`."
            )
        if any(image.shape != present[0].shape for image in present[1:]):
            shapes = " and ".join(str(tuple(image.shape)) for image in present)
            raise RGBXError(f"RGB and X must have the same shape, but they have {shapes}.")
        height, width = present[0].shape[-2:]
        if height % _STRIDE or width % _STRIDE or not height or not width:
            up = [max(1, -(-side // _STRIDE)) * _STRIDE for side in (height, width)]
            raise RGBXError(
                f"The image is {height} x {width} (height x width) but SAM 2 needs multiples of "
                f"{_STRIDE}; the next valid size is {up[0]} x {up[1]}."
            )
        return present


def _split(batch: Tensor, count: int) -> list[Tensor]:
    """`count` equal parts of (count * B, ...); `chunk` would ask a graph how large B is."""
    return list(batch.unflatten(0, (count, -1)).unbind())


def _run_block(block: nn.Module, adapters: Sequence[nn.Module], tokens: Tensor) -> Tensor:
    """A block of the trunk with one adapter per stream next to its MLP.

    What the adapters read is the input of the block's second norm. The hook lives for this call
    only: nothing is held afterwards, whatever happens, and copies of the network carry no hooks.

    Args:
        block: the sam2 package's `MultiScaleBlock`.
        adapters: one per stream.
        tokens: (S * B, H, W, C), S streams one after the other.

    Returns:
        (S * B, H', W', C').
    """
    residuals: list[Tensor] = []

    def remember(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        residuals.append(inputs[0])

    norm: nn.Module = block.get_submodule("norm2")
    with norm.register_forward_pre_hook(remember):
        out = block(tokens)
    kind = type(adapters[0])
    assert issubclass(kind, DecoupledAdapter | VanillaAdapter)
    added: Tensor = kind.side_by_side(adapters, residuals[0])  # type: ignore[arg-type]
    return out + added
