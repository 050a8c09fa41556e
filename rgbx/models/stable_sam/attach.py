"""The plug-in on SAM's mask decoder, by hooks: SAM gains no parameter, no buffer and no key."""

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from torch import Tensor, nn

from rgbx.errors import RGBXError
from rgbx.models.stable_sam.plugin import Plugin, Routing

__all__ = ["OUTPUT_TOKEN", "Attachment", "Listener", "attach"]

#: index of the output mask token: 0 is the IoU token, 1 to 4 are mask tokens, prompts follow
OUTPUT_TOKEN = 1

#: called with the decoder layer's index and what was done there
Listener = Callable[[int, Routing], None]


def attach(plugin: Plugin, decoder: MaskDecoder, listener: Listener | None = None) -> "Attachment":
    """Let `plugin` decide what the decoder's token-to-image attention sees.

    Use it as a context manager, or keep the result and call :meth:`Attachment.detach`.

    Args:
        plugin: the layers it names exist in the decoder, and its width is the decoder's.
        decoder: segment-anything's; nothing in its state dict changes.
        listener: told of every routing, for those who want to look.

    Raises:
        RGBXError: this is another mask decoder (SAM 2's has its tokens elsewhere), a plug-in is
            attached already, or there is no such decoder layer.
    """
    if not isinstance(decoder, MaskDecoder):
        kind = f"{type(decoder).__module__}.{type(decoder).__qualname__}"
        raise RGBXError(
            f"The plug-in reads the tokens of segment-anything's MaskDecoder, and {kind} orders "
            "its own otherwise: give segment_anything.modeling.MaskDecoder."
        )
    transformer = decoder.transformer
    hooks = transformer._forward_pre_hooks.values()
    if any(isinstance(getattr(hook, "__self__", None), Attachment) for hook in hooks):
        raise RGBXError("A plug-in is attached to this mask decoder already: detach it first.")
    depth = len(transformer.layers)
    absent = [name for name in plugin.layers if not 0 <= int(name) < depth]
    if absent:
        raise RGBXError(
            f"SAM's mask decoder has the layers 0 to {depth - 1}, but the plug-in is meant for "
            f"layer {', '.join(absent)}: correct `layers`."
        )
    return Attachment(plugin, transformer, listener)


class Attachment:
    """Hooks of one plug-in on one decoder, made by `attach`.

    What they remember lives for one call of the decoder, also when that call fails.
    """

    def __init__(
        self, plugin: Plugin, transformer: TwoWayTransformer, listener: Listener | None
    ) -> None:
        self._listener = listener
        self._position: Tensor | None = None  # (1 or N, C, H, W)
        self._token: Tensor | None = None  # (N, C)
        self._handles = [
            transformer.register_forward_pre_hook(self._begin),
            transformer.register_forward_hook(self._end, always_call=True),
        ]
        for name, part in plugin.layers.items():
            layer = transformer.layers[int(name)]
            route = partial(self._route, int(name), part)
            self._handles += [
                layer.norm1.register_forward_hook(self._keep_token),
                layer.cross_attn_token_to_image.register_forward_pre_hook(route, with_kwargs=True),
            ]

    def detach(self) -> None:
        """Leave the decoder as it was; a second call does nothing."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._forget()

    def __enter__(self) -> "Attachment":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.detach()

    def _begin(self, transformer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # (image embedding, its position encoding, tokens): sizes are read here, H and W may differ
        self._position = inputs[1]

    def _keep_token(self, norm: nn.Module, inputs: tuple[Tensor, ...], tokens: Tensor) -> None:
        self._token = tokens[:, OUTPUT_TOKEN]

    def _route(
        self,
        index: int,
        part: nn.Module,
        attention: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Tensor],
    ) -> tuple[tuple[Any, ...], dict[str, Tensor]]:
        """Replace keys and values; the queries stay."""
        assert self._position is not None and self._token is not None
        grid, values = self._position.shape[-2:], kwargs["v"]
        features = values.transpose(1, 2).unflatten(2, grid)
        routing: Routing = part(features, self._token, self._position)
        self._token = None
        if self._listener is not None:
            self._listener(index, routing)
        # contiguous as SAM's own, so that the same numbers give the same bits
        values = routing.features.flatten(2).transpose(1, 2).contiguous().to(values.dtype)
        keys = values + routing.position.flatten(2).transpose(1, 2)
        return args, {**kwargs, "k": keys, "v": values}

    def _end(self, transformer: nn.Module, inputs: Any, output: Any) -> None:
        self._forget()

    def _forget(self) -> None:
        self._position = self._token = None
