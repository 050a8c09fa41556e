"""Convolution, norm and ReLU as one layer, with the norm as an option."""

from typing import Literal

from torch import Tensor, nn

from rgbx.errors import RGBXError

__all__ = ["ConvNormAct", "Norm", "norm_layer"]

Norm = Literal["bn", "gn"]

_MOST_GROUPS = 32


class _BatchNorm2d(nn.BatchNorm2d):
    """PyTorch's, with an error that says what to set. ``sync_batchnorm`` converts it, too."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.numel() == input.shape[1]:
            raise RGBXError(
                f"BatchNorm in training got one value per channel, {tuple(input.shape)}: set "
                "model.norm to gn, a larger data.batch_size, or on several GPUs "
                "trainer.sync_batchnorm to true."
            )
        return super().forward(input)


def norm_layer(kind: Norm, channels: int) -> nn.Module:
    """A norm for maps (B, channels, h, w).

    Args:
        kind: ``bn``: BatchNorm, over the batch of one process unless Lightning's
            ``sync_batchnorm`` is on. ``gn``: GroupNorm, of every image alone, with the largest
            number of groups up to 32 that divides ``channels`` into two or more each.
        channels: of the maps.

    The module raises an RGBXError when BatchNorm in training gets a single value per channel.

    Raises:
        RGBXError: another kind.
    """
    if kind not in ("bn", "gn"):
        raise RGBXError(f"norm is {kind!r}: choose bn or gn.")
    if kind == "bn":
        return _BatchNorm2d(channels)
    # two channels at least: of a map of one cell, a single channel would leave nothing to compare
    most = max(1, min(_MOST_GROUPS, channels // 2))
    groups = next(n for n in range(most, 0, -1) if channels % n == 0)
    return nn.GroupNorm(groups, channels)


class ConvNormAct(nn.Module):
    """Convolution without bias ("same" size), norm, ReLU. Starts Kaiming-normal (fan out).

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel: odd side of the convolution's window.
        norm: see `norm_layer`; the norm's name is ``bn`` or ``gn``.

    Shape: (B, in_channels, h, w) -> (B, out_channels, h, w).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, norm: Norm = "bn") -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        self.norm = norm
        self.add_module(norm, norm_layer(norm, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, normalise, cut at 0."""
        return self.get_submodule(self.norm)(self.conv(x)).relu_()
