"""The toy paper's network: one convolution over both cameras. It runs without Lightning."""

import torch
from torch import Tensor, nn

__all__ = ["BrightnessNetwork"]


class BrightnessNetwork(nn.Module):
    """Logits (B,K,H,W) from rgb and x (B,3,H,W) each.

    Args:
        num_classes: K.
        width: channels between the two layers.
    """

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(6, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, num_classes, 1)
        )

    def forward(self, rgb: Tensor, x: Tensor) -> Tensor:
        """See the class."""
        return self.layers(torch.cat([rgb, x], dim=1))
