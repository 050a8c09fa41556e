"""What a model is called with from Python: checked where it comes in, in words."""

import torch
from torch import Tensor

from rgbx.errors import RGBXError

__all__ = ["check_rgb", "check_x"]


def check_rgb(owner: str, rgb: Tensor, multiple: int = 1) -> None:
    """Refuse what is no batch of colour images.

    Args:
        owner: name of the model, for the message.
        rgb: (B,3,H,W) floating point.
        multiple: H and W are multiples of this.

    Raises:
        RGBXError: names the shape and type that came, and the next valid size.
    """
    _check(owner, "rgb", rgb, (3,))
    height, width = rgb.shape[-2:]
    if height % multiple or width % multiple:
        valid = [-(-side // multiple) * multiple for side in (height, width)]
        raise RGBXError(
            f"{owner} takes sides that are multiples of {multiple}, but rgb is {height} x {width}; "
            f"the next valid size is {valid[0]} x {valid[1]}."
        )


def check_x(owner: str, rgb: Tensor | None, x: Tensor | None) -> Tensor:
    """The second modality of the same batch, with three channels.

    Args:
        owner: name of the model, for the message.
        rgb: (B,3,H,W), or None for a model of X alone.
        x: (B,3,H,W), or (B,1,H,W), whose channel is repeated.

    Raises:
        RGBXError: there is none, or it has other channels, another size or another number of
            images than `rgb`. (PyTorch would repeat one image for all of the others.)
    """
    if x is None:
        raise RGBXError(
            f"{owner} needs the second modality: call it with rgb and x, both (B,3,H,W); x is None."
        )
    _check(owner, "x", x, (1, 3))
    if rgb is not None and (x.shape[0] != rgb.shape[0] or x.shape[-2:] != rgb.shape[-2:]):
        raise RGBXError(
            f"{owner} takes pairs of images, but rgb is {_shape(rgb)} and x is {_shape(x)}: number "
            "of images, height and width must agree."
        )
    return x.expand(-1, 3, -1, -1)


def _check(owner: str, name: str, images: Tensor, channels: tuple[int, ...]) -> None:
    words = " or ".join(f"(B,{count},H,W)" for count in channels)
    if not isinstance(images, Tensor):
        raise RGBXError(f"{owner} takes {name} as a tensor {words}, got {type(images).__name__}.")
    fits = images.ndim == 4 and images.shape[1] in channels and torch.is_floating_point(images)
    if not fits:
        raise RGBXError(
            f"{owner} takes {name} as {words}, floating point and normalised; got {images.dtype} "
            f"{_shape(images)}."
        )


def _shape(images: Tensor) -> str:
    return f"({','.join(map(str, images.shape))})"
