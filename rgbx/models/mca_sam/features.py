"""What the adaptors see: the patch embedding and the high frequencies of the image."""

import math

import torch
from torch import Tensor, nn

__all__ = ["TaskFeatures", "high_pass", "removed_half_side", "truncated_normal"]


def removed_half_side(height: int, width: int, share: float) -> int:
    """n: frequencies -n .. n - 1 of both axes are removed; the square covers about `share`."""
    return math.floor(math.sqrt(height * width * share) / 2)


def high_pass(images: Tensor, share: float) -> Tensor:
    """The image without its low frequencies, as a magnitude (SAM-Adapter's "handcrafted" part).

    The central square of the centred spectrum is set to zero, ``2 n`` rows and columns with n of
    `removed_half_side`, and the absolute real part of the inverse transform is returned.

    Args:
        images: (B,3,H,W), normalised.
        share: of the spectrum that is removed, in [0, 1]; 0.25 in SAM-Adapter.

    Returns:
        (B,3,H,W) float32 (float64 for float64), >= 0.
    """
    images = images.to(torch.promote_types(images.dtype, torch.float32))
    height, width = images.shape[-2:]
    n = removed_half_side(height, width, share)
    rows, columns = (
        (k >= -n) & (k < n) for k in (_frequencies(side, images.device) for side in (height, width))
    )
    if torch.compiler.is_exporting():
        return (images - _low_pass(images, rows, columns)).abs()
    spectrum = torch.fft.fft2(images, norm="forward")
    spectrum = spectrum.masked_fill(rows[:, None] & columns, 0)
    return torch.fft.ifft2(spectrum, norm="forward").real.abs()


def _low_pass(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """What `high_pass` removes, by products with real matrices: few formats know the transform.

    Keeping some frequencies of one axis is a circular convolution; ``cos`` and ``sin`` hold its
    real and its imaginary part, (side, side) each.
    """
    parts = []
    for kept in (rows, columns):
        side = kept.shape[0]
        step = torch.arange(side, device=kept.device)
        turns = (step[:, None] * _frequencies(side, kept.device)[kept]) % side
        angle = turns.double() * (2 * math.pi / side)
        apart = (step[:, None] - step) % side
        waves = [f(angle).sum(1) / side for f in (torch.cos, torch.sin)]
        parts.append([wave.to(images.dtype)[apart] for wave in waves])
    (row_cos, row_sin), (column_cos, column_sin) = parts
    # the second product stands on the right: transposed, the convolution runs the other way
    return row_cos @ images @ column_cos.mT - row_sin @ images @ column_sin.mT


def _frequencies(side: int, device: torch.device) -> Tensor:
    """Whole frequencies in the order of the transform: 0, 1, ..., -2, -1."""
    half = side // 2
    return (torch.arange(side, device=device) + half) % side - half


class TaskFeatures(nn.Module):
    """F = F_pe + F_hfc, computed once per image (SAM-Adapter, section 3).

    Args:
        dim: width C of the patch embedding.
        width: r, the bottleneck.
        patch: side of a patch in pixels.
        handcrafted: with the high-frequency part; F = F_pe without it.
        share: see `high_pass`.

    Shape: patches (B,h,w,C), images (B,3,h*patch,w*patch) -> (B,h,w,r).
    """

    def __init__(self, dim: int, width: int, patch: int, handcrafted: bool, share: float) -> None:
        super().__init__()
        self.share = share
        self.embedding = nn.Linear(dim, width)
        truncated_normal(self.embedding)
        self.frequency: nn.Conv2d | None = None
        if handcrafted:
            self.frequency = nn.Conv2d(3, width, kernel_size=patch, stride=patch)
            nn.init.normal_(self.frequency.weight, std=math.sqrt(2 / (patch * patch * width)))
            nn.init.zeros_(self.frequency.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, patches: Tensor, images: Tensor) -> Tensor:
        """Task features of every patch."""
        features = self.embedding(patches)
        if self.frequency is not None:
            with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
                high = high_pass(images, self.share)
            high = self.frequency(high.to(self.frequency.weight.dtype))
            features = features + high.permute(0, 2, 3, 1)
        return features


def truncated_normal(layer: nn.Linear) -> nn.Linear:
    """SAM-Adapter's start of linear layers: truncated normal with std 0.02, bias 0."""
    nn.init.trunc_normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer
