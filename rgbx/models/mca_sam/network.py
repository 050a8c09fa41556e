"""MCA-SAM's network: SAM's frozen encoder with adaptors, its mask decoder trained."""

from collections.abc import Sequence

from torch import Tensor, nn

from rgbx.backbones.sam import SAM
from rgbx.errors import RGBXError
from rgbx.models.mca_sam.adaptors import Generator
from rgbx.models.mca_sam.decoder import RandomPrompt, decode_without_prompt, train_decoder_only
from rgbx.models.mca_sam.options import AdaptorConfig
from rgbx.models.mca_sam.watch import Watch

__all__ = ["MCASAMNetwork"]


class MCASAMNetwork(nn.Module):
    """``h_l = Block_l(h_{l-1} + A_l + S_l)``, then SAM's neck and promptless decoder.

    Without the SC branch it is SAM-Adapter (Chen et al., "SAM-Adapter", ICCV workshops 2023). It
    runs without Lightning.

    Args:
        sam: SAM with its weights; taken over under its own names, and frozen but for the decoder.
        adaptor: what stands in front of the blocks.

    Shape: rgb (B,3,H,W) -> logits (B,1,H/4,W/4), H and W multiples of 16.

    Raises:
        RGBXError: there is no such layer, or the bottleneck would be empty.
    """

    def __init__(
        self,
        sam: SAM,
        adaptor: AdaptorConfig = AdaptorConfig(),
    ) -> None:
        super().__init__()
        config = sam.image_encoder.config
        chosen = _chosen(adaptor.layers, config.depth)
        if not 1 <= adaptor.scale_factor <= config.dim:
            raise RGBXError(
                f"adaptor.scale_factor is {adaptor.scale_factor}: it divides the encoder's width "
                f"{config.dim}, so give 1 to {config.dim}."
            )
        self.sam = train_decoder_only(sam)
        self.generator = Generator(
            config.dim,
            config.dim // adaptor.scale_factor,
            chosen,
            config.patch,
            adaptor_input=adaptor.input,
            branching=adaptor.branching,
            sample_branch=adaptor.sample_branch,
            handcrafted=adaptor.handcrafted,
            freq_nums=adaptor.freq_nums,
            zero_init_sc=adaptor.zero_init_sc,
        )
        self.random_prompt = RandomPrompt(sam) if adaptor.sam_adapter_quirks else None
        self._adaptor = {layer: k for k, layer in enumerate(chosen)}

    def forward(self, rgb: Tensor, watch: Watch | None = None) -> Tensor:
        """Mask logits at a quarter of the image's size.

        Args:
            rgb: (B,3,H,W), normalised.
            watch: told of what the contrastive losses need; None in evaluation.
        """
        return decode_without_prompt(self.sam, self.encode(rgb, watch), self.random_prompt)

    def encode(self, rgb: Tensor, watch: Watch | None = None) -> Tensor:
        """Image embedding (B,256,H/16,W/16); see `forward`."""
        vit, generator = self.sam.image_encoder, self.generator
        patches, features = self._start(rgb)
        if watch is not None:
            watch.start(patches, features)
        tokens = patches + vit.position(patches.shape[1], patches.shape[2])
        for index, block in enumerate(vit.blocks):
            k = self._adaptor.get(index)
            if k is not None:
                token, sample = generator.narrow(k, tokens if features is None else features)
                if watch is not None:
                    watch.see(index, tokens, token, sample)
                tokens = tokens + generator.lift(k, token, sample)
            tokens = vit.run_block(block, tokens)
        return vit.project(tokens)

    def look(self, rgb: Tensor, watch: Watch) -> None:
        """Tell `watch` of the SC activations of an image, for as little work as possible.

        Task features need no encoder block; adaptors on hidden tokens need all of them.
        """
        if self.generator.features is None:
            self.encode(rgb, watch)
            return
        _, features = self._start(rgb)
        assert features is not None
        for k, layer in enumerate(self.generator.layers):
            if layer in watch.layers:
                watch.see_sample(layer, self.generator.sample_or_shared.narrow(k, features))

    def _start(self, rgb: Tensor) -> tuple[Tensor, Tensor | None]:
        """Patch embedding (B,h,w,C) without positions, and the task features (B,h,w,r)."""
        vit, features = self.sam.image_encoder, self.generator.features
        vit.check_size(*rgb.shape[-2:])
        patches = vit.patch_embed(rgb)
        return patches, None if features is None else features(patches, rgb)


def _chosen(layers: Sequence[int] | str, depth: int) -> list[int]:
    if layers == "all":
        return list(range(depth))
    chosen = sorted({int(layer) for layer in layers})
    if not chosen or chosen[0] < 0 or chosen[-1] >= depth:
        raise RGBXError(
            f"adaptor.layers is {list(layers)}: give encoder blocks from 0 to {depth - 1}, or all."
        )
    return chosen
